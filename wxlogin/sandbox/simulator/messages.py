"""What the diagram draws: each message between the mini-program, the servers and WeChat, as it happens.

The page runs in a browser, which is as far from the servers as a phone is. So what it is told of messages that
don't reach a phone either lacks the secrets, and names what must not go further.
"""

import json
import threading
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from wxlogin.sandbox.json_text import parse_json

PARTIES: Final = ("miniprogram", "backend", "service", "redis", "wechat")
KINDS: Final = ("question", "answer", "refusal", "note")
MOST_KEPT: Final = 1_000

MOST_LEVELS: Final = 20

MASK: Final = "•••"
TOO_DEEP: Final = "…"
SECRETS: Final = frozenset({"secret", "session_key", "access_token"})
STAYS: Final = SECRETS | {"openid", "unionid", "openId", "unionId", "X-WX-OPENID", "X-WX-UNIONID"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One arrow, sent `at` that Unix second; `stays` names what in it never reaches a mini-program."""

    at: float
    sender: str
    receiver: str
    title: str
    content: Mapping[str, object]
    stays: tuple[str, ...] = ()
    kind: str = "question"
    number: int = 0

    def as_json(self) -> str:
        return json.dumps(
            {
                "number": self.number,
                "at": self.at,
                "from": self.sender,
                "to": self.receiver,
                "title": self.title,
                "content": self.content,
                "stays": self.stays,
                "kind": self.kind,
            }
        )


class Messages:
    """The newest messages, for all pages that are open; safe to share between threads."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._kept: deque[Message] = deque(maxlen=MOST_KEPT)
        self._last = 0
        self._changed = threading.Condition()

    def tell(
        self,
        sender: str,
        receiver: str,
        title: str,
        content: Mapping[str, object] | None = None,
        *,
        kind: str = "question",
    ) -> None:
        """Add a message that is sent now; what is empty of its content is left out."""
        said = {name: value for name, value in (content or {}).items() if value not in ("", {}, [])}
        reaches_phone = "miniprogram" in (sender, receiver)
        shown = shortened(said, without=frozenset() if reaches_phone else SECRETS)
        self.add(
            Message(
                at=self._clock(),
                sender=sender,
                receiver=receiver,
                title=title,
                content=shown,
                stays=() if reaches_phone else tuple(sorted(names_in(shown) & STAYS)),
                kind=kind,
            )
        )

    def add(self, message: Message) -> None:
        with self._changed:
            self._last += 1
            self._kept.append(replace(message, number=self._last))
            self._changed.notify_all()

    @property
    def last(self) -> int:
        """The number of the newest message."""
        return self._last

    def after(self, number: int, *, seconds: float) -> Sequence[Message]:
        """Return the messages after that one, as soon as there are some; none if there are none in time."""
        with self._changed:
            self._changed.wait_for(lambda: self._last > number, timeout=seconds)
            return [message for message in self._kept if message.number > number]


def readable(body: str) -> object:
    """Return what `body` says if it is JSON, or else its text."""
    try:
        return parse_json(body.encode())
    except ValueError:
        return body


def shortened(value: Any, *, without: Collection[str], levels: int = MOST_LEVELS) -> Any:
    """Return `value` without the secrets of those names, wherever they are, and without what is too deep in it."""
    if levels == 0:
        return TOO_DEEP
    within = partial(shortened, without=without, levels=levels - 1)
    if isinstance(value, Mapping):
        return {name: MASK if name in without else within(each) for name, each in value.items()}
    return [within(each) for each in value] if isinstance(value, list) else value


def names_in(value: object) -> set[str]:
    """Return the names of all fields in `value`."""
    if isinstance(value, Mapping):
        return set(value).union(*map(names_in, value.values()))
    return set().union(*map(names_in, value)) if isinstance(value, list) else set()
