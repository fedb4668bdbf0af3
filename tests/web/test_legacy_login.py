"""``GET /getOpenid``: the old clients' login works unchanged, and nothing a client sends is ever fetched."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.conftest import APPID
from tests.drivers import MiniProgram, Sandbox, Send

HOST = "api.weixin.qq.com"
PATH = f"/sns/jscode2session?appid={APPID}&js_code=C"


def wechat_url(code: str, *, appid: str = APPID, secret: str = "leaked-long-ago") -> str:
    return (
        f"https://{HOST}/sns/jscode2session?appid={appid}&secret={secret}&js_code={code}"
        f"&grant_type=authorization_code&code={code}"
    )


def test_the_old_tutorials_client_logs_in_unchanged(mini_program: MiniProgram) -> None:
    answer = mini_program.log_in_the_old_way()

    assert answer.status == 200
    assert answer.json == {"expires_in": 30 * 86400}
    assert mini_program.whoami().status == 200


def test_a_client_that_does_not_encode_the_url_logs_in(send: Send, sandbox: Sandbox) -> None:
    answer = send("GET", f"/getOpenid?url={wechat_url(sandbox.issue_code())}")

    assert answer.status == 200


@pytest.mark.parametrize("name", ["code", "js_code"])
def test_the_code_alone_is_enough(send: Send, sandbox: Sandbox, name: str) -> None:
    answer = send("GET", f"/getOpenid?{name}={sandbox.issue_code()}")

    assert answer.status == 200


def test_both_names_may_have_the_same_code(send: Send, sandbox: Sandbox) -> None:
    code = sandbox.issue_code()

    answer = send("GET", f"/getOpenid?code={code}&js_code={code}&appid={APPID}")

    assert answer.status == 200


def test_the_secret_in_the_url_is_not_used(send: Send, sandbox: Sandbox) -> None:
    answer = send("GET", f"/getOpenid?url={quote(wechat_url(sandbox.issue_code(), secret='wrong'), safe='')}")

    assert answer.status == 200
    assert [call["errcode"] for call in sandbox.calls()] == [0]


def test_wechat_gets_our_four_parameters_and_no_other(send: Send, sandbox: Sandbox) -> None:
    url = wechat_url(sandbox.issue_code()) + "&access_token=x&redirect=http://evil"

    send("GET", f"/getOpenid?url={quote(url, safe='')}")

    assert [sorted(call["query"]) for call in sandbox.calls()] == [["appid", "grant_type", "js_code", "secret"]]


def test_the_operator_is_warned_of_the_secret_without_it(
    send: Send, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    send("GET", f"/getOpenid?url={quote(wechat_url(sandbox.issue_code()), safe='')}")

    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert any("reset it" in warning for warning in warnings)
    assert "leaked-long-ago" not in caplog.text


def test_without_a_secret_nobody_is_warned(send: Send, sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    url = f"https://{HOST}/sns/jscode2session?appid={APPID}&js_code={sandbox.issue_code()}"

    answer = send("GET", f"/getOpenid?url={quote(url, safe='')}")

    assert answer.status == 200
    assert "reset it" not in caplog.text


REFUSED_URLS = [
    f"https://{HOST}@127.0.0.1{PATH}",
    f"https://127.0.0.1@{HOST}{PATH}",
    f"https://u:p@{HOST}{PATH}",
    f"https://@{HOST}{PATH}",
    f"https://127.0.0.1\\@{HOST}{PATH}",
    f"https://127.0.0.1#@{HOST}{PATH}",
    f"https://127.0.0.1?@{HOST}{PATH}",
    f"https://{HOST}.evil.test{PATH}",
    f"https://evil-{HOST}{PATH}",
    f"https://{HOST}evil.test{PATH}",
    f"http://{HOST}{PATH}",
    f"//{HOST}{PATH}",
    f" https://{HOST}{PATH}",
    "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_FLUSHALL",
    "dict://127.0.0.1:6379/info",
    f"ftp://{HOST}{PATH}",
    "data:,x",
    "unix:///run/redis.sock",
    f"jar:https://{HOST}{PATH}",
    *(f"https://{HOST}:{port}{PATH}" for port in ("8443", "22", "0", "99999", "", "443", "４４３")),
    f"https://{HOST.upper()}{PATH}",
    f"HTTPS://{HOST}{PATH}",
    *(f"http://{host}/" for host in ("2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0")),
    "http://169.254.169.254/latest/meta-data/",
    "http://100.100.100.200/",
    "http://localhost:8000/auth",
    f"https://ａpi.weixin.qq.com{PATH}",
    f"https://api.weixin.qq。com{PATH}",
    f"https://ⓐpi.weixin.qq.com{PATH}",
    f"https://api.weıxin.qq.com{PATH}",
    f"https://{HOST}./sns/jscode2session?appid={APPID}&js_code=C",
    f"https://{HOST}/sns/jscode2session/../../cgi-bin/token?appid={APPID}&js_code=C",
    f"https://{HOST}/sns/%2e%2e/cgi-bin/token?appid={APPID}&js_code=C",
    f"https://{HOST}/sns/jscode2session/?appid={APPID}&js_code=C",
    f"https://{HOST}/sns/oauth2/access_token?appid={APPID}&js_code=C",
    f"https://{HOST}/cgi-bin/token?grant_type=client_credential&appid={APPID}&js_code=C",
    f"https://{HOST}{PATH}#fragment",
    f"https://{HOST}{PATH}&x={'x' * 1100}",
    f"https://{HOST}/sns/jscode2session?appid={APPID}",
    f"https://{HOST}/sns/jscode2session?appid={APPID}&js_code=",
    f"https://{HOST}/sns/jscode2session?appid={APPID}&code=C",
    f"https://{HOST}/sns/jscode2session?appid={APPID}&js_code=A&js_code=B",
    f"https://{HOST}/sns/jscode2session?appid={APPID}&js_code=A&js_code=A",
    f"https://{HOST}/sns/jscode2session?appid={APPID}&js_code=A&code=B",
    f"https://{HOST}/sns/jscode2session?appid={APPID}&js_code=a%26appid%3Dwxevil",
    f"https://{HOST}/sns/jscode2session?appid={APPID}&js_code=a%23x",
    f"https://{HOST}/sns/jscode2session?appid={APPID}&js_code=a%0d%0aHost:%20x",
    f"https://{HOST}/sns/jscode2session?appid={APPID}&js_code=a+b",
    f"https://{HOST}/sns/jscode2session?appid={APPID}&js_code=a%20b",
    f"https://{HOST}/sns/jscode2session?appid={APPID}&js_code=a%ff",
    f"https://{HOST}/sns/jscode2session?js_code=C",
    f"https://{HOST}/sns/jscode2session?appid=&js_code=C",
    f"https://{HOST}/sns/jscode2session?appid={APPID}&appid={APPID}&js_code=C",
    f"https://{HOST}/sns/jscode2session?appid=wx0000000000000000&js_code=C",
    f"https://{HOST}/sns/jscode2session?" + "&".join(f"a{number}=1" for number in range(60)),
    f"https://{HOST}/sns/jscode2session",
    f"https://{HOST}{PATH}\n",
    "\x00",
    "",
]


@pytest.mark.parametrize("url", REFUSED_URLS)
def test_any_other_url_is_refused_and_nobody_is_asked(
    send: Send, sandbox: Sandbox, no_connections: list[object], url: str
) -> None:
    answer = send("GET", f"/getOpenid?url={quote(url, safe='')}")

    assert (answer.status, answer.error["code"]) == (400, "invalid_request")
    assert answer.set_cookie == ""
    assert no_connections == []
    assert sandbox.calls() == []


@pytest.mark.parametrize(
    "query",
    [
        "",
        "url",
        "URL=https://x",
        "url[]=https://x",
        "code=",
        "code=a&code=b",
        "code=a&js_code=b",
        f"code=a&appid={APPID}&appid={APPID}",
        "code=a&appid=wx0000000000000000",
        "code=a%26appid%3Dwxevil",
        f"url={quote(quote(f'https://{HOST}{PATH}', safe=''), safe='')}",
        f"url={quote(f'https://{HOST}{PATH}', safe='')}&url={quote('https://127.0.0.1/', safe='')}",
        f"url={quote('https://127.0.0.1/', safe='')}&url={quote(f'https://{HOST}{PATH}', safe='')}",
        f"url={quote(f'https://{HOST}{PATH}', safe='')}&js_code=D",
        f"url={quote(f'https://{HOST}{PATH}', safe='')}&code=D",
    ],
)
def test_any_other_query_is_refused(send: Send, sandbox: Sandbox, query: str) -> None:
    answer = send("GET", f"/getOpenid?{query}")

    assert (answer.status, answer.error["code"]) == (400, "invalid_request")
    assert sandbox.calls() == []


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "POST", "PUT", "DELETE", "TRACE"])
def test_no_other_method_spends_the_code(send: Send, sandbox: Sandbox, method: str) -> None:
    answer = send(method, f"/getOpenid?code={sandbox.issue_code()}")

    assert (answer.status, answer.headers["Allow"]) == (405, "GET")
    assert sandbox.calls() == []


@pytest.mark.parametrize(
    "path", ["/getOpenid/", "//getOpenid", "/getopenid", "/getOpenid/x.css", "/./getOpenid", "/getOpenid%2f"]
)
def test_no_spelling_of_the_path_redirects(send: Send, sandbox: Sandbox, path: str) -> None:
    answer = send("GET", f"{path}?code={sandbox.issue_code()}")

    assert (answer.status, answer.error["code"]) == (404, "not_found")


def test_an_image_on_another_sites_page_is_refused(send: Send, sandbox: Sandbox) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}

    answer = send("GET", f"/getOpenid?code={sandbox.issue_code()}", headers=headers)

    assert (answer.status, answer.error["code"]) == (403, "cross_site_request")
    assert sandbox.calls() == []


@pytest.fixture
def no_connections() -> Iterator[list[object]]:
    """Collect the connections and name look-ups that this process tries from here on."""
    tried: list[object] = []
    watching.append(tried)
    yield tried
    watching.remove(tried)


watching: list[list[object]] = []


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if event in {"socket.connect", "socket.getaddrinfo", "socket.gethostbyname"}:
        for tried in watching:
            tried.append((event, *arguments))


@pytest.fixture(scope="module", autouse=True)
def _watched() -> None:
    sys.addaudithook(_watch)


@given(
    text=st.text(max_size=200),
    prefix=st.sampled_from(["", "https://", f"https://{HOST}", f"https://{HOST}{PATH}"]),
)
@hypothesis_settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_text_makes_anything_but_a_login_or_an_error(send: Send, text: str, prefix: str) -> None:
    answer = send("GET", f"/getOpenid?url={quote(prefix + text, safe='', errors='surrogatepass')}")

    assert answer.status in {200, 400, 403, 404}
    assert answer.set_cookie == "" or answer.status == 200
