"""The imitation as an HTTP server: WeChat's side at every path but the control plane's and the simulator's."""

import socket
import struct
import time
from collections.abc import Callable
from typing import Final

from flask import Flask, Response, request
from flask.json.provider import DefaultJSONProvider
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from wxlogin.sandbox.api import Answer, answer_call
from wxlogin.sandbox.control import add_control_plane, is_control_path
from wxlogin.sandbox.endpoints import endpoint_at
from wxlogin.sandbox.simulator.messages import Messages, readable
from wxlogin.sandbox.simulator.network import Network
from wxlogin.sandbox.simulator.routes import PREFIX as SIMULATOR
from wxlogin.sandbox.simulator.routes import Simulator, add_simulator, is_simulator_path
from wxlogin.sandbox.state import SandboxState
from wxlogin.sandbox.visitors import refuse_other_sites, refuse_rebound_names

MAX_BODY_BYTES: Final = 64 * 1024
LINGER_ZERO: Final = struct.pack("ii", 1, 0)


class CompactJSONProvider(DefaultJSONProvider):
    """Write JSON on one line, in the order given: people read the code off it with `cut`."""

    compact = True
    sort_keys = False


SERVICE_URL: Final = "http://127.0.0.1:8000"


def create_sandbox(
    state: SandboxState,
    *,
    service_url: str = SERVICE_URL,
    sees_redis: bool = False,
    sleep: Callable[[float], object] = time.sleep,
) -> Flask:
    """Return the imitation of WeChat that knows `state`; `sleep` is how a fault delays a call.

    The simulator's page uses the service at `service_url`; `sees_redis` if that tells what it asks Redis.
    """
    app = Flask("wxlogin.sandbox", static_folder=None)
    app.json = CompactJSONProvider(app)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES + 1
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.url_map.merge_slashes = False
    messages = Messages(state.clock, secrets=[*state.apps.values()])
    network = Network(service_url, messages, appid=next(iter(state.apps)))
    add_control_plane(app, state)
    add_simulator(app, Simulator(state, messages, network, sees_redis=sees_redis))

    @app.before_request
    def answer_as_wechat() -> Response | None:
        # In front of the router: WeChat has an answer to every path and method.
        bound_body()
        if not (is_control_path(request.path) or is_simulator_path(request.path)):
            return serve_call(state, messages, sleep=sleep)
        refuse_strangers()
        return None

    return app


def refuse_strangers() -> None:
    refuse_other_sites(request, page=SIMULATOR)
    if is_simulator_path(request.path):  # through which one reaches the service, and sees all that is said
        refuse_rebound_names(request)


def bound_body() -> None:
    """Read the body, or refuse it if it is longer than `MAX_BODY_BYTES`.

    Flask's own bound, one byte higher, refuses by Content-Length; a chunked body it cuts off without a word.
    """
    if len(request.get_data()) > MAX_BODY_BYTES:
        raise RequestEntityTooLarge


def serve_call(state: SandboxState, messages: Messages, *, sleep: Callable[[float], object]) -> Response:
    tell_call(messages)
    number = state.note_call(request.path, request.args.to_dict(flat=False))
    fault = state.take_fault(request.path)
    if fault.delay_seconds:
        sleep(fault.delay_seconds)
    answer = answer_call(state, request, fault=fault)
    state.note_errcode(number, answer.errcode)
    tell_answer(messages, answer, is_lost=fault.reset)
    if fault.reset:
        return lost_response(request.environ.get("werkzeug.socket"))
    return Response(answer.text, answer.status, content_type=endpoint_at(request.path).content_type)


def tell_call(messages: Messages) -> None:
    query, body = request.args.to_dict(), request.get_data(as_text=True)
    messages.tell(
        "service", "wechat", f"{request.method} {request.path}", {"query": query, "body": readable(body)}
    )


def tell_answer(messages: Messages, answer: Answer, *, is_lost: bool) -> None:
    title = "the answer is lost" if is_lost else errcode_of(answer)
    kind = "refusal" if is_lost or answer.errcode != 0 else "answer"
    messages.tell("wechat", "service", title, {"body": readable(answer.text)}, kind=kind)


def errcode_of(answer: Answer) -> str:
    if answer.errcode is None:
        return f"HTTP {answer.status}"
    return f"errcode {answer.errcode}" if answer.errcode else "ok"


def lost_response(connection: socket.socket | None) -> Response:
    """Return a response that drops the connection as soon as the server asks for its first bytes."""
    return Response(map(drop, [connection]))


def drop(connection: socket.socket | None) -> bytes:
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
    raise ConnectionResetError("dropped by a fault")


class SilentRequestHandler(WSGIRequestHandler):
    """Handle requests without a word: their lines carry secrets and codes."""

    def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002 (Werkzeug's name)
        pass

    def connection_dropped(self, error: BaseException, environ: object = None) -> None:
        """Close at once: the server's own way begins with a FIN, which is an end, not a reset."""
        self.close_connection = True
        self.connection.close()


def make_sandbox_server(app: Flask, *, host: str, port: int) -> BaseWSGIServer:
    """Return a threaded server for `app` that is bound but not yet serving; port 0 picks a free one."""
    return make_server(host, port, app, threaded=True, request_handler=SilentRequestHandler)
