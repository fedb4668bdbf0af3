"""A service of several mini-programs: which one a login is for, and that their users have nothing in common."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.conftest import APPID
from tests.drivers import Answer, MiniProgram, Sandbox, Send, in_process
from tests.servers import sandbox_server, wait_until
from wxlogin.config.settings import Settings
from wxlogin.services import Services
from wxlogin.web.app import create_app

ONE, TWO, UNKNOWN = "wx0000000000000001", "wx0000000000000002", "wx00000000000000ff"
APPS = {ONE: "canary-secret-of-one", TWO: "canary-secret-of-two"}
TOKEN = "the-operators-token"
OPENID = "oGZUI0egBJY1zhBYw2KhdUfwVJJE"

NewFile = Callable[[Mapping[str, str]], None]


@pytest.fixture(scope="module")
def wechat() -> Iterator[Sandbox]:
    """WeChat, with two mini-programs of ours."""
    with sandbox_server(APPS) as url:
        yield Sandbox(url)


@pytest.fixture
def sandbox(wechat: Sandbox) -> Sandbox:
    wechat.reset()
    return wechat


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    (tmp_path / "apps.json").write_text(json.dumps(APPS))
    return dataclasses.replace(
        settings, appid="", app_secret="", apps_file=str(tmp_path / "apps.json"), admin_token=TOKEN
    )


@pytest.fixture
def new_file(tmp_path: Path) -> NewFile:
    def write(apps: Mapping[str, str]) -> None:
        (tmp_path / "new.json").write_text(json.dumps(apps))
        (tmp_path / "new.json").replace(tmp_path / "apps.json")

    return write


@pytest.fixture
def phone_of(send: Send, sandbox: Sandbox) -> Callable[[str], MiniProgram]:
    """Return the phone of a user who is logged in with a mini-program; each openid is the same."""

    def log_in(appid: str) -> MiniProgram:
        phone = MiniProgram(send, sandbox, OPENID, appid=appid)
        assert phone.log_in().status == 200
        return phone

    return log_in


PhoneOf = Callable[[str], MiniProgram]


def referer_of(appid: str) -> str:
    return f"https://servicewechat.com/{appid}/12/page-frame.html"


def appid_of(send: Send, login: Answer) -> str:
    """Return the mini-program whose user a login made."""
    assert login.status == 200
    appid: str = send("GET", "/session", headers={"sessionid": login.set_cookie}).json["appid"]
    return appid


def asks_which(answer: Answer) -> bool:
    """Say whether a refusal tells to send the AppID."""
    error = answer.error
    return (answer.status, error["code"], error["retryable"]) == (400, "invalid_request", False) and error[
        "message"
    ].startswith("appid: has to be there")


# which one a login is for


@pytest.mark.parametrize("appid", APPS)
def test_the_body_says_which_app_a_login_is_for(phone_of: PhoneOf, appid: str) -> None:
    assert phone_of(appid).whoami().json["appid"] == appid


@pytest.mark.parametrize("appid", APPS)
def test_the_url_of_an_old_client_says_which_app_a_login_is_for(send: Send, sandbox: Sandbox, appid: str) -> None:
    code = sandbox.issue_code(appid=appid)
    url = (
        f"https://api.weixin.qq.com/sns/jscode2session?appid={appid}&js_code={code}&grant_type=authorization_code"
    )

    login = send("GET", "/getOpenid", query_string={"url": url}, headers={"Referer": referer_of(ONE)})

    assert appid_of(send, login) == appid


@pytest.mark.parametrize("appid", APPS)
@pytest.mark.parametrize(
    "rest",
    [
        "12/page-frame.html",
        "0/page-frame.html",
        "devtools/page-frame.html",
        "12/page-frame.html?a=b#c",
        "",
        "x/" * 999,
    ],
)
def test_else_the_referer_that_wechat_sets_says_it(send: Send, sandbox: Sandbox, appid: str, rest: str) -> None:
    body, referer = {"code": sandbox.issue_code(appid=appid)}, f"https://servicewechat.com/{appid}/{rest}"

    login = send("POST", "/login", json=body, headers={"Referer": referer})

    assert appid_of(send, login) == appid


@pytest.mark.parametrize("appid", APPS)
def test_the_referer_says_it_for_an_old_client_that_sends_its_code_alone(
    send: Send, sandbox: Sandbox, appid: str
) -> None:
    path = f"/getOpenid?code={sandbox.issue_code(appid=appid)}"

    assert appid_of(send, send("GET", path, headers={"Referer": referer_of(appid)})) == appid


def test_the_body_is_believed_before_the_referer(send: Send, sandbox: Sandbox) -> None:
    body = {"code": sandbox.issue_code(appid=TWO), "appid": TWO}

    assert appid_of(send, send("POST", "/login", json=body, headers={"Referer": referer_of(ONE)})) == TWO


def test_an_empty_appid_in_the_body_says_nothing(send: Send, sandbox: Sandbox) -> None:
    body = {"code": sandbox.issue_code(appid=TWO), "appid": ""}

    assert appid_of(send, send("POST", "/login", json=body, headers={"Referer": referer_of(TWO)})) == TWO


OTHER_REFERERS = [
    referer_of(UNKNOWN),
    "",
    "https://servicewechat.com/",
    "https://servicewechat.com",
    f"https://servicewechat.com/{ONE}",
    f"https://servicewechat.com//{ONE}/0/page-frame.html",
    f"https://servicewechat.com/{ONE}x/0/page-frame.html",
    f"https://servicewechat.com/{ONE.upper()}/0/page-frame.html",
    f"https://servicewechat.com/WX{ONE[2:]}/0/page-frame.html",
    f"https://servicewechat.com/..%2f{ONE}/0/page-frame.html",
    f"https://servicewechat.com/x/{ONE}/0/page-frame.html",
    f"https://servicewechat.com:443/{ONE}/0/page-frame.html",
    f"https://servicewechat.com.evil.test/{ONE}/0/page-frame.html",
    f"https://servicewechat.com@evil.test/{ONE}/0/page-frame.html",
    f"https://servicewechat.com\\@evil.test/{ONE}/0/page-frame.html",
    f"https://user@servicewechat.com/{ONE}/0/page-frame.html",
    f"https://evil.test/https://servicewechat.com/{ONE}/0/page-frame.html",
    f"https://servicewechatXcom/{ONE}/0/page-frame.html",
    f"http://servicewechat.com/{ONE}/0/page-frame.html",
    f"//servicewechat.com/{ONE}/0/page-frame.html",
    f"servicewechat.com/{ONE}/0/page-frame.html",
    f"https://[servicewechat.com/{ONE}/0/page-frame.html",
    f"javascript:{ONE}",
    "\xff\xfe微信".encode().decode("latin-1"),
    "https://servicewechat.com/wx" + "0" * 4000,
    "%",
]


@pytest.mark.parametrize("referer", OTHER_REFERERS)
def test_any_other_referer_says_nothing(send: Send, sandbox: Sandbox, referer: str) -> None:
    body = {"code": sandbox.issue_code(appid=ONE)}

    assert asks_which(send("POST", "/login", json=body, headers={"Referer": referer}))


@pytest.mark.parametrize("request_", [("POST", "/login"), ("GET", "/getOpenid?code={code}")])
def test_with_nothing_that_says_it_the_client_is_told_what_to_send_and_its_code_is_not_spent(
    send: Send, sandbox: Sandbox, request_: tuple[str, str]
) -> None:
    (method, path), code = request_, sandbox.issue_code(appid=ONE)

    answer = send(method, path.format(code=code), **({"json": {"code": code}} if method == "POST" else {}))

    assert asks_which(answer)
    assert sandbox.calls() == []


def test_an_appid_that_is_not_ours_is_refused_whatever_the_referer_says(send: Send, sandbox: Sandbox) -> None:
    body = {"code": sandbox.issue_code(appid=ONE), "appid": UNKNOWN}

    answer = send("POST", "/login", json=body, headers={"Referer": referer_of(ONE)})

    assert (answer.status, answer.error["message"]) == (
        400,
        "appid: is not one of this service's mini-programs.",
    )
    assert sandbox.calls() == []


def test_a_code_of_another_app_of_ours_logs_nobody_in(send: Send, sandbox: Sandbox) -> None:
    answer = send("POST", "/login", json={"code": sandbox.issue_code(appid=ONE), "appid": TWO})

    assert (answer.status, answer.error["code"], answer.set_cookie) == (400, "invalid_code", "")


def test_a_code_that_logged_in_with_its_app_logs_nobody_in_with_another(send: Send, sandbox: Sandbox) -> None:
    code = sandbox.issue_code(appid=ONE)
    first, replayed, elsewhere = (
        send("POST", "/login", json={"code": code, "appid": appid}) for appid in (ONE, ONE, TWO)
    )

    assert first.session_id == replayed.session_id
    assert (elsewhere.status, elsewhere.set_cookie) == (400, "")


# a service of one


@pytest.fixture
def one_app(settings: Settings, new_file: NewFile) -> Send:
    """A service of one mini-program, with a file all the same."""
    new_file({ONE: APPS[ONE]})
    return in_process(create_app(Services.build(settings)))


@pytest.mark.parametrize("referer", [*OTHER_REFERERS, referer_of(ONE), referer_of(TWO)])
def test_the_only_app_need_not_be_named_whatever_the_referer_says(
    one_app: Send, sandbox: Sandbox, referer: str
) -> None:
    body = {"code": sandbox.issue_code(appid=ONE)}

    assert appid_of(one_app, one_app("POST", "/login", json=body, headers={"Referer": referer})) == ONE


def test_without_a_file_there_is_the_one_app_of_the_settings(settings: Settings, the_sandbox: Sandbox) -> None:
    alone = dataclasses.replace(
        settings, apps_file="", appid=APPID, app_secret="sandbox-secret", wechat_api_url=the_sandbox.url
    )
    send = in_process(create_app(Services.build(alone)))

    login = send(
        "POST", "/login", json={"code": the_sandbox.issue_code()}, headers={"Referer": referer_of(UNKNOWN)}
    )

    assert appid_of(send, login) == APPID


# a user is an appid and an openid


def test_the_same_openid_in_two_apps_is_two_users(phone_of: PhoneOf) -> None:
    phones = [phone_of(appid) for appid in APPS]

    assert [phone.get("/sessions").json["sessions"][0]["is_current"] for phone in phones] == [True, True]
    assert [len(phone.get("/sessions").json["sessions"]) for phone in phones] == [1, 1]


def test_logging_out_everywhere_leaves_the_other_apps_user_alone(phone_of: PhoneOf) -> None:
    first, second = (phone_of(appid) for appid in APPS)

    first.send("DELETE", "/sessions", headers={"sessionid": first.stored})

    assert (first.whoami().status, second.whoami().status) == (401, 200)


def test_back_ends_are_told_the_app_with_the_user(phone_of: PhoneOf) -> None:
    identities = [phone_of(appid).get("/auth").headers for appid in APPS]

    assert [(each["X-WX-APPID"], each["X-WX-OPENID"]) for each in identities] == [(ONE, OPENID), (TWO, OPENID)]


def test_a_back_end_of_one_app_lets_only_its_users_pass(phone_of: PhoneOf) -> None:
    phones = [phone_of(appid) for appid in APPS]

    assert [phone.get(f"/auth?appid={ONE}").status for phone in phones] == [204, 403]
    assert [phone.get(f"/auth?appid={ONE}&appid={TWO}").status for phone in phones] == [204, 204]


def test_data_that_another_apps_phone_got_does_not_decrypt(phone_of: PhoneOf, sandbox: Sandbox) -> None:
    phones = [phone_of(appid) for appid in APPS]
    data = sandbox.user_data(openid=OPENID, appid=ONE)
    body = {name: data[name] for name in ("encryptedData", "iv")}

    assert [phone.post("/user-data/decrypt", json=body).status for phone in phones] == [200, 409]


def test_each_app_has_its_own_access_token(phone_of: PhoneOf, sandbox: Sandbox) -> None:
    answers = [phone_of(appid).post("/session-key/check") for appid in (ONE, TWO, ONE, TWO)]

    assert [answer.json for answer in answers] == [{"valid": True}] * 4
    assert sandbox.answers("/cgi-bin/stable_token") == [0, 0]


# operators


def ask(send: Send, method: str, path: str) -> Answer:
    """Make an operator's request about the sessions of the openid."""
    return send(method, f"/admin/users/{OPENID}/sessions{path}", headers={"Authorization": f"Bearer {TOKEN}"})


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("DELETE", ""), ("DELETE", f"/{'A' * 22}")])
def test_operators_have_to_say_which_apps_user_they_mean(
    send: Send, phone_of: PhoneOf, method: str, path: str
) -> None:
    phones = [phone_of(appid) for appid in APPS]

    assert asks_which(ask(send, method, path))
    assert [phone.whoami().status for phone in phones] == [200, 200]


