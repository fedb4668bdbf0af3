"""One code, one exchange: who sends a code first asks WeChat, and whoever sends it again gets the same outcome.

A code works once, and a mini-program sends it twice all the same: a double tap, a retry of a proxy, a retry after
the answer was lost. In Redis there is one string for each code of the last seconds, ``wxlogin:code:<hash of the
code>``: a letter for how things stand, then the owner's id or the outcome. The outcome is sealed for the code as
its place, so that it opens only with the code, and with our keys.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import math
import random
import secrets
import time
from base64 import urlsafe_b64encode
from types import TracebackType
from typing import Any, Self

import msgspec

from wxlogin.resilience.deadline import Deadline
from wxlogin.storage.client import Client
from wxlogin.storage.encryption import DecryptionError, RecordCipher
from wxlogin.storage.gateway import SPREAD_KEYS, RedisGateway, Script, StoreUnavailable
from wxlogin.storage.scripts import load_script
from wxlogin.wechat.api.errors import (
    CallRejected,
    CodeUsed,
    ConnectionFailed,
    InvalidCode,
    InvalidResponse,
    ResponseLost,
    UserBlocked,
    WeChatAPIError,
    WeChatError,
    api_error,
)

_CLAIMED, _REPLAYABLE, _TRANSIENT = b"c", b"l", b"f"
_ASSOCIATED_DATA = b"outcome"
_TRANSIENT_SECONDS = 2  # longer than those who wait take to look

_END_OF_TIME_MS = 2**52

_POLL_SECONDS = 0.02
_MAX_POLL_SECONDS = 0.1

# Whoever sends the code again gets these too: they are the code's, and asking again would change nothing.
_FINAL = (InvalidCode, CodeUsed, UserBlocked)
# As they stand in Redis, where processes of another version read them: an unknown one is a lost answer.
_LOST = "NoAnswer"
_FAILURES: dict[str, type[WeChatError]] = {
    "NotReached": ConnectionFailed,
    "TurnedAway": CallRejected,
    _LOST: ResponseLost,
    "UnusableAnswer": InvalidResponse,
}
_FAILURE_NAMES = {kind: name for name, kind in _FAILURES.items()}

_CLAIM, _STORE_OUTCOME = (load_script("wxlogin.login", name) for name in ("claim_code", "store_outcome"))


class _ExchangeResult(msgspec.Struct, array_like=True, frozen=True):
    """What became of a code: a session, WeChat's refusal, or another failure."""

    session_id: str = ""
    errcode: int = 0
    rid: str | None = None
    failure: str = ""

    def unwrap(self) -> str:
        """Return the session's id, or raise what the owner met."""
        if self.errcode:
            raise api_error(self.errcode, self.rid)
        if self.failure:
            raise _FAILURES.get(self.failure, ResponseLost)("told by the request that asked WeChat")
        return self.session_id


def _result_of(error: BaseException) -> _ExchangeResult:
    if isinstance(error, WeChatAPIError):
        return _ExchangeResult(errcode=error.errcode, rid=error.rid)
    names = (_FAILURE_NAMES[kind] for kind in type(error).__mro__ if kind in _FAILURE_NAMES)
    return _ExchangeResult(failure=next(names, _LOST))


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_ExchangeResult).decode


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CodeExchangeStore:
    """What becomes of the codes of the last seconds, for all processes. Thread-safe.

    The outcome of an exchange is told for ``replay_seconds`` to whoever sends the same code; with 0 only to those
    who wait for it already. Who claimed a code and died holds it for ``lease_seconds``.
    """

    redis: RedisGateway
    cipher: RecordCipher
    replay_seconds: int
    lease_seconds: float
    clock: RedisClock
    is_cluster: bool = False

    def claim(self, code: str, *, appid: str) -> CodeClaim:
        """Claim ``code``, or find what it has come to; one round trip. Raises `StoreUnavailable`.

        In a Cluster a code that belongs to a server which is lost is claimed at another.
        """
        key = key_of(code, appid=appid)
        elsewhere = [f"{key}:{{{spread}}}" for spread in SPREAD_KEYS] if self.is_cluster else []
        *first, last = [key, *elsewhere]
        for each in first:
            with contextlib.suppress(StoreUnavailable):
                return self._claim(code, each, retry_safe=False)  # there is little time for each
        return self._claim(code, last, retry_safe=True)

    def _claim(self, code: str, key: str, *, retry_safe: bool) -> CodeClaim:
        claim = CodeClaim(self, code, key)
        claim.acquire(retry_safe=retry_safe)
        return claim


class RedisClock:
    """Redis's clock, as its last answer told it: for seeing how late a script runs, whatever our clocks say."""

    def __init__(self) -> None:
        self._ahead_ms = math.inf

    def now_ms(self) -> int:
        """Return the time, in Unix milliseconds, or the end of time as long as it is not known."""
        return int(min(self._ahead_ms + time.monotonic() * 1000, _END_OF_TIME_MS))

    def set(self, now_ms: int) -> None:
        """Take the time that Redis has just told."""
        self._ahead_ms = now_ms - time.monotonic() * 1000


