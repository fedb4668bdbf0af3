"""The site as its users see it: logging in, being let in, logging out, and what is not there for them."""

from __future__ import annotations

import threading
from collections import Counter

import pytest
import redis

from tests.conftest import APPID
from tests.drivers import Answer, MiniProgram, Sandbox
from tests.nginx.behind import Backend
from tests.nginx.front import Client, Front, get, over_tls

ROUTES = [
    ("POST", "/login", 400),
    ("GET", "/getOpenid?code=", 400),
    ("GET", "/session", 401),
    ("DELETE", "/session", 204),
    ("GET", "/sessions", 401),
    ("DELETE", "/sessions", 401),
    ("DELETE", "/sessions/Ik5yonFyd6yL6caTkbHsUw", 401),
    ("POST", "/user-data/decrypt", 400),
    ("POST", "/user-data/verify", 400),
    ("POST", "/phone-number", 401),
    ("POST", "/session-key/check", 401),
    ("POST", "/session-key/reset", 401),
]
INSIDE = ["/auth", "/metrics", "/healthz", "/readyz", "/openapi.json", "/docs", "/admin/users/o/sessions"]


def user(front: Front, sandbox: Sandbox, openid: str) -> MiniProgram:
    """Return somebody who has logged in from an address of their own."""
    logged_in = MiniProgram(over_tls(Client(front)), sandbox, openid=openid)
    assert logged_in.log_in().status == 200
    return logged_in


def asked_at(front: Front, path: str, who: MiniProgram, *headers: str) -> Answer:
    """Ask the neighbour's site as a user."""
    return Client(front).get(path, f"sessionid: {who.stored}", *headers, name="neighbour.test")


def test_a_user_logs_in_and_the_back_end_is_told_who_it_is(mini_program: MiniProgram, backend: Backend) -> None:
    login = mini_program.log_in()

    answer = mini_program.get("/api/")

    assert login.status == 200
    assert (answer.status, answer.json) == (200, {"openid": mini_program.openid, "appid": APPID, "unionid": None})


def test_the_unionid_is_told_too(mini_program: MiniProgram, sandbox: Sandbox, backend: Backend) -> None:
    mini_program.log_in_with(sandbox.issue_code(openid=mini_program.openid, unionid="oUnion-0123456789"))

    answer = mini_program.get("/api/")

    assert answer.json["unionid"] == "oUnion-0123456789"


def test_the_old_client_logs_in(mini_program: MiniProgram, backend: Backend) -> None:
    login = mini_program.log_in_the_old_way()

    assert login.status == 200
    assert mini_program.get("/api/").status == 200


def test_a_login_gives_one_cookie_with_its_attributes(mini_program: MiniProgram) -> None:
    login = mini_program.log_in()

    assert len(login.headers.getlist("Set-Cookie")) == 1
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"} <= {*login.set_cookie.split("; ")}


@pytest.mark.parametrize("carrier", ["sessionid: {}", "Cookie: sessionid={}", "Authorization: Bearer {}"])
def test_every_carrier_of_the_session_lets_in_and_stays_outside(
    mini_program: MiniProgram, client: Client, backend: Backend, carrier: str
) -> None:
    session_id = mini_program.log_in().session_id

    answer = client.get("/api/", carrier.format(session_id))

    assert answer.status == 200
    assert session_id not in repr(backend.arrivals)


def test_a_stranger_is_told_to_log_in(client: Client, backend: Backend) -> None:
    answer = client.get("/api/")

    assert (answer.status, answer.error["code"], answer.error["retryable"]) == (401, "not_logged_in", False)
    assert answer.headers.getlist("WWW-Authenticate") == ['Bearer realm="wxlogin"']
    assert backend.arrivals == []


