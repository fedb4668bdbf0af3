"""What api.weixin.qq.com answers, and in WeChat's words where it refuses."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from flask import Request

from wxlogin.sandbox.endpoints.calls import caller_if_known, user_of
from wxlogin.sandbox.endpoints.table import carry_out, endpoint_at
from wxlogin.sandbox.errcodes import ERRMSGS, INVALID_CODE, NOT_IN_WHITELIST, UNKNOWN_ERRMSG, ApiError
from wxlogin.sandbox.faults import Fault
from wxlogin.sandbox.journal import Failure, masked
from wxlogin.sandbox.json_text import compact_json, parse_json
from wxlogin.sandbox.state import SandboxState

SNS = "/sns/"


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of WeChat's; `errcode` is 0 for a success, None if a fault gave none, with a `secret` in it."""

    errcode: int | None
    text: str
    content_type: str
    status: int = 200
    secret: str = field(default="", repr=False)


def answer_call(state: SandboxState, request: Request, *, fault: Fault) -> Answer:
    """Return what the fault makes of the call, or else what WeChat would answer."""
    answer = answer_of_fault(state, request, fault) if fault.replaces_answer else normal_answer(state, request)
    if fault.changes:
        answer = replace(answer, text=changed(request.path, answer.text, fault.changes))
    return replace(answer, content_type=fault.content_type or answer.content_type)


def normal_answer(state: SandboxState, request: Request) -> Answer:
    user, appid = user_of(state, request), caller_if_known(state, request)
    try:
        state.limits.count(request.path, appid=appid, openid=user.openid if user else "", now=state.clock())
        text = json_text(request.path, carry_out(state, request))
        return Answer(0, text, endpoint_at(request.path).content_type)
    except ApiError as error:
        return refusal(state, request, error.errcode)


def answer_of_fault(state: SandboxState, request: Request, fault: Fault) -> Answer:
    if fault.errcode is not None:
        return replace(refusal(state, request, fault.errcode), status=fault.status or 200)
    text, secret = fault.body or "", ""
    if user := user_of(state, request):
        secret = user.session_key
        text = text.replace("OPENID", user.openid).replace("SESSION_KEY", secret)
    return Answer(None, text, endpoint_at(request.path).content_type, fault.status or 200, secret)


def refusal(state: SandboxState, request: Request, errcode: int) -> Answer:
    """Return an error, which WeChat remembers by its rid."""
    now, path = state.clock(), request.path
    rid = new_rid(now)
    errmsg = ERRMSGS.get(errcode, UNKNOWN_ERRMSG) + errmsg_tail(path, errcode, rid)
    lists: dict[str, list[object]] = {name: [] for name in endpoint_at(path).lists}
    text = json_text(path, {"errcode": errcode, "errmsg": errmsg, **lists})
    query = masked(request.args.to_dict(flat=False))
    appid = caller_if_known(state, request)
    state.journal.note_failure(rid, Failure(path=path, appid=appid, query=query, answer=text, at=now))
    return Answer(errcode, text, endpoint_at(path).content_type)


def errmsg_tail(path: str, errcode: int, rid: str) -> str:
    """Return what follows the words. A comma is only under /sns (with one exception), a hint only elsewhere."""
    if path.startswith(SNS) and errcode != NOT_IN_WHITELIST:
        return f", rid: {rid}"
    hint = f" hint: [{secrets.token_urlsafe(12)}]" if errcode == INVALID_CODE else ""
    return f"{hint} rid: {rid}"


def json_text(path: str, fields: object) -> str:
    """Return the JSON of an answer; under /sns, WeChat writes a slash as an escape."""
    text = compact_json(fields)
    return text.replace("/", r"\/") if path.startswith(SNS) else text


def changed(path: str, text: str, changes: Mapping[str, object]) -> str:
    """Return an answer with other values in its fields; what is no JSON object stays as it is."""
    try:
        fields = parse_json(text.encode())
    except ValueError:
        return text
    return json_text(path, in_order({**fields, **changes})) if isinstance(fields, dict) else text


def in_order(fields: Mapping[str, object]) -> Mapping[str, object]:
    """Return a login's fields in the order in which WeChat has them: some apps' answers have an `expires_in`."""
    first = {name: fields[name] for name in ("session_key", "expires_in") if name in fields}
    return {**first, **fields} if "session_key" in first else fields


def new_rid(now: float) -> str:
    """Return the id WeChat gives a request: the unix seconds, then two random numbers, in hex."""
    return f"{int(now):08x}-{secrets.token_hex(4)}-{secrets.token_hex(4)}"
