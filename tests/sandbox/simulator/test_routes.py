"""The simulator's page and what it asks for, with a real service behind it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from itertools import accumulate, islice
from typing import Any

import pytest
from flask import Flask, Response, redirect, request

from tests.conftest import SECRET_KEY
from tests.sandbox.drivers import SECRET
from tests.sandbox.drivers import Sandbox as InProcess
from tests.sandbox.simulator.drivers import LOGIN, Arrow, Simulator, serving, simulator_of
from tests.servers import PROJECT, free_port
from wxlogin.sandbox.simulator.messages import Messages
from wxlogin.sandbox.simulator.routes import MEDIA_TYPES, PAGE, events

PARTS = sorted(set(MEDIA_TYPES) - {PAGE})


def arrows(messages: list[dict[str, Any]]) -> list[Arrow]:
    """Return who tells whom what, the hashes in Redis's keys left out."""
    return [(each["from"], each["to"], re.sub(r"(wxlogin:\w+:).*", r"\1…", each["title"])) for each in messages]


def has(wanted: list[Arrow]) -> Callable[[list[dict[str, Any]]], bool]:
    """Return what says whether all those arrows are there, and each question to Redis has its answer."""

    def is_complete(messages: list[dict[str, Any]]) -> bool:
        told = arrows(messages)
        ways = [each[:2] for each in told]
        is_answered = ways.count(("service", "redis")) == ways.count(("redis", "service"))
        return is_answered and set(wanted) <= set(told)

    return is_complete


def test_the_page_and_all_that_it_names_is_there(simulator: Simulator) -> None:
    page = simulator.get("/simulator").text
    named = set(re.findall(r'(?:src|href)="simulator/([^"]+)"', page))
    for name in [each for each in named if each.endswith(".mjs")]:
        named |= set(re.findall(r'from "\./([^"]+)"', simulator.get(f"/simulator/{name}").text))

    assert {name: simulator.get(f"/simulator/{name}").status_code for name in named} == dict.fromkeys(named, 200)
    assert named >= {"page.css", "page.mjs", "phone.mjs", "diagram.mjs", "words.mjs"}


@pytest.mark.parametrize("path", ["", *(f"/{part}" for part in PARTS)])
def test_nothing_comes_from_elsewhere(simulator: Simulator, path: str) -> None:
    answer = simulator.get(f"/simulator{path}")

    named = re.findall(r'(?:(?:src|href)=|from |import\(|url\()"?([^"\s)]+)', answer.text)
    assert [name for name in named if re.match(r"https?:|//", name)] == []
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self'; ")
    assert "unsafe" not in answer.headers["Content-Security-Policy"]


def test_a_slash_at_the_end_is_no_other_page(simulator: Simulator) -> None:
    answer = simulator.get("/simulator/")

    assert (answer.status_code, answer.url) == (200, f"{simulator.url}/simulator")


def test_the_page_runs_the_very_client_that_mini_programs_use(simulator: Simulator) -> None:
    client = (PROJECT / "miniprogram/miniprogram_dist/wxlogin.js").read_text(encoding="utf-8")

    assert client in simulator.get("/simulator/wxlogin.js").text


@pytest.mark.parametrize("name", ["routes.py", "..%2fapp.py", "%2e%2e/app.py", "page.html/x", "nothing"])
def test_no_other_file_is_shown(simulator: Simulator, name: str) -> None:
    answer = simulator.get(f"/simulator/{name}")

    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


def test_a_login_is_told_message_by_message(simulator: Simulator) -> None:
    before = time.time()

    cookie = simulator.log_in()

    told = arrows(simulator.messages(since=before, until=has(LOGIN)))
    assert cookie.startswith("sessionid=")
    assert [each for each in told if each[0] != "redis"] == LOGIN


def test_every_question_to_redis_has_its_answer(simulator: Simulator) -> None:
    before = time.time()

    simulator.log_in()

    ways = [each[:2] for each in arrows(simulator.messages(since=before, until=has(LOGIN)))]
    steps = [{("service", "redis"): 1, ("redis", "service"): -1}.get(way, 0) for way in ways]
    waiting = [*accumulate(steps)]
    assert (min(waiting), max(waiting), waiting[-1]) == (0, 2, 0)  # two at once: they go in one pipeline


