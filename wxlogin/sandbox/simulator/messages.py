"""What the diagram draws: each message between the mini-program, the servers and WeChat, as it happens.

The page runs in a browser, which is as far from the servers as a phone is. So a message that never reaches a phone
is told without the secrets in it, and names what must not go further.
"""

import functools
import json
import re
import threading
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import parse_qsl

from wxlogin.sandbox.journal import MASKED_PARAMETERS
from wxlogin.sandbox.json_text import parse_json

PARTIES: Final = ("miniprogram", "backend", "service", "redis", "wechat")
KINDS: Final = ("question", "answer", "refusal", "note")
MAX_KEPT: Final = 1_000

MAX_LEVELS: Final = 20

FORM: Final = re.compile(r"[^\s=&<>]+=[^\s=&<>]*(?:&[^\s=&<>]+=[^\s=&<>]*)*")

MASK: Final = "•••"
TOO_DEEP: Final = "…"
SECRETS: Final = MASKED_PARAMETERS | {"session_key", "encrypt_key"}
STAYS: Final = SECRETS | {"openid", "unionid", "x-wx-openid", "x-wx-unionid"}


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
    """The newest messages, for all pages that are open; safe to share between threads.

    `secrets` are masked wherever they are, also in what no field names: the app secrets.
    """

    def __init__(self, clock: Callable[[], float], *, secrets: Collection[str] = ()) -> None:
        self._clock = clock
        self._secrets = secrets
        self._kept: deque[Message] = deque(maxlen=MAX_KEPT)
        self._last = 0
        self._changed = threading.Condition()
        self.is_closed = False

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
        shown = shortened(said) if reaches_phone else self._masked(shortened(said))
        self.add(
            Message(
                at=self._clock(),
                sender=sender,
                receiver=receiver,
                title=title,
                content=shown,
                stays=() if reaches_phone else tuple(sorted(n for n in names_in(shown) if n.lower() in STAYS)),
                kind=kind,
            )
        )

    def _masked(self, value: Any) -> Any:
        """Return `value` without the secrets in it, wherever they are."""
        if isinstance(value, Mapping):
            return {name: MASK if name.lower() in SECRETS else self._masked(each) for name, each in value.items()}
        if isinstance(value, str):
            return functools.reduce(lambda text, secret: text.replace(secret, MASK), self._secrets, value)
        return [*map(self._masked, value)] if isinstance(value, list) else value

    def add(self, message: Message) -> None:
        with self._changed:
            self._last += 1
            self._kept.append(replace(message, number=self._last))
            self._changed.notify_all()

    @property
    def last(self) -> int:
        """The number of the newest message."""
        return self._last

    def close(self) -> None:
        """Wake up who waits, and let who comes wait no more."""
        with self._changed:
            self.is_closed = True
            self._changed.notify_all()

    def pause(self, seconds: float) -> None:
        """Wait, but not beyond the end."""
        with self._changed:
            self._changed.wait_for(lambda: self.is_closed, timeout=seconds)

    def after(self, number: int, *, seconds: float) -> Sequence[Message]:
        """Return the messages after that one, as soon as there are some; none if there are none in time."""
        with self._changed:
            self._changed.wait_for(lambda: self._last > number or self.is_closed, timeout=seconds)
            return [message for message in self._kept if message.number > number]


def readable(body: str) -> object:
    """Return what `body` says if it is JSON or a form, or else its text."""
    try:
        return parse_json(body.encode())
    except ValueError:
        return dict(parse_qsl(body, keep_blank_values=True)) if FORM.fullmatch(body) else body


def shortened(value: Any, *, levels: int = MAX_LEVELS) -> Any:
    """Return `value` without what is too deep in it."""
    if levels == 0:
        return TOO_DEEP
    if isinstance(value, Mapping):
        return {name: shortened(each, levels=levels - 1) for name, each in value.items()}
    return [shortened(each, levels=levels - 1) for each in value] if isinstance(value, list) else value


def names_in(value: object) -> set[str]:
    """Return the names of all fields in `value`."""
    if isinstance(value, Mapping):
        return set(value).union(*map(names_in, value.values()))
    return set().union(*map(names_in, value)) if isinstance(value, list) else set()
