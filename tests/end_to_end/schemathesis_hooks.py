"""What schemathesis has to be told: who is logged in, what a phone would send, and where to count what came of it.

It makes requests up from the description, and no code or data that is made up logs anybody in. So every second
request that fits the description gets what the sandbox hands out. This runs in schemathesis's own process.
"""

from __future__ import annotations

import atexit
import dataclasses
import itertools
import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import schemathesis
from schemathesis import AuthContext, Case, CheckContext, HookContext, Response

from tests.drivers import MiniProgram, Sandbox, over_http


@dataclasses.dataclass(frozen=True)
class Surroundings:
    """The servers, and where the test looks for the number of answers of each kind."""

    service_url: str
    sandbox_url: str
    appid: str
    admin_token: str
    counts_path: str


VARIABLE = "SCHEMATHESIS_SURROUNDINGS"
HERE = Surroundings(**json.loads(os.environ[VARIABLE]))
SERVICE, SANDBOX = over_http(HERE.service_url), Sandbox(HERE.sandbox_url)
KINDS = ("user_info", "phone_number", "share", "werun")

AnyCase = Case[Any]
USES = 8  # of a session: logging in takes longer than most requests

turns = itertools.count()
made_to_fit: Counter[str] = Counter()
answered: Counter[str] = Counter()


def log_somebody_in() -> MiniProgram:
    """Return the mini-program of somebody who never was here before."""
    user = MiniProgram(SERVICE, SANDBOX, openid=f"o{next(turns):027}")
    user.log_in()
    return user


def is_made_to_fit(case: AnyCase) -> bool:
    return case.meta is not None and case.meta.generation.mode.is_positive


@schemathesis.auth(refresh_interval=None)
class Credentials:
    """A session for each request that takes one, sent in each of the three ways, or the operators' token."""

    def __init__(self) -> None:
        self._users: list[MiniProgram] = []

    def get(self, case: AnyCase, context: AuthContext) -> MiniProgram:
        """Return who is to be logged in, and forget who may not be any more or has asked a lot."""
        self._users = self._users or [log_somebody_in()] * USES
        user = self._users.pop()
        if case.method == "DELETE":
            self._users.clear()
        return user

    def set(self, case: AnyCase, data: MiniProgram, context: AuthContext) -> None:
        case.headers.update(operators_token() if case.path.startswith("/admin/") else session_of(data))
        fill_in(case, data)


def operators_token() -> dict[str, str]:
    return {"Authorization": f"Bearer {HERE.admin_token}"}


def session_of(user: MiniProgram) -> dict[str, str]:
    pair = user.stored.partition(";")[0]
    ways = {"sessionid": user.stored}, {"Cookie": pair}, {"Authorization": f"Bearer {pair.partition('=')[2]}"}
    return ways[next(turns) % len(ways)]


@schemathesis.hook
def before_call(context: HookContext, case: AnyCase, kwargs: dict[str, object]) -> None:
    if case.path in {"/login", "/getOpenid"}:
        fill_in(case, MiniProgram(SERVICE, SANDBOX, openid=f"o{next(turns):027}"))


def fill_in(case: AnyCase, user: MiniProgram) -> None:
    """Put what works into every second request that fits."""
    if is_made_to_fit(case):
        for values in (case.query, case.body):
            if isinstance(values, dict) and "appid" in values and case.path != "/auth":
                values["appid"] = HERE.appid  # any other fits the description, and is refused
        made_to_fit[case.path] += 1
        if made_to_fit[case.path] % 2:
            FILL_IN.get(f"{case.method} {case.path}", leave)(case, user)


def leave(case: AnyCase, user: MiniProgram) -> None:
    """There is nothing that works better."""


def login(case: AnyCase, user: MiniProgram) -> None:
    case.body = {"code": SANDBOX.issue_code(openid=user.openid)}


def old_login(case: AnyCase, user: MiniProgram) -> None:
    code = SANDBOX.issue_code(openid=user.openid)
    url = f"https://api.weixin.qq.com/sns/jscode2session?appid={HERE.appid}&secret=no-more&js_code={code}"
    ways = {"url": url}, {"code": code}, {"js_code": code}
    case.query = ways[next(turns) % len(ways)]


def encrypted(case: AnyCase, user: MiniProgram) -> None:
    data = SANDBOX.user_data(openid=user.openid, kind=KINDS[next(turns) % len(KINDS)])
    case.body = {name: data[name] for name in ("encryptedData", "iv")}


def signed(case: AnyCase, user: MiniProgram) -> None:
    data = SANDBOX.user_data(openid=user.openid)
    case.body = {name: data[name] for name in ("rawData", "signature")}


def phone_code(case: AnyCase, user: MiniProgram) -> None:
    case.body = {"code": SANDBOX.phone_code(openid=user.openid)}


def our_app(case: AnyCase, user: MiniProgram) -> None:
    case.query = {"appid": [HERE.appid]}


def handle(case: AnyCase, user: MiniProgram) -> None:
    case.path_parameters["handle"] = user.get("/sessions").json["sessions"][0]["handle"]


def openid(case: AnyCase, user: MiniProgram) -> None:
    case.path_parameters["openid"] = user.openid
    if "handle" in case.path_parameters:
        handle(case, user)


FILL_IN: dict[str, Callable[[AnyCase, MiniProgram], None]] = {
    "POST /login": login,
    "GET /getOpenid": old_login,
    "POST /user-data/decrypt": encrypted,
    "POST /user-data/verify": signed,
    "POST /phone-number": phone_code,
    "GET /auth": our_app,
    "DELETE /sessions/{handle}": handle,
    "GET /admin/users/{openid}/sessions": openid,
    "DELETE /admin/users/{openid}/sessions": openid,
    "DELETE /admin/users/{openid}/sessions/{handle}": openid,
}


@schemathesis.check
def a_request_that_fits_is_not_called_invalid(ctx: CheckContext, response: Response, case: AnyCase) -> None:
    """Fail if the service refuses what it describes; a code that WeChat doesn't know is no such case.

    The description can't say that the old login takes one of three parameters.
    """
    if is_made_to_fit(case) and case.path != "/getOpenid" and response.status_code == 400:
        assert response.json()["error"]["code"] != "invalid_request"


@schemathesis.hook
def after_call(context: HookContext, case: AnyCase, response: Response) -> None:
    answered[f"{response.request.method} {case.path} {response.status_code}"] += 1


@atexit.register
def tell() -> None:
    Path(HERE.counts_path).write_text(json.dumps(answered))
