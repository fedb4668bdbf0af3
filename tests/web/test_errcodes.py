"""Every errcode in WeChat's tables, at every endpoint that may send it, as our clients see it.

https://developers.weixin.qq.com/miniprogram/dev/server/API/user-login/api_code2session and the others' pages.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from tests.conftest import Clock
from tests.drivers import Answer, MiniProgram, Sandbox, in_process
from wxlogin.config.settings import Settings
from wxlogin.services import Services
from wxlogin.web.app import create_app

Told = tuple[int, str, bool, str | None]
"""Status, ``error.code``, ``error.retryable`` and ``Retry-After``."""

_BUSY: Told = (503, "wechat_unavailable", True, "1")
_OPERATORS_TO_REPAIR: Told = (500, "wechat_rejected_credentials", False, None)
_UNFORESEEN: Told = (502, "wechat_error", False, None)
_STALE_KEY: Told = (409, "session_key_stale", False, None)

OPERATORS = (
    *(40001, 40013, 40014, 40066, 40125, 40164, *range(40230, 40241), 40243, 41001, 41002, 41004, 42001, 43003),
    *(45035, 48001, 48004, 50002, 61004, 61007, 61016, 89501, 89503, 89506, 89507),
)

TOLD: dict[int, Told] = {
    -1: _BUSY,
    40029: (400, "invalid_code", False, None),
    42003: (400, "invalid_code", False, None),
    40163: (400, "code_used", False, None),
    40226: (403, "user_blocked", False, None),
    45009: (429, "wechat_rate_limited", True, "3600"),
    45011: (429, "wechat_rate_limited", True, "60"),
    1400001: (429, "wechat_rate_limited", True, "3600"),
    87007: _STALE_KEY,
    87009: _STALE_KEY,
    **dict.fromkeys(
        OPERATORS,
        _OPERATORS_TO_REPAIR,
    ),
    **dict.fromkeys((40002, 40003, 40097, 41008, 43001, 43002, 44002, 47001, 87008, 12345), _UNFORESEEN),
}


def _log_in(phone: MiniProgram, sandbox: Sandbox) -> Answer:
    return phone.send("POST", "/login", json={"code": sandbox.issue_code()})


def _log_in_the_old_way(phone: MiniProgram, sandbox: Sandbox) -> Answer:
    return phone.send("GET", f"/getOpenid?code={sandbox.issue_code()}")


def _ask_for_the_phone_number(phone: MiniProgram, sandbox: Sandbox) -> Answer:
    return _post(phone, "/phone-number", {"code": sandbox.phone_code(openid=phone.openid)})


def _check_the_session_key(phone: MiniProgram, _sandbox: Sandbox) -> Answer:
    return _post(phone, "/session-key/check", {})


def _reset_the_session_key(phone: MiniProgram, _sandbox: Sandbox) -> Answer:
    return _post(phone, "/session-key/reset", {})


def _post(phone: MiniProgram, path: str, body: dict[str, str]) -> Answer:
    return phone.send("POST", path, json=body, headers={"sessionid": phone.stored})


Do = Callable[[MiniProgram, Sandbox], Answer]

_EXCHANGE = (
    *(-1, 40002, 40013, 40029, 40125, 40163, 40164, 40226, 40243, 41002, 41004, 41008, 42003),
    *(43001, 43002, 43003, 45009, 45011, 45035, 48004, 50002, 61004, 12345),
)
_TOKEN = (
    *(-1, 40001, 40002, 40013, 40125, 40164, 40243, 41002, 41004, 43002, 45009, 45011),
    *(50002, 89501, 89503, 89506, 89507),
)
_WITH_TOKEN = (
    *(-1, 40001, 40014, 40066, *range(40230, 40241), 41001, 42001, 43003, 45009, 45011, 45035),
    *(48001, 48004, 50002, 61004, 61007, 61016, 12345),
)
_WITH_SIGNATURE = (*_WITH_TOKEN, 40003, 40097, 87008)

ENDPOINTS: list[tuple[str, Do, tuple[int, ...]]] = [
    ("/sns/jscode2session", _log_in, _EXCHANGE),
    ("/sns/jscode2session", _log_in_the_old_way, _EXCHANGE),
    ("/cgi-bin/stable_token", _ask_for_the_phone_number, _TOKEN),
    ("/cgi-bin/token", _ask_for_the_phone_number, _TOKEN),
    (
        "/wxa/business/getuserphonenumber",
        _ask_for_the_phone_number,
        (*_WITH_TOKEN, 40013, 40029, 44002, 47001, 1400001),
    ),
    ("/wxa/checksession", _check_the_session_key, _WITH_SIGNATURE),
    ("/wxa/resetusersessionkey", _reset_the_session_key, (*_WITH_SIGNATURE, 87007, 87009)),
]


@pytest.fixture
def phone(settings: Settings, sandbox: Sandbox, clock: Clock, path: str) -> MiniProgram:
    """A user of a service that gets its access_token from the endpoint in question, if that gives any."""
    api = "token" if path == "/cgi-bin/token" else "stable_token"
    services = Services.build(dataclasses.replace(settings, access_token_api=api), clock=clock)
    user = MiniProgram(in_process(create_app(services)), sandbox)
    user.log_in()
    return user


@pytest.mark.parametrize(
    ("path", "do", "errcode"),
    [
        pytest.param(path, do, errcode, id=f"{path}-{do.__name__.strip('_')}-{errcode}")
        for path, do, errcodes in ENDPOINTS
        for errcode in errcodes
    ],
)
def test_what_wechat_refuses_is_told(
    phone: MiniProgram, sandbox: Sandbox, path: str, do: Do, errcode: int
) -> None:
    sandbox.arm(path=path, errcode=errcode, times=9)

    answer = do(phone, sandbox)

    error = answer.error
    told = (answer.status, error["code"], error["retryable"], answer.headers.get("Retry-After"))
    assert told == TOLD[errcode]
    assert error["errcode"] == errcode
    assert answer.set_cookie == ""


@pytest.mark.parametrize(("path", "errcode"), [("/wxa/checksession", 87007), ("/wxa/checksession", 87009)])
def test_a_key_that_wechat_does_not_know_is_no_error_where_that_was_the_question(
    phone: MiniProgram, sandbox: Sandbox, path: str, errcode: int
) -> None:
    sandbox.arm(path=path, errcode=errcode)

    answer = _check_the_session_key(phone, sandbox)

    assert (answer.status, answer.json) == (200, {"valid": False})