class CodeClaim:
    """What becomes of one code, as one request sees it: ours to find out, or to wait for.

    As a context it lasts as long as our exchange does, and tells the others if that fails.
    """

    def __init__(self, store: CodeExchangeStore, code: str, key: str) -> None:
        self.code = code
        self._store = store
        self._key = key
        self._context = f"{self._key} {code}".encode()
        self._claim = _CLAIMED + secrets.token_bytes(12)
        self._seen = b""

    @property
    def is_ours(self) -> bool:
        """Say whether nobody else has the code: then it is for us to ask WeChat."""
        return self._seen == self._claim

    def acquire(self, *, retry_safe: bool = True) -> None:
        """Look how things stand, and claim the code if nobody has it; raises `StoreUnavailable`.

        Done twice because the first answer was lost, it finds our own claim.
        """
        claims = functools.partial(self._acquire_in_time, retry_safe=retry_safe)
        if not claims() and not claims():  # Redis may have another clock by now
            raise StoreUnavailable("the claim came late")

    def _acquire_in_time(self, *, retry_safe: bool) -> bool:
        clock, lease_ms = self._store.clock, _milliseconds(self._store.lease_seconds)
        arguments = (self._claim, lease_ms, clock.now_ms())
        found, now_ms = self._eval(_CLAIM, self._key, *arguments, retry_safe=retry_safe)
        clock.set(now_ms)
        self._seen = found or b""
        return found is not None

    @property
    def is_done(self) -> bool:
        """Say whether it is known what became of the code."""
        return not self._seen.startswith(_CLAIMED)

    def wait(self, deadline: Deadline) -> None:
        """Return when another request's exchange is done; raises `ResponseLost` if that is not so in time.

        Raises `StoreUnavailable`.
        """
        started_at = time.monotonic()
        while not self.is_done:
            waited = time.monotonic() - started_at
            if not deadline.remaining():
                raise ResponseLost("the request that asked WeChat has not told what it got")
            time.sleep(min(_POLL_SECONDS + waited / 4, _MAX_POLL_SECONDS) * random.uniform(0.8, 1.2))  # noqa: S311
            self._seen = self._store.redis.call(self._read, key=self._key, retry_safe=True) or b""

    def session_id(self) -> str:
        """Return the id of the session that the other request got, or raise the `WeChatError` that it met."""
        return self._result().unwrap()

    def outcome_script(self, session_id: str) -> Script:
        """Return the script that tells the others that the code led to this session."""
        return self._outcome_script(_ExchangeResult(session_id=session_id), is_final=True)

    def __enter__(self) -> Self:
        """Begin the exchange."""
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: TracebackType | None) -> None:
        """Tell the others what went wrong, if they can be told."""
        if error:
            script, _, key, *arguments = self._outcome_script(
                _result_of(error), is_final=isinstance(error, _FINAL)
            )
            with contextlib.suppress(StoreUnavailable):
                self._eval(script, key, *arguments)

    def _outcome_script(self, outcome: _ExchangeResult, *, is_final: bool) -> Script:
        lasts = is_final and self._store.replay_seconds > 0
        seconds = self._store.replay_seconds if lasts else _TRANSIENT_SECONDS
        sealed = self._store.cipher.encrypt(
            _encode(outcome), context=self._context, associated_data=_ASSOCIATED_DATA
        )
        value = (_REPLAYABLE if lasts else _TRANSIENT) + sealed
        return (_STORE_OUTCOME, 1, self._key, self._claim, value, _milliseconds(seconds))

    def _result(self) -> _ExchangeResult:
        try:
            return _decode(
                self._store.cipher.decrypt(self._seen[1:], context=self._context, associated_data=_ASSOCIATED_DATA)
            )
        except (DecryptionError, msgspec.DecodeError):  # or it is over: the claim of a request that died
            raise ResponseLost("nobody knows what became of the code") from None

    def _read(self, client: Client) -> Any:
        return client.get(self._key)

    def _eval(self, script: str, key: str, *arguments: Any, retry_safe: bool = True) -> Any:
        return self._store.redis.call(
            lambda client: client.eval(script, 1, key, *arguments), key=key, retry_safe=retry_safe
        )


def key_of(code: str, *, appid: str) -> str:
    """Return the Redis key of a code, which does not tell the code."""
    digest = hashlib.sha256(f"{appid} {code}".encode()).digest()
    return f"wxlogin:code:{urlsafe_b64encode(digest[:16]).decode().rstrip('=')}"


def _milliseconds(seconds: float) -> int:
    return math.ceil(seconds * 1000)