def test_the_stream_has_no_secret_and_says_what_stays(simulator: Simulator) -> None:
    before = time.time()
    openid = simulator.post("/simulator/wx/login", {}).json()["openid"]
    session = simulator.log_in(openid=openid)
    data = simulator.post("/simulator/wx/getUserInfo", {"openid": openid}).json()
    body = json.dumps({name: data[name] for name in ("encryptedData", "iv")})
    header = {"sessionid": session, "content-type": "application/json"}
    answer = simulator.request("POST", "/user-data/decrypt", header=header, body=body)
    phone = simulator.post("/simulator/wx/getPhoneNumber", {"openid": openid}).json()["code"]
    simulator.request("POST", "/phone-number", header=header, body=json.dumps({"code": phone}))

    last = ("service", "miniprogram", "200")
    told = simulator.messages(since=before, until=lambda found: arrows(found).count(last) == 2)

    assert answer["statusCode"] == 200
    assert {name for each in told for name in each["stays"]} >= {
        "secret",
        "session_key",
        "openid",
        "access_token",
        "sealed record",
    }
    assert not re.search(f"{SECRET}|{SECRET_KEY}|61_[A-Za-z0-9_-]{{100}}", json.dumps(told))
    keys = [each["content"]["body"]["session_key"] for each in told if "session_key" in each["stays"]]
    assert set(keys) == {"•••"}
    assert all(openid not in json.dumps(each) for each in told if "miniprogram" in (each["from"], each["to"]))


def test_a_protected_call_gets_through_to_the_back_end_with_a_session(simulator: Simulator) -> None:
    session = simulator.log_in()
    before = time.time()

    answer = simulator.request("GET", "/api/orders", session=session)

    told = simulator.messages(since=before, until=has([("backend", "miniprogram", "200")]))
    assert answer["statusCode"] == 200
    assert [each for each in arrows(told) if "redis" not in each] == [
        ("miniprogram", "backend", "GET /api/orders"),
        ("backend", "service", "GET /auth"),
        ("service", "backend", "204 X-WX-OPENID"),
        ("backend", "miniprogram", "200"),
    ]
    verdict = next(each for each in told if each["to"] == "backend" and each["from"] == "service")
    assert verdict["stays"] == ["X-WX-OPENID"]
    assert verdict["content"]["header"]["X-WX-OPENID"] not in json.dumps(answer)


def test_a_stranger_does_not_get_through(simulator: Simulator) -> None:
    answer = simulator.request("GET", "/api/orders")

    assert (answer["statusCode"], json.loads(answer["body"])["error"]["code"]) == (401, "not_logged_in")


@pytest.mark.parametrize(
    "path",
    [
        "/auth",
        "/metrics",
        "/healthz",
        "/",
        "/admin/users/o/sessions",
        "/sessions/../metrics",
        "/api/../metrics",
        "/sessions/%2e%2e/metrics",
        "/api/..%2fmetrics",
        "//metrics",
        "/user-data/..;/metrics",
    ],
)
def test_what_nginx_does_not_route_is_not_there(simulator: Simulator, path: str) -> None:
    answer = simulator.request("GET", path)

    assert (answer["statusCode"], json.loads(answer["body"])["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/session",
        "{}@127.0.0.1:1/session",
        "{}.example.com/session",
        "{}0/session",
        "{}",
        "/session",
        "//127.0.0.1:1/session",
        "https{}/session",
        "",
        "{}\\@127.0.0.1/session",
        "{}?/session",
    ],
)
def test_only_the_service_is_asked(simulator: Simulator, url: str) -> None:
    asked = url.format(simulator.service_url)

    answer = simulator.post("/simulator/request", {"method": "GET", "url": asked})

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_request")
    assert simulator.service_url in answer.json()["error"]["message"]


@pytest.mark.parametrize("path", ["//[x/login", "//\u2100/login", "//x/session", "/login\u0000"])
def test_an_odd_path_is_not_there(simulator: Simulator, path: str) -> None:
    assert simulator.request("GET", path)["statusCode"] == 404


@pytest.mark.parametrize(
    "header",
    [
        {"a": "b\r\nc: d"},
        {"a\r\n": "b"},
        {"a": "\0"},
        {"a": "中文"},
        {"a": " b"},
        {"": "b"},
        {"a b": "c"},
        {"a": 1},
        ["a"],
        "a",
    ],
)
def test_headers_that_cannot_be_sent_are_refused(simulator: Simulator, header: object) -> None:
    url = f"{simulator.service_url}/session"

    answer = simulator.post("/simulator/request", {"method": "GET", "url": url, "header": header})

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_request")