def test_a_stranger_is_told_what_the_service_itself_says(client: Client) -> None:
    ours, the_services = client.get("/api/"), client.get("/session")

    bodies = [{**answer.error, "request_id": ""} for answer in (ours, the_services)]
    assert bodies[0] == bodies[1]
    for name in ("Content-Type", "Cache-Control", "Referrer-Policy", "X-Content-Type-Options", "WWW-Authenticate"):
        assert ours.headers.getlist(name) == the_services.headers.getlist(name)


def test_logging_out_holds_from_the_next_request_on_also_on_a_kept_connection(
    mini_program: MiniProgram, client: Client, backend: Backend
) -> None:
    mini_program.log_in()
    carrier = f"sessionid: {mini_program.stored}"
    again = get("/api/", carrier).replace(b"Connection: close", b"Connection: keep-alive")
    out = again.replace(b"GET /api/", b"DELETE /session")

    answers = client.ask(again + out + get("/api/", carrier))

    assert [answer.status for answer in answers] == [200, 204, 401]
    assert len(backend.arrivals) == 1


def test_a_session_that_is_over_opens_nothing(
    mini_program: MiniProgram, real_redis: redis.Redis, backend: Backend
) -> None:
    mini_program.log_in()
    for key in real_redis.keys("wxlogin:user:*"):
        real_redis.delete(key)

    answer = mini_program.get("/api/")

    assert (answer.status, answer.error["code"]) == (401, "not_logged_in")
    assert backend.arrivals == []


def test_users_at_the_same_time_are_never_mixed_up(front: Front, sandbox: Sandbox, backend: Backend) -> None:
    users = [user(front, sandbox, f"oUser-of-many-{number:014}") for number in range(4)]
    seen: Counter[bool] = Counter()

    def ask(who: MiniProgram) -> None:
        for _ in range(25):
            seen[who.get("/api/").json["openid"] == who.openid] += 1

    threads = [threading.Thread(target=ask, args=[who]) for who in users]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {True: 100}


@pytest.mark.parametrize(("method", "path", "status"), ROUTES)
def test_each_route_for_mini_programs_is_the_services(client: Client, method: str, path: str, status: int) -> None:
    answer = over_tls(client)(method, path, **({"json": {}} if method == "POST" else {}))

    assert answer.status == status


@pytest.mark.parametrize("path", INSIDE)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_is_for_operators_is_not_there(client: Client, method: str, path: str) -> None:
    answer = over_tls(client)(method, path, **({"json": {}} if method == "POST" else {}))

    assert (answer.status, answer.error["code"]) == (404, "not_found")


@pytest.mark.parametrize("target", ["/getOpenid/", "//getOpenid", "/getOpenid%2f", "/x/../getOpenid", "/LOGIN"])
def test_no_address_redirects(client: Client, target: str) -> None:
    answer = client.get(f"{target}?code=1")

    assert answer.status in {400, 404}


@pytest.mark.parametrize(
    "target",
    [
        "/api/x.y",
        "/api/..x",
        "/api/x..",
        "/api/x?u=/../&v=%2e%2f//;%00",
        "/api/%e4%b8%ad%20%7e",
        "/api/a-b_c~d!e$f&g'h(i)j*k,l=m:n@o",
    ],
)
def test_honest_paths_reach_the_back_end_as_they_are(
    mini_program: MiniProgram, backend: Backend, target: str
) -> None:
    mini_program.log_in()

    mini_program.get(target)

    assert [arrival.target for arrival in backend.arrivals] == [target]


def test_a_body_reaches_the_back_end_but_not_the_service(
    mini_program: MiniProgram, client: Client, backend: Backend
) -> None:
    mini_program.log_in()

    mini_program.post("/api/orders", json={"item": 1})

    assert [arrival.method for arrival in backend.arrivals] == ["POST"]
    assert backend.arrivals[0].header("Content-Length") == ["11"]


