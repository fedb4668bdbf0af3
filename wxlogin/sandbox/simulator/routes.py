"""The simulator under /simulator: the page's files, and what the page does through the sandbox.

* `GET` of the prefix, and below it the page's parts; `wxlogin.js` is the client that mini-programs use.
* `GET /configuration` -> `{"service", "last", "now", "sees_redis"}`: which service, and how far the messages are.
* `GET /messages`: server-sent events, one for each message after `?after=` or `Last-Event-ID`. `POST` adds some
  that the sandbox can't see: `wxlogin dev` has the service tell what it asks Redis.
* `POST /request` `{method, url, header, body}` -> `{"statusCode", "headers", "body"}`: carries it to the service.
* `POST /wx/<name>` `{openid?, appid?}`: what WeChat does on a phone, `login`, `checkSession`, `getUserInfo` or
  `getPhoneNumber`.
* `POST /end-session` `{header}`: ends the session that the header has, behind the mini-program's back.
"""

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import resources
from typing import Any, Final

from flask import Flask, Response, redirect, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import BadGateway, BadRequest, NotFound

from wxlogin.sandbox.errcodes import ApiError
from wxlogin.sandbox.fields import TEXT, WECHAT_ID, Field, read_fields
from wxlogin.sandbox.simulator.messages import KINDS, PARTIES, Message, Messages
from wxlogin.sandbox.simulator.network import Network, NoAnswer, Request
from wxlogin.sandbox.state import SandboxState
from wxlogin.sandbox.user_data import make_user_data

PREFIX: Final = "/simulator"
FILES: Final = resources.files(__package__)
PAGE: Final = "page.html"
CLIENT: Final = "wxlogin.js"
MEDIA_TYPES: Final[Mapping[str, str]] = {
    PAGE: "text/html",
    "page.css": "text/css",
    CLIENT: "text/javascript",
    **dict.fromkeys(("page.mjs", "phone.mjs", "diagram.mjs", "words.mjs", "wx.mjs"), "text/javascript"),
}
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEARTBEAT_SECONDS: Final = 15
METHODS: Final = ("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS")


@dataclass(frozen=True, slots=True)
class Simulator:
    """What the routes work with; `sees_redis` says whether the service tells what it asks Redis."""

    state: SandboxState
    messages: Messages
    network: Network
    sees_redis: bool


def add_simulator(app: Flask, simulator: Simulator) -> None:
    """Serve the page, and what it asks for."""
    for method, path, view in ROUTES:
        app.add_url_rule(PREFIX + path, f"simulator.{view.__name__}", partial(view, simulator), methods=[method])


def is_simulator_path(path: str) -> bool:
    return path == PREFIX or path.startswith(f"{PREFIX}/")


def show(_simulator: Simulator) -> ResponseReturnValue:
    return file(PAGE)


def show_without_slash(_simulator: Simulator) -> ResponseReturnValue:
    return redirect(PREFIX)


def show_part(_simulator: Simulator, name: str) -> ResponseReturnValue:
    if name not in MEDIA_TYPES:
        raise NotFound
    return file(name)


def file(name: str) -> Response:
    text = (FILES / name).read_text(encoding="utf-8")
    response = Response(as_module(text) if name == CLIENT else text, mimetype=MEDIA_TYPES[name])
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["Cache-Control"] = "no-store"
    return response


def as_module(text: str) -> str:
    """Wrap a CommonJS module for a browser, as https://nodejs.org/api/modules.html#the-module-wrapper does."""
    head, tail = (
        "const module = { exports: {} }; (function (module) {",
        "})(module); export default module.exports;",
    )
    return f"{head}{text}\n{tail}\n"


def configuration(simulator: Simulator) -> ResponseReturnValue:
    return {
        "service": simulator.network.service_url,
        "last": simulator.messages.last,
        "now": simulator.state.clock(),
        "sees_redis": simulator.sees_redis,
    }


def stream(simulator: Simulator) -> ResponseReturnValue:
    seen = request.headers.get("Last-Event-ID") or request.args.get("after", "")
    last = simulator.messages.last
    # More than the last: of a sandbox that ran before.
    number = min(int(seen), last) if NUMBER.fullmatch(seen) else last
    return Response(
        events(simulator.messages, number), mimetype="text/event-stream", headers={"Cache-Control": "no-store"}
    )


def events(messages: Messages, number: int) -> Iterator[str]:
    """Yield the messages after that number; a browser that is gone is noticed at the next one, or a heartbeat."""
    yield ": the diagram\n\n"
    while not messages.is_closed:
        new = messages.after(number, seconds=HEARTBEAT_SECONDS)
        yield "".join(f"id: {each.number}\ndata: {each.as_json()}\n\n" for each in new) or ": still here\n\n"
        number = new[-1].number if new else number


def add_messages(simulator: Simulator) -> ResponseReturnValue:
    for each in read_fields(MESSAGES_FIELDS, required=("messages",))["messages"]:
        simulator.messages.add(
            Message(
                at=each["at"],
                sender=each["from"],
                receiver=each["to"],
                title=each["title"],
                kind=each["kind"],
                content=each["content"],
                stays=tuple(each["stays"]),
            )
        )
    return "", 204