def test_the_referer_of_an_operators_request_says_nothing(send: Send) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}", "Referer": referer_of(ONE)}

    assert asks_which(send("DELETE", f"/admin/users/{OPENID}/sessions", headers=headers))


def test_operators_see_and_end_one_apps_sessions(send: Send, phone_of: PhoneOf) -> None:
    first, second = (phone_of(appid) for appid in APPS)

    statuses = [ask(send, "DELETE", f"?appid={ONE}").status, first.whoami().status, second.whoami().status]

    assert statuses == [204, 401, 200]
    assert [ask(send, "GET", f"?appid={appid}").json["count"] for appid in APPS] == [0, 1]


# apps that come, go and get new secrets


def test_a_new_app_logs_in_without_a_restart(settings: Settings, sandbox: Sandbox, new_file: NewFile) -> None:
    new_file({ONE: APPS[ONE]})
    send = in_process(create_app(Services.build(settings)))
    phone = MiniProgram(send, sandbox, OPENID, appid=TWO)
    before = phone.log_in().status

    new_file(APPS)

    wait_until(lambda: phone.log_in().status == 200, what="the new app is there")
    assert before == 400


def test_a_new_secret_is_used_without_a_restart(settings: Settings, sandbox: Sandbox, new_file: NewFile) -> None:
    new_file({ONE: APPS[ONE], TWO: "canary-secret-that-was-reset"})
    phone = MiniProgram(in_process(create_app(Services.build(settings))), sandbox, OPENID, appid=TWO)
    before = phone.log_in()

    new_file(APPS)

    wait_until(lambda: phone.log_in().status == 200, what="the new secret is there")
    assert (before.status, before.error["code"]) == (500, "wechat_rejected_credentials")