def test_the_back_end_gets_the_usual_headers_and_no_other(
    mini_program: MiniProgram, client: Client, backend: Backend
) -> None:
    mini_program.log_in()

    client.get(
        "/api/", f"sessionid: {mini_program.stored}", "Accept-Language: zh-CN", "User-Agent: phone", "X-Shop: 1"
    )

    names = {name for name, _ in backend.arrivals[0].headers}
    assert names == {
        *("Host", "User-Agent", "Accept-Language", "X-Request-Id", "X-Forwarded-For", "X-Forwarded-Proto"),
        *("X-WX-OPENID", "X-WX-APPID", "X-WX-SOURCE"),
    }
    assert backend.arrivals[0].header("Host") == ["localhost"]
    assert backend.arrivals[0].header("X-Forwarded-Proto") == ["https"]


def test_a_site_names_the_headers_that_it_needs_beside(
    front: Front, mini_program: MiniProgram, backend: Backend
) -> None:
    mini_program.log_in()

    asked_at(front, "/orders/", mini_program, "X-Shop: 1")

    assert backend.arrivals[0].header("X-Shop") == ["1"]
    assert backend.arrivals[0].header("X-WX-OPENID") == [mini_program.openid]


def test_a_site_takes_a_prefix_away(front: Front, mini_program: MiniProgram, backend: Backend) -> None:
    mini_program.log_in()

    asked_at(front, "/shortened/a/b?c=%2e", mini_program)

    assert [arrival.target for arrival in backend.arrivals] == ["/a/b?c=%2e"]


@pytest.mark.parametrize(("who", "status"), [("user", 200), ("stranger", 401)])
def test_a_site_protects_files_of_nginxs_own(
    front: Front, mini_program: MiniProgram, who: str, status: int
) -> None:
    if who == "user":
        mini_program.log_in()

    answer = asked_at(front, "/nginx/front.py", mini_program)

    assert (answer.status, "The real nginx" in answer.text) == (status, who == "user")


@pytest.mark.parametrize(("path", "reached"), [("/one-app/", 1), ("/another-app/", 0)])
def test_a_location_takes_the_users_of_the_apps_that_it_names(
    front: Front, mini_program: MiniProgram, backend: Backend, path: str, reached: int
) -> None:
    mini_program.log_in()

    answer = asked_at(front, f"{path}?appid={APPID}", mini_program)

    assert len(backend.arrivals) == reached
    if not reached:
        assert (answer.status, answer.error["code"]) == (403, "wrong_app")


@pytest.mark.parametrize(
    ("place", "status"),
    [("in-one-location", 503), ("not-protected", 503), ("leading-nowhere", 404), ("other-variables", 503)],
)
def test_a_location_that_is_put_together_wrongly_is_shut(
    front: Front, mini_program: MiniProgram, backend: Backend, place: str, status: int
) -> None:
    mini_program.log_in()

    answer = asked_at(front, f"/wrong/{place}/", mini_program, "X-WX-OPENID: oForged")

    assert (answer.status, answer.headers["Content-Type"]) == (status, "application/json")
    assert backend.arrivals == []


def test_a_cache_gives_nobody_what_was_made_for_another(front: Front, sandbox: Sandbox, backend: Backend) -> None:
    users = [user(front, sandbox, f"oUser-of-a-cache-{number:011}") for number in range(2)]

    answers = [(who.openid, asked_at(front, "/cached/", who).json["openid"]) for _ in range(10) for who in users]

    assert [told for _, told in answers] == [openid for openid, _ in answers]
    assert len(backend.arrivals) == 2


def test_a_cache_gives_strangers_nothing(front: Front, mini_program: MiniProgram, client: Client) -> None:
    mini_program.log_in()
    asked_at(front, "/cached/", mini_program)

    answer = client.get("/cached/", name="neighbour.test")

    assert answer.status == 401


def test_a_back_end_that_is_down_is_no_trouble_with_the_session(front: Front, mini_program: MiniProgram) -> None:
    mini_program.log_in()

    answer = asked_at(front, "/gone/", mini_program)

    assert (answer.status, answer.error["code"]) == (502, "backend_unavailable")