def test_a_query_and_a_fragment_are_understood(simulator: Simulator) -> None:
    answer = simulator.request("DELETE", "/sessions?except=current#x", session=simulator.log_in())

    assert answer["statusCode"] == 204


def test_ending_a_session_is_told_and_the_mini_program_is_not_asked(simulator: Simulator) -> None:
    session = simulator.log_in()
    before = time.time()

    ended = simulator.post("/simulator/end-session", {"header": {"sessionid": session}})

    told = simulator.messages(since=before, until=lambda found: any(each["kind"] == "note" for each in found))
    assert ended.status_code == 204
    assert simulator.request("GET", "/session", session=session)["statusCode"] == 401
    assert [each["title"] for each in told if each["kind"] == "note"] == ["session ended elsewhere"]
    assert all("miniprogram" not in each[:2] for each in arrows(told))


@pytest.mark.parametrize(
    ("name", "title"), [("checkSession", "wx.checkSession()"), ("getUserInfo", "wx.getUserInfo()")]
)
def test_wechat_on_the_phone_refuses_whom_it_does_not_know(simulator: Simulator, name: str, title: str) -> None:
    before = time.time()

    answer = simulator.post(f"/simulator/wx/{name}", {"openid": "oNobody"})

    asked, refused = simulator.messages(since=before, until=lambda found: len(found) == 2)
    assert (answer.status_code, asked["title"], refused["kind"]) == (400, title, "refusal")


def test_wechat_on_the_phone_knows_its_user(simulator: Simulator) -> None:
    openid = simulator.post("/simulator/wx/login", {}).json()["openid"]

    again = simulator.post("/simulator/wx/login", {"openid": openid}).json()

    assert again["openid"] == openid
    assert simulator.post("/simulator/wx/checkSession", {"openid": openid}).json() == {}


def test_wechat_on_the_phone_has_no_other_functions(simulator: Simulator) -> None:
    assert simulator.post("/simulator/wx/pay", {}).status_code == 404


@pytest.mark.parametrize("how", ["query", "header"])
def test_the_stream_goes_on_where_the_page_left_it(odd: Simulator, how: str) -> None:
    before = odd.last
    odd.post("/simulator/wx/login", {})
    where = (
        {"params": {"after": before + 1}} if how == "query" else {"headers": {"Last-Event-ID": str(before + 1)}}
    )

    with odd.get("/simulator/messages", stream=True, **where) as stream:
        first = next(line for line in stream.iter_lines(decode_unicode=True) if line.startswith("id: "))

    assert first == f"id: {before + 2}"


def test_a_page_that_knew_another_sandbox_begins_with_what_is_new(odd: Simulator) -> None:
    before = odd.last
    with odd.get("/simulator/messages", stream=True, headers={"Last-Event-ID": str(before + 999)}) as stream:
        odd.post("/simulator/wx/login", {})
        first = next(line for line in stream.iter_lines(decode_unicode=True) if line.startswith("id: "))

    assert first == f"id: {before + 1}"


@pytest.mark.parametrize("after", ["9" * 5_000, "-1", "x", "1.5", "\u0661"])
def test_a_number_that_is_none_begins_with_what_is_new(odd: Simulator, after: str) -> None:
    before = odd.last
    with odd.get("/simulator/messages", stream=True, params={"after": after}) as stream:
        odd.post("/simulator/wx/login", {})
        first = next(line for line in stream.iter_lines(decode_unicode=True) if line.startswith("id: "))

    assert first == f"id: {before + 1}"


def test_a_silent_stream_has_a_heartbeat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wxlogin.sandbox.simulator.routes.HEARTBEAT_SECONDS", 0)

    parts = [*islice(events(Messages(lambda: 0.0), 0), 3)]

    assert parts[1:] == [": still here\n\n"] * 2


MESSAGE = {
    "at": 1,
    "from": "service",
    "to": "redis",
    "title": "GET",
    "kind": "question",
    "content": {},
    "stays": [],
}


@pytest.mark.parametrize(
    "wrong",
    [
        {"from": "me"},
        {"to": ["redis"]},
        {"kind": "x"},
        {"at": "1"},
        {"at": -1},
        {"at": 10**400},
        {"title": 1},
        {"content": 1},
        {"stays": "x"},
        {"stays": [1]},
        {"more": 1},
    ],
)
def test_a_message_that_is_none_is_refused(simulator: Simulator, wrong: dict[str, object]) -> None:
    answer = simulator.post("/simulator/messages", {"messages": [MESSAGE, {**MESSAGE, **wrong}]})

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_request")


