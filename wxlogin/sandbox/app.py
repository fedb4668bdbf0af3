"""The imitation as a WSGI application: WeChat's side at every path but the control plane's and the simulator's."""

from collections.abc import Callable
from typing import Final

from flask import Flask, Response, request
from flask.json.provider import DefaultJSONProvider
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge

from wxlogin.sandbox.api import Answer, answer_call
from wxlogin.sandbox.connections import reset
from wxlogin.sandbox.control import PREFIX, add_control_plane, is_control_path
from wxlogin.sandbox.simulator.messages import MASK, Messages, readable
from wxlogin.sandbox.simulator.network import Network
from wxlogin.sandbox.simulator.routes import PREFIX as SIMULATOR
from wxlogin.sandbox.simulator.routes import Simulator, add_simulator, is_simulator_path
from wxlogin.sandbox.state import SandboxState
from wxlogin.sandbox.visitors import refuse_other_sites, refuse_rebound_names

MAX_BODY_BYTES: Final = 64 * 1024
MESSAGES: Final = "wxlogin.sandbox.messages"


class CompactJSONProvider(DefaultJSONProvider):
    """Write JSON on one line, in the order given: people read the code off it with `cut`."""

    compact = True
    sort_keys = False


SERVICE_URL: Final = "http://127.0.0.1:8000"
ABOUT: Final = f"""\
This imitates WeChat's API, api.weixin.qq.com, for programs that are being developed.

POST {PREFIX}/codes      a code, as wx.login() would give one
POST {PREFIX}/faults     what the next calls get
GET  {PREFIX}/calls      the calls that came in
GET  {SIMULATOR}           a phone with a mini-program, for a browser
docs/sandbox.md in wxlogin has the rest.

The mini-programs it knows: {{}}
"""


def create_sandbox(
    state: SandboxState,
    *,
    service_url: str = SERVICE_URL,
    sees_redis: bool = False,
    sleep: Callable[[float], object] | None = None,
) -> Flask:
    """Return the imitation of WeChat that knows `state`; `sleep` is how a fault delays a call, or it takes time.

    The simulator's page uses the service at `service_url`; `sees_redis` if that tells what it asks Redis.
    """
    app = Flask("wxlogin.sandbox", static_folder=None)
    app.json = CompactJSONProvider(app)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES + 1
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.url_map.merge_slashes = False
    messages = Messages(state.clock, secrets=[*state.apps.values()])
    app.extensions[MESSAGES] = messages
    network = Network(service_url, messages, appid=next(iter(state.apps)))
    add_control_plane(app, state)
    add_simulator(app, Simulator(state, messages, network, sees_redis=sees_redis))

    @app.before_request
    def answer_as_wechat() -> Response | None:
        # In front of the router: WeChat has an answer to every path and method.
        bound_body()
        if request.path == "/" and request.method == "GET":
            return Response(ABOUT.format(", ".join(state.apps)), mimetype="text/plain")
        if not (is_control_path(request.path) or is_simulator_path(request.path)):
            return serve_call(state, messages, sleep=sleep or messages.pause)
        refuse_strangers()
        refuse_query()
        return None

    return app


def refuse_strangers() -> None:
    refuse_other_sites(request, page=SIMULATOR)
    refuse_rebound_names(request)


def refuse_query() -> None:
    """Raise `BadRequest` if fields are in the query, which no request of the control plane reads."""
    if is_control_path(request.path) and request.query_string:
        raise BadRequest("fields go into the JSON body, and not into the query")


def bound_body() -> None:
    """Read the body, or refuse it if it is longer than `MAX_BODY_BYTES`.

    Flask's own bound, one byte higher, refuses by Content-Length; a chunked body it cuts off without a word.
    """
    if len(request.get_data()) > MAX_BODY_BYTES:
        raise RequestEntityTooLarge


def serve_call(state: SandboxState, messages: Messages, *, sleep: Callable[[float], object]) -> Response:
    tell_call(messages)
    journal = state.journal
    number = journal.note_call(request.path, request.args.to_dict(flat=False), now=state.clock())
    fault = state.faults.take(request.path)
    if fault.delay_seconds:
        sleep(fault.delay_seconds)
    answer = answer_call(state, request, fault=fault)
    journal.note_errcode(number, answer.errcode)
    tell_answer(messages, answer, is_lost=fault.reset)
    if fault.reset:
        return Response(reset(request.environ))
    return Response(answer.text, answer.status, content_type=answer.content_type)


def tell_call(messages: Messages) -> None:
    query, body = request.args.to_dict(), request.get_data(as_text=True)
    messages.tell(
        "service", "wechat", f"{request.method} {request.path}", {"query": query, "body": readable(body)}
    )


def tell_answer(messages: Messages, answer: Answer, *, is_lost: bool) -> None:
    title = "the answer is lost" if is_lost else errcode_of(answer)
    kind = "refusal" if is_lost or answer.errcode != 0 else "answer"
    text = answer.text.replace(answer.secret, MASK) if answer.secret else answer.text
    messages.tell("wechat", "service", title, {"body": readable(text)}, kind=kind)


def errcode_of(answer: Answer) -> str:
    if answer.errcode is None:
        return f"HTTP {answer.status}"
    return f"errcode {answer.errcode}" if answer.errcode else "ok"