def test_what_a_site_denies_has_nothing_to_do_with_the_session(front: Front, mini_program: MiniProgram) -> None:
    mini_program.log_in()

    answer = asked_at(front, "/denied/", mini_program)

    assert (answer.status, answer.error["code"]) == (403, "forbidden")


@pytest.mark.parametrize("name", ["another.example", "127.0.0.1", "xn--unknown"])
def test_who_names_another_server_gets_no_connection(client: Client, name: str) -> None:
    with pytest.raises(OSError, match="unrecognized name"):
        client.connect(name=name)


def test_who_names_no_server_gets_no_connection(client: Client) -> None:
    with pytest.raises(OSError, match="unrecognized name"):
        client.connect(name=None)


@pytest.mark.parametrize("path", ["/session", "/login", "/api/", "/nothing", "/api/%2e%2e/", "/auth"])
def test_every_answer_has_the_headers_that_protect_it_once(client: Client, path: str) -> None:
    answer = client.get(path)

    headers = {
        "Strict-Transport-Security": "max-age=31536000",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
        "Content-Type": "application/json",
        "Server": "nginx",
    }
    assert {name: answer.headers.getlist(name) for name in headers} == {
        name: [value] for name, value in headers.items()
    }
    assert answer.headers.getlist("X-Request-Id") == [answer.error["request_id"]]


def test_what_a_user_gets_has_them_too(mini_program: MiniProgram, backend: Backend) -> None:
    answers = [mini_program.log_in(), mini_program.get("/api/")]

    for answer in answers:
        assert answer.headers.getlist("Strict-Transport-Security") == ["max-age=31536000"]
        assert answer.headers.getlist("X-Content-Type-Options") == ["nosniff"]
        assert len(answer.headers.getlist("X-Request-Id")) == 1


def test_a_request_id_goes_all_the_way(mini_program: MiniProgram, client: Client, backend: Backend) -> None:
    mini_program.log_in()

    answer = client.get("/api/", f"sessionid: {mini_program.stored}", "X-Request-Id: of-the:client_1.2")

    assert answer.headers["X-Request-Id"] == "of-the:client_1.2"
    assert backend.arrivals[0].header("X-Request-Id") == ["of-the:client_1.2"]


@pytest.mark.parametrize("given", ["", "a" * 65, "a b", 'a"b', "a;b", "ä"])
def test_a_request_id_that_is_none_is_replaced(client: Client, given: str) -> None:
    answer = client.get("/api/", f"X-Request-Id: {given}")

    assert answer.error["request_id"] != given
    assert len(answer.error["request_id"]) == 32


def test_too_many_logins_from_an_address_are_refused_and_other_addresses_are_not(front: Front) -> None:
    asking = get("/login").replace(b"Connection: close", b"Connection: keep-alive")

    answers = Client(front).ask(asking * 60 + get("/login"))

    refused = [answer for answer in answers if answer.status == 429]
    assert 0 < len(refused) < 30
    assert (refused[0].error["code"], refused[0].error["retryable"]) == ("rate_limited", True)
    assert refused[0].headers["Retry-After"] == "1"
    assert Client(front).get("/login").status == 405


def test_the_access_log_says_what_happened_and_to_whom(
    front: Front, mini_program: MiniProgram, client: Client
) -> None:
    mini_program.log_in()
    client.get("/api/?secret=1", f"sessionid: {mini_program.stored}", "X-Request-Id: look-for-me")

    line = next(line for line in front.access_log if line["request_id"] == "look-for-me")

    assert (line["address"], line["method"], line["path"]) == (client.address, "GET", "/api/")
    assert (line["status"], line["auth_status"], line["upstream_status"]) == ("200", "204", "200")


def test_nothing_is_logged_where_the_format_is_not_ours(front: Front, client: Client) -> None:
    client.get("/api/?secret=1")
    client.say(get("/", host="another.example"))

    assert front.stray_log == ""