@pytest.mark.parametrize("body", [{"messages": 1}, {"messages": [1]}, {}])
def test_what_are_no_messages_is_refused(simulator: Simulator, body: object) -> None:
    assert simulator.post("/simulator/messages", body).status_code == 400


def test_a_fault_shows_in_the_diagram(sandbox: InProcess) -> None:
    sandbox.arm(errcode=-1)
    sandbox.arm(status=502, body="<html>")
    sandbox.arm(reset=True)

    for _ in range(2):
        sandbox.exchange_response("code")
    with pytest.raises(ConnectionResetError):
        sandbox.exchange_response("code")

    stream = sandbox.client.get("/simulator/messages?after=0")
    told = [json.loads(line[6:]) for line in islice(_lines(stream.response), 6)]
    assert [(each["title"], each["kind"]) for each in told[1::2]] == [
        ("errcode -1", "refusal"),
        ("HTTP 502", "refusal"),
        ("the answer is lost", "refusal"),
    ]


def _lines(parts: Any) -> Iterator[str]:
    for part in parts:
        text = part if isinstance(part, str) else part.decode()
        yield from (line for line in text.splitlines() if line.startswith("data: "))


@pytest.fixture(scope="module")
def odd() -> Iterator[Simulator]:
    """A simulator before a service that is no good: it answers what a path says."""
    service, port = Flask("odd"), free_port()

    @service.get("/session")
    def redirecting() -> Any:
        return redirect(f"http://127.0.0.1:{port}/sessions")

    @service.get("/auth")
    def failing() -> Response:
        return Response(status=503)

    @service.delete("/session")
    def keeping() -> Response:
        return Response(status=503)

    @service.get("/sessions")
    def echoing() -> Any:
        return dict(request.headers)

    @service.get("/sessions/<which>")
    def breaking_off(which: str) -> Response:
        return Response([b"abc"], headers=BROKEN[which])

    with serving(service, port), simulator_of(f"http://127.0.0.1:{port}") as running:
        yield running


BROKEN = {
    "short": {"Content-Length": "100"},
    "gzip": {"Content-Encoding": "gzip"},
    "chunks": {"Transfer-Encoding": "chunked"},
}


@pytest.mark.parametrize("which", BROKEN)
def test_an_answer_that_breaks_off_is_none(odd: Simulator, which: str) -> None:
    before = time.time()

    answer = odd.post("/simulator/request", {"method": "GET", "url": f"{odd.service_url}/sessions/{which}"})

    _asked, refused = odd.messages(since=before, until=lambda found: len(found) == 2)
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "service_unreachable")
    assert (refused["title"], refused["kind"]) == ("no answer", "refusal")


def test_who_the_phone_is_is_not_the_pages_to_say(odd: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")  # which is not asked

    answer = odd.request(
        "GET", "/sessions", header={"Referer": "https://evil.com/", "User-Agent": "me", "X-Mine": "1"}
    )

    got = json.loads(answer["body"])
    assert got["Referer"].startswith("https://servicewechat.com/wx4f4bc4dec97d474b/")
    assert "MicroMessenger" in got["User-Agent"]
    assert got["X-Mine"] == "1"


def test_a_session_that_was_not_ended_is_not_told_of(odd: Simulator) -> None:
    before = odd.last

    odd.post("/simulator/end-session", {"header": {"sessionid": "x"}})

    assert odd.last == before


def test_a_redirect_is_not_followed(odd: Simulator) -> None:
    assert odd.request("GET", "/session")["statusCode"] == 302


def test_a_service_that_cannot_tell_lets_nobody_through(odd: Simulator) -> None:
    answer = odd.request("GET", "/api/orders")

    error = json.loads(answer["body"])["error"]
    assert (answer["statusCode"], error["code"], error["retryable"]) == (503, "service_unavailable", True)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/simulator/request", {"method": "GET", "url": "{}/session"}),
        ("/simulator/request", {"method": "GET", "url": "{}/api/orders"}),
        ("/simulator/end-session", {"header": {}}),
    ],
)
def test_a_service_that_is_away_is_told_of(path: str, body: dict[str, Any]) -> None:
    away = f"http://127.0.0.1:{free_port()}"
    filled = {name: value.format(away) if isinstance(value, str) else value for name, value in body.items()}
    with simulator_of(away) as alone:
        answer = alone.post(path, filled)

    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "service_unreachable")
    assert away in answer.json()["error"]["message"]
