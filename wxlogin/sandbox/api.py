"""What api.weixin.qq.com answers, and in WeChat's words where it refuses."""

import secrets
from dataclasses import dataclass

from flask import Request

from wxlogin.sandbox.endpoints import carry_out, endpoint_at
from wxlogin.sandbox.errcodes import ERRMSGS, INVALID_CODE, UNKNOWN_ERRMSG, ApiError
from wxlogin.sandbox.json_text import compact_json
from wxlogin.sandbox.state import Fault, SandboxState


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of WeChat's; `errcode` is 0 for a success, None if a fault gave none."""

    errcode: int | None
    text: str
    status: int = 200


def answer_call(state: SandboxState, request: Request, *, fault: Fault) -> Answer:
    """Return what the fault makes of the call, or else what WeChat would answer."""
    if fault.replaces_answer:
        return answer_of_fault(fault, now=state.clock())
    try:
        return Answer(0, compact_json(carry_out(state, request)))
    except ApiError as error:
        return Answer(error.errcode, error_text(request.path, error.errcode, now=state.clock()))


def answer_of_fault(fault: Fault, *, now: float) -> Answer:
    status = fault.status or 200
    if fault.errcode is None:
        return Answer(None, fault.body or "", status)
    return Answer(fault.errcode, error_text(fault.path, fault.errcode, now=now), status)


def error_text(path: str, errcode: int, *, now: float) -> str:
    """Return the JSON of an error."""
    errmsg = ERRMSGS.get(errcode, UNKNOWN_ERRMSG) + errmsg_tail(path, errcode, now=now)
    lists: dict[str, list[object]] = {name: [] for name in endpoint_at(path).lists}
    return compact_json({"errcode": errcode, "errmsg": errmsg, **lists})


def errmsg_tail(path: str, errcode: int, *, now: float) -> str:
    """Return what follows the words. Only under /sns is there a comma, and only elsewhere a hint."""
    if path.startswith("/sns/"):
        return f", rid: {new_rid(now)}"
    hint = f" hint: [{secrets.token_urlsafe(12)}]" if errcode == INVALID_CODE else ""
    return f"{hint} rid: {new_rid(now)}"


def new_rid(now: float) -> str:
    """Return the id WeChat gives a request: the unix seconds, then two random numbers, in hex."""
    return f"{int(now):08x}-{secrets.token_hex(4)}-{secrets.token_hex(4)}"
