"""The network that the simulator's phone is in: it leads to the service, and to a back end behind nginx.

A browser hides `Set-Cookie` from scripts and lets none set `Cookie`, so the page can't ask the service itself.
What it wants to send goes through here, to the configured service and nowhere else: an address is a path there.
"""

import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

import requests
from urllib3.exceptions import HTTPError

from wxlogin.sandbox.json_text import compact_json
from wxlogin.sandbox.simulator.messages import Messages, readable

TIMEOUTS: Final = (2, 15)  # seconds, to connect and to read
MAX_BYTES: Final = 1_000_000

# What nginx lets through: https://…/metrics and the like are nobody's business outside.
ROUTES: Final = ("/login", "/getOpenid", "/session", "/sessions", "/phone-number")
FOLDERS: Final = ("/sessions/", "/user-data/", "/session-key/")
BACKEND_FOLDER: Final = "/api/"
PLAIN_PATH: Final = re.compile("[A-Za-z0-9/_-]+")  # no dots: they would lead out of a folder

CARRIERS: Final = frozenset({"sessionid", "cookie", "authorization"})
HOP_BY_HOP: Final = frozenset(
    {"connection", "content-length", "host", "keep-alive", "transfer-encoding", "upgrade"}
)
# What nginx answers by itself, in the service's shape.
DENIALS: Final[Mapping[int, tuple[str, str]]] = MappingProxyType(
    {
        401: ("not_logged_in", "Log in first: the request has no valid session."),
        403: ("wrong_app", "The user is logged in with another mini-program."),
        404: ("not_found", "There is nothing here."),
        503: ("service_unavailable", "Sessions can't be looked up at the moment; yours is not lost. Try again."),
    }
)


class NoAnswer(Exception):
    """Raised if the service can't be reached, or does not answer in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the mini-program sends; `path` has the query."""

    method: str
    path: str
    header: Mapping[str, str]
    body: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What comes back."""

    status: int
    headers: Sequence[tuple[str, str]] = ()
    body: str = field(default="", repr=False)


class Network:
    """Carry requests to the service at `service_url`, and tell `messages` of each step."""

    def __init__(self, service_url: str, messages: Messages, *, appid: str) -> None:
        self.service_url: Final = service_url.rstrip("/")
        self._messages = messages
        self._phone_headers = {
            "User-Agent": "Mozilla/5.0 (simulator) MicroMessenger/8.0.50 MiniProgramEnv/simulator",
            "Referer": f"https://servicewechat.com/{appid}/devtools/page-frame.html",
        }

    def carry(self, request: Request) -> Answer:
        """Return what the mini-program gets; raises `NoAnswer`."""
        party, answer_of = self._way_to(path_of(request))
        self._tell("miniprogram", party, request)
        try:
            answer = answer_of(request)
        except NoAnswer:
            self._messages.tell(party, "miniprogram", "no answer", kind="refusal")
            raise
        self._tell_answer(party, "miniprogram", answer)
        return answer

    def end_session(self, carriers: Mapping[str, str]) -> None:
        """End the session as an operator would, or its user elsewhere: the mini-program isn't told."""
        answer = self._ask(Request(method="DELETE", path="/session", header=carriers))
        if answer.status == 204:
            self._messages.tell("service", "service", "session ended elsewhere", kind="note")

    def _way_to(self, path: str) -> tuple[str, Callable[[Request], Answer]]:
        is_plain = PLAIN_PATH.fullmatch(path) is not None
        if is_plain and path.startswith(BACKEND_FOLDER):
            return "backend", self._ask_backend
        if is_plain and (path in ROUTES or path.startswith(FOLDERS)):
            return "service", self._ask
        return "backend", lambda _: denial(404)

    def _ask_backend(self, request: Request) -> Answer:
        """Do what nginx does for a back end that it protects: ask who it is, first."""
        carriers = {name: value for name, value in request.header.items() if name.lower() in CARRIERS}
        question = Request(method="GET", path="/auth", header=carriers)
        self._tell("backend", "service", question)
        verdict = self._ask(question)
        self._tell_answer("service", "backend", verdict)
        if verdict.status != 204:
            return denial(verdict.status if verdict.status in (401, 403) else 503)
        identity = {name: value for name, value in verdict.headers if name.upper().startswith("X-WX-")}
        return json_answer(200, {"greeting": f"Your back end knows you by {', '.join(sorted(identity))}."})

    def _ask(self, request: Request) -> Answer:
        try:
            with requests.Session() as session:
                session.trust_env = False  # no proxy stands between this machine and itself
                return self._exchange(session, request)
        except (requests.RequestException, HTTPError, OSError):  # the second while its body is read
            raise NoAnswer from None

    def _exchange(self, session: requests.Session, request: Request) -> Answer:
        header = {name: value for name, value in request.header.items() if name.lower() not in HOP_BY_HOP}
        response = session.request(
            request.method,
            self.service_url + request.path,
            headers=header | self._phone_headers | {"X-Request-Id": secrets.token_hex(8)},
            data=request.body.encode(),
            timeout=TIMEOUTS,
            allow_redirects=False,
            stream=True,
        )
        raw = response.raw  # with each Set-Cookie by itself
        headers = [(name, value) for name, value in raw.headers.items() if name.lower() not in HOP_BY_HOP]
        body = raw.read(MAX_BYTES, decode_content=True).decode("utf-8", "replace")
        return Answer(response.status_code, headers, body)

    def _tell(self, sender: str, receiver: str, request: Request) -> None:
        title = f"{request.method} {path_of(request)}"
        self._messages.tell(
            sender, receiver, title, {"header": dict(request.header), "body": readable(request.body)}
        )

    def _tell_answer(self, sender: str, receiver: str, answer: Answer) -> None:
        title = " ".join([str(answer.status), *summary_of(answer)])
        content = {"header": dict(answer.headers), "body": readable(answer.body)}
        self._messages.tell(sender, receiver, title, content, kind="refusal" if answer.status >= 400 else "answer")


def path_of(request: Request) -> str:
    return request.path.partition("?")[0]


def summary_of(answer: Answer) -> list[str]:
    """Return what an arrow says beside the status: the error's code, or what is handed over."""
    body = readable(answer.body)
    if isinstance(body, dict) and isinstance(body.get("error"), dict):
        return [str(body["error"].get("code"))]
    return [name for name, value in answer.headers if name.upper() in {"SET-COOKIE", "X-WX-OPENID"} and value]


def json_answer(status: int, body: Mapping[str, object]) -> Answer:
    return Answer(status, [("Content-Type", "application/json")], compact_json(body))


def denial(status: int) -> Answer:
    code, message = DENIALS[status]
    error = {"code": code, "message": message, "request_id": None, "retryable": status == 503}
    return json_answer(status, {"error": error})
