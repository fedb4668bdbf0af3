"""Answers that WeChat has been seen to give, put to the service, and compared with the sandbox's own."""

from __future__ import annotations

import dataclasses
import functools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.conftest import APPID
from tests.drivers import Answer, MiniProgram, Sandbox, in_process
from wxlogin.config.settings import Settings
from wxlogin.services import Services
from wxlogin.web.app import create_app

LOGIN, PHONE = "/sns/jscode2session", "/wxa/business/getuserphonenumber"
TOKEN, STABLE_TOKEN = "/cgi-bin/token", "/cgi-bin/stable_token"
APP = {"appid": APPID, "secret": "sandbox-secret"}
LINES = Path(__file__).with_name("wechat-answers.jsonl").read_text("utf-8").splitlines()
CASES = [
    pytest.param(case, id=f"line {number}: {case.get('path')} {case.get('expected')}")
    for number, case in enumerate(map(json.loads, LINES), 1)
]
OF_THE_SANDBOX = [case for case in CASES if '"sandbox": true' in json.dumps(case.values[0])]
for_each_case = pytest.mark.parametrize("case", CASES)


@for_each_case
def test_a_line_has_what_the_readme_says(case: dict[str, Any]) -> None:
    assert {"source", "path", "answer", "expected"} <= case.keys() <= {*FIELDS}
    assert case["path"] in PUT


FIELDS = ("source", "path", "answer", "expected", "sandbox")


@pytest.fixture
def user(settings: Settings, sandbox: Sandbox, case: dict[str, Any]) -> MiniProgram:
    """A user of a service that takes its access token from where the case is about."""
    api = "stable" if case["path"] == STABLE_TOKEN else "token"
    services = Services.build(dataclasses.replace(settings, access_token_api=api))
    return MiniProgram(in_process(create_app(services)), sandbox)


def log_in(user: MiniProgram, sandbox: Sandbox, answer: str) -> Answer:
    sandbox.arm(path=LOGIN, body=answer, times=9)
    return user.log_in()


def ask_for_the_phone_number(user: MiniProgram, sandbox: Sandbox, answer: str, *, path: str = PHONE) -> Answer:
    user.log_in()
    sandbox.arm(path=path, body=answer, times=9)
    return user.post("/phone-number", json={"code": sandbox.phone_code()})


def fetch_a_token(user: MiniProgram, sandbox: Sandbox, answer: str, *, path: str) -> Answer:
    """Have a token fetched; WeChat knows it."""
    number = dict.fromkeys(("phoneNumber", "purePhoneNumber"), "13580006666") | {"countryCode": "86"}
    if "errcode" not in answer:
        sandbox.arm(path=PHONE, body=json.dumps({"errcode": 0, "phone_info": number}))
    return ask_for_the_phone_number(user, sandbox, answer, path=path)


PUT: dict[str, Callable[[MiniProgram, Sandbox, str], Answer]] = {
    LOGIN: log_in,
    PHONE: ask_for_the_phone_number,
    TOKEN: functools.partial(fetch_a_token, path=TOKEN),
    STABLE_TOKEN: functools.partial(fetch_a_token, path=STABLE_TOKEN),
}


@for_each_case
def test_a_recorded_answer_is_understood(user: MiniProgram, sandbox: Sandbox, case: dict[str, Any]) -> None:
    text = case["answer"].replace("APPID", APPID)

    answer = PUT[case["path"]](user, sandbox, text)

    if case["expected"] == "success":
        assert answer.status == 200
        if case["path"] == LOGIN:
            assert user.get("/auth").headers["X-WX-OPENID"] == json.loads(text)["openid"]
        told = json.loads(text).get("phone_info", {})
        assert {name: str(told[name]) for name in ("phoneNumber", "countryCode") if name in told}.items() <= (
            answer.json.items()
        )
    else:
        assert answer.error["code"] == case["expected"]


def form_of(answer: str) -> str:
    """Return an answer with what is different each time left out."""
    answer = re.sub(r"[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}", "RID", answer)
    answer = re.sub(r"hint: \[[^]]+\]", "hint", answer)
    answer = re.sub(r"invalid ip \S+ ipv6 \S+,", "invalid ip,", answer)
    answer = re.sub(r'"(timestamp|expires_in)":\d+', r'"\1"', answer)
    return re.sub(r'"(openid|unionid|session_key|access_token|appid)":"[^"]+"', r'"\1"', answer)


def ask_the_sandbox(sandbox: Sandbox, path: str, recorded: dict[str, Any]) -> requests.Response:
    """Ask as WeChat was asked for the recorded answer."""
    if path == LOGIN:
        code = sandbox.issue_code(**({"unionid": "u-1"} if "unionid" in recorded else {}))
        login = {"js_code": code, **APP, "grant_type": "authorization_code"}
        return requests.get(sandbox.url + path, login, timeout=20)
    credentials = {"grant_type": "client_credential", **APP}
    if path == TOKEN:
        return requests.get(sandbox.url + path, credentials, timeout=20)
    if path == STABLE_TOKEN:
        return requests.post(sandbox.url + path, json=credentials, timeout=20)
    token = requests.get(sandbox.url + TOKEN, credentials, timeout=20).json()
    code = sandbox.phone_code(phoneNumber=recorded.get("phone_info", {}).get("phoneNumber", "13580006666"))
    return requests.post(sandbox.url + path, params=token, json={"code": code}, timeout=20)


@pytest.mark.parametrize("case", OF_THE_SANDBOX)
def test_the_sandbox_answers_in_the_same_form(sandbox: Sandbox, case: dict[str, Any]) -> None:
    recorded = json.loads(case["answer"])
    if recorded.get("errcode"):
        sandbox.arm(path=case["path"], errcode=recorded["errcode"])
    if "expires_in" in recorded:
        sandbox.arm(path=case["path"], changes={"expires_in": recorded["expires_in"]})

    answer = ask_the_sandbox(sandbox, case["path"], recorded)

    assert form_of(answer.text) == form_of(case["answer"])