def carry(simulator: Simulator) -> ResponseReturnValue:
    given = read_fields(REQUEST_FIELDS, required=("method", "url"))
    path = own_path(given["url"], simulator.network.service_url)
    sent = Request(method=given["method"], path=path, header=given.get("header", {}), body=given.get("body", ""))
    with unreachable_told(simulator):
        answer = simulator.network.carry(sent)
    return {"statusCode": answer.status, "headers": answer.headers, "body": answer.body}


def own_path(url: str, service_url: str) -> str:
    """Return path and query of an address at the service; another address is refused."""
    path = url.removeprefix(service_url)
    if path == url or not path.startswith("/"):
        raise BadRequest(f"url has to be an address at {service_url}")
    return path.partition("#")[0]


def end_session(simulator: Simulator) -> ResponseReturnValue:
    header = read_fields({"header": HEADER}, required=("header",))["header"]
    with unreachable_told(simulator):
        simulator.network.end_session(header)
    return "", 204


@contextlib.contextmanager
def unreachable_told(simulator: Simulator) -> Iterator[None]:
    try:
        yield
    except NoAnswer:
        raise BadGateway(f"no answer from {simulator.network.service_url}: is the service running?") from None


def call_wx(simulator: Simulator, name: str) -> ResponseReturnValue:
    """Do what WeChat does on a phone; the openid is the phone's own affair, and the mini-program's never."""
    if name not in WX_FUNCTIONS:
        raise NotFound
    title, work = WX_FUNCTIONS[name]
    fields = read_fields(WHO_FIELDS)
    simulator.messages.tell("miniprogram", "wechat", title)
    try:
        result = work(simulator.state, fields.get("appid"), fields.get("openid"))
    except ApiError:
        simulator.messages.tell("wechat", "miniprogram", "fail", kind="refusal")
        raise
    shown = {each: value for each, value in result.items() if each != "openid"}
    simulator.messages.tell("wechat", "miniprogram", ", ".join(shown) or "ok", shown, kind="answer")
    return result


def log_in(state: SandboxState, appid: str | None, openid: str | None) -> dict[str, str]:
    issued = state.issue_code(appid=appid, openid=openid)
    return {"code": issued.code, "openid": issued.openid}


def check_session(state: SandboxState, appid: str | None, openid: str | None) -> dict[str, str]:
    state.find_user(appid=appid, openid=openid or "")
    return {}


def get_user_info(state: SandboxState, appid: str | None, openid: str | None) -> dict[str, str]:
    user = state.find_user(appid=appid, openid=openid or "")
    return make_user_data(user, "user_info", changes={}, now=state.clock())


def get_phone_number(state: SandboxState, appid: str | None, openid: str | None) -> dict[str, str]:
    return {"code": state.issue_phone_code(appid=appid, openid=openid).code}


def is_header(value: object) -> bool:
    return isinstance(value, dict) and all(
        isinstance(each, str) and HEADER_NAME.fullmatch(name) and HEADER_VALUE.fullmatch(each)
        for name, each in value.items()
    )


def is_message(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and set(value) == MESSAGE_PARTS
        and isinstance(value["at"], int | float)
        and 0 <= value["at"] < LATEST
        and isinstance(value["title"], str)
        and isinstance(value["content"], dict)
        and all(value[each] in PARTIES for each in ("from", "to"))
        and value["kind"] in KINDS
        and isinstance(value["stays"], list)
        and all(isinstance(each, str) for each in value["stays"])
    )


NUMBER: Final = re.compile("[0-9]{1,15}")
LATEST: Final = 2**40  # Unix seconds
HEADER_NAME: Final = re.compile("[A-Za-z0-9-]{1,64}")
HEADER_VALUE: Final = re.compile("[!-~](?:[ -~]*[!-~])?|")
MESSAGE_PARTS: Final = frozenset({"at", "from", "to", "title", "kind", "content", "stays"})
WX_FUNCTIONS: Final[Mapping[str, tuple[str, Callable[[SandboxState, str | None, str | None], dict[str, str]]]]] = {
    "login": ("wx.login()", log_in),
    "checkSession": ("wx.checkSession()", check_session),
    "getUserInfo": ("wx.getUserInfo()", get_user_info),
    "getPhoneNumber": ("button getPhoneNumber", get_phone_number),
}
WHO_FIELDS: Final[Mapping[str, Field]] = {"openid": WECHAT_ID, "appid": TEXT}
HEADER: Final = Field(is_header, "an object of header lines in printable ASCII")
REQUEST_FIELDS: Final[Mapping[str, Field]] = {
    "method": Field(lambda value: value in METHODS, f"one of {', '.join(METHODS)}"),
    "url": TEXT,
    "header": HEADER,
    "body": TEXT,
}
MESSAGES_FIELDS: Final[Mapping[str, Field]] = {
    "messages": Field(lambda value: isinstance(value, list) and all(map(is_message, value)), "a list of messages"),
}
ROUTES: Final = (
    ("GET", "", show),
    ("GET", "/", show_without_slash),
    ("GET", "/<name>", show_part),
    ("GET", "/configuration", configuration),
    ("GET", "/messages", stream),
    ("POST", "/messages", add_messages),
    ("POST", "/request", carry),
    ("POST", "/end-session", end_session),
    ("POST", "/wx/<name>", call_wx),
)
