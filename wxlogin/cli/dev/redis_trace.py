"""What the service asks Redis, told to the simulator of ``wxlogin dev``, which draws it; nothing in production.

What is told has no secret in it: keys, fields and other arguments never have one, and values are sealed.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import requests
from redis import RedisError

from wxlogin.storage.client import Client

Message = Mapping[str, object]
Emit = Callable[[Message], object]

_SCRIPTED = frozenset({"EVAL", "EVALSHA"})
_MAX_WAITING = 1_000
_MAX_AT_ONCE = 20  # which the sandbox's 64 KiB for a body have room for
_TIMEOUT_SECONDS = 2
_TITLE_LENGTH = 60
_BYTES = "<{} bytes>"
_CIPHER_OVERHEAD_BYTES = 28  # AES-GCM's nonce and tag: what is no longer is no record


def traced(client: Client, emit: Emit) -> Client:
    """Return ``client``, which from now on tells of each command, and of what came back."""
    make_pipeline = client.pipeline

    def traced_pipeline(*arguments: Any, **options: Any) -> Any:
        made: Any = make_pipeline(*arguments, **options)
        made.execute = _traced_pipeline_execute(made, emit)
        return made

    vars(client).update(execute_command=_traced_execute(client.execute_command, emit), pipeline=traced_pipeline)
    return client


class Reporter:
    """Send messages to the simulator on a thread of its own, as long as it takes them. Thread-safe.

    A simulator that is slow or gone costs the service nothing: what it can't take is not told.
    """

    def __init__(self, simulator_url: str) -> None:
        self._address = f"{simulator_url}/messages"
        self._waiting: queue.Queue[Message] = queue.Queue(_MAX_WAITING)
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def enqueue(self, message: Message) -> None:
        """Have it sent soon."""
        with self._starting:  # not before the worker has been forked: threads don't come along
            if self._thread is None:
                self._thread = threading.Thread(target=self._send_all, name="redis-trace", daemon=True)
                self._thread.start()
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait(message)

    def _send_all(self) -> None:
        with requests.Session() as session:
            session.trust_env = False
            while True:
                self._send(session, [self._waiting.get(), *self._more()])

    def _more(self) -> list[Message]:
        return [self._waiting.get() for _ in range(min(self._waiting.qsize(), _MAX_AT_ONCE))]

    def _send(self, session: requests.Session, messages: Sequence[Message]) -> None:
        try:
            session.post(self._address, json={"messages": messages}, timeout=_TIMEOUT_SECONDS).close()
        except requests.RequestException:
            return


def _traced_execute(execute: Callable[..., Any], emit: Emit) -> Callable[..., Any]:
    def execute_and_emit(*words: Any, **options: Any) -> Any:
        emit(_request_message(words))
        with _emit_errors(emit):
            answer = execute(*words, **options)
        emit(_response_message(answer))
        return answer

    return execute_and_emit


def _traced_pipeline_execute(pipeline: Any, emit: Emit) -> Callable[..., Any]:
    execute = pipeline.execute  # of one server: the service has no pipelines for a Cluster

    def execute_and_emit(*arguments: Any, **options: Any) -> Any:
        for words, _ in pipeline.command_stack:
            emit(_request_message(words))
        with _emit_errors(emit):
            answers = execute(*arguments, **options)
        for answer in answers:
            emit(_response_message(answer))
        return answers

    return execute_and_emit


@contextlib.contextmanager
def _emit_errors(emit: Emit) -> Iterator[None]:
    """Tell, too, that no answer came, or which error that was."""
    try:
        yield
    except RedisError as error:
        emit({**_message("redis", "service", type(error).__name__, {}, None), "kind": "refusal"})
        raise


def _request_message(words: Sequence[Any]) -> Message:
    name, *arguments = words
    content: dict[str, object] = {}
    if name in _SCRIPTED:
        script, count, *arguments = arguments
        content["script"] = str(script).strip()
        title = f"{name} {' '.join(map(_text, arguments[: int(count)]))}"
    else:
        title = " ".join([name, *map(_text, arguments[:1])])
    return _message("service", "redis", title, {"arguments": [*map(_text, arguments)], **content}, arguments)


def _response_message(answer: Any) -> Message:
    if isinstance(answer, Mapping):  # as Redis says it: names and values in turn
        answer = [each for pair in answer.items() for each in pair]
    shown = _shown(answer)
    words = [str(each) for each in (shown if isinstance(shown, list) else [shown]) if each != ""]
    title = "nothing" if answer in (None, []) else ", ".join(words)[:_TITLE_LENGTH]
    return _message("redis", "service", title, {"answer": shown}, answer)


def _message(sender: str, receiver: str, title: str, content: Mapping[str, object], said: object) -> Message:
    stays = ["sealed record"] if _has_ciphertext(said) else []
    return {
        "at": time.time(),
        "from": sender,
        "to": receiver,
        "title": title,
        "kind": "question" if sender == "service" else "answer",
        "content": content,
        "stays": stays,
    }


def _shown(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_shown(each) for each in value]
    return value if isinstance(value, int | float | None) else _text(value)


def _text(value: Any) -> str:
    """Return a word of a command as people read it; of what is sealed, only its length tells anything."""
    if isinstance(value, bytes):
        text = value.decode("ascii", "replace")
        return text if text.isprintable() and text.isascii() else _BYTES.format(len(value))
    return str(value)


def _has_ciphertext(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(map(_has_ciphertext, value))
    return (
        isinstance(value, bytes)
        and len(value) > _CIPHER_OVERHEAD_BYTES
        and _text(value) == _BYTES.format(len(value))
    )