@pytest.fixture
def phone_of_a_removed_app(send: Send, sandbox: Sandbox, phone_of: PhoneOf, new_file: NewFile) -> MiniProgram:
    """The phone of somebody who logged in before the mini-program was taken out."""
    phone = phone_of(TWO)
    too_late = MiniProgram(send, sandbox, "oSomebodyElse0123456789abcde", appid=TWO)
    new_file({ONE: APPS[ONE]})
    wait_until(lambda: too_late.log_in().status == 400, what="the app is gone")
    return phone


def test_who_is_logged_in_with_an_app_that_was_taken_out_stays_who_it_is(
    phone_of_a_removed_app: MiniProgram,
) -> None:
    phone = phone_of_a_removed_app

    assert phone.get("/auth").headers["X-WX-APPID"] == TWO
    assert [phone.get(path).status for path in ("/session", "/sessions")] == [200, 200]
    assert (phone.log_out().status, phone.whoami().status) == (204, 401)


def test_data_of_an_app_that_was_taken_out_still_decrypts(
    phone_of_a_removed_app: MiniProgram, sandbox: Sandbox
) -> None:
    data = sandbox.user_data(openid=OPENID, appid=TWO)

    answer = phone_of_a_removed_app.post(
        "/user-data/decrypt", json={name: data[name] for name in ("encryptedData", "iv")}
    )

    assert answer.status == 200


@pytest.mark.parametrize(
    ("path", "body"),
    [("/phone-number", {"code": "x"}), ("/session-key/check", None), ("/session-key/reset", None)],
)
def test_wechat_is_not_asked_for_an_app_that_was_taken_out(
    phone_of_a_removed_app: MiniProgram, sandbox: Sandbox, path: str, body: dict[str, str] | None
) -> None:
    calls = len(sandbox.calls())

    answer = phone_of_a_removed_app.post(path, **({"json": body} if body else {}))

    assert (answer.status, answer.error["code"], answer.error["retryable"]) == (403, "wrong_app", False)
    assert len(sandbox.calls()) == calls
