"""Sessions in Redis: all of a user's in one hash, so that each change is one atomic step on every topology.

Key ``wxlogin:user:<hash of the user>``, a field per session. A field's value is a head in clear, for the scripts
(when the session expires, four bytes, Unix seconds; when it was made, six bytes, Unix milliseconds; big-endian),
and the sealed record. The key expires with the last of its sessions.

A session that a login replaced is over, but its ``session_key`` may still be wanted: for data that was encrypted
before that login and arrives after it. So the last one of a user is kept for some minutes in a key of its own: its
field and its value, as they were. A script on both keys would fail in a Cluster that is moving their slot: there
the second key is written and read apart.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal

from redis import RedisError, ResponseError
from redis.cluster import RedisCluster
from redis.exceptions import RedisClusterException

from wxlogin.observability import events
from wxlogin.resilience.instrumentation import NULL, Instrumentation
from wxlogin.sessions.record import SessionRecord, UnreadableRecord
from wxlogin.sessions.session_id import HANDLE_LENGTH, SessionId, is_handle, key_of, user_hash_in
from wxlogin.storage.client import Client
from wxlogin.storage.encryption import DecryptionError, RecordCipher
from wxlogin.storage.gateway import RedisGateway, Script, StoreUnavailable
from wxlogin.storage.scripts import load_script

logger = logging.getLogger(__name__)

_EXPIRY = struct.Struct(">I")
_LATEST_EXPIRY = 2**32 - 1
_CREATED_AT_BYTES = 6
_HEADER_BYTES = _EXPIRY.size + _CREATED_AT_BYTES

REPLACED_SECONDS = 300  # as long as a code lives
TOUCH_SECONDS = 60

_CREATE, _UPDATE, _ROTATE, _DELETE, _DELETE_ALL, _READ_ALL = (
    load_script("wxlogin.sessions", name)
    for name in ("create", "update", "rotate", "delete", "delete_all", "read_all")
)

Step = tuple[str, str, *tuple[Any, ...]]
"""A script, the key of the user that it is about, and its arguments."""

AlsoRun = Callable[[str], Script]

EndCause = Literal["logout", "other_device", "everywhere", "replaced", "limit", "operator"]
"""What ends a session, other than its clocks."""


class NotLoggedIn(Exception):
    """Raised if a request has no session."""


class SessionExpired(NotLoggedIn):
    """Raised if a request has a session that has reached one of its two ends."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Lifetimes:
    """The two clocks, in seconds: since the session was last seen, and since it was made."""

    idle: int
    absolute: int

    def expires_at(self, record: SessionRecord) -> int:
        """Return the Unix second in which the first of the two clocks runs out."""
        return min(record.last_seen_at + self.idle, record.created_at + self.absolute)


@dataclasses.dataclass(frozen=True, slots=True)
class StoredSession:
    """A session as it was read; ``value`` is what stood in Redis, for writing only over that."""

    session_id: SessionId
    record: SessionRecord
    value: bytes = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True, slots=True)
class ListedSession:
    """A session as its user, or an operator, sees it; ``handle`` names it and opens nothing."""

    handle: str
    record: SessionRecord
    expires_at: int


class SessionStore:
    """Create, read, change, list and end sessions. Thread-safe. Every method raises `StoreUnavailable`.

    ``max_per_user`` is how many sessions a user may have, 0 for any number: a login ends the oldest of more.
    ``on_changed`` is told whose sessions have changed, or may have, by the hashes of the users. What is done again
    because the first answer was lost, ``instrumentation`` is told as the second answer has it.
    """

    def __init__(
        self,
        redis: RedisGateway,
        cipher: RecordCipher,
        *,
        lifetimes: Lifetimes,
        max_per_user: int = 0,
        clock: Callable[[], float] = time.time,
        instrumentation: Instrumentation = NULL,
        on_changed: Callable[[Iterable[str]], object] = lambda _user_hashes: None,
    ) -> None:
        self._on_changed = on_changed
        self._instrumentation = instrumentation
        self._redis = redis
        self._cipher = cipher
        self._max_per_user = max_per_user
        self._clock = clock
        self.lifetimes = lifetimes

    def now(self) -> int:
        """Return the current Unix second."""
        return int(self._clock())

    def create(
        self, record: SessionRecord, *, replaced: SessionId | None = None, also_run: AlsoRun | None = None
    ) -> StoredSession:
        """Store ``record`` under a new id and end the session ``replaced``; one round trip.

        ``also_run`` returns, for the new id, a script to run after it in the same round trip.
        """
        session_id = SessionId.new(record.user)
        made = int(self._clock() * 1000).to_bytes(_CREATED_AT_BYTES, "big")
        stored = StoredSession(session_id, record, self._encrypt_record(session_id, record, made))
        steps, more = [*self._creation(stored, replaced)], [also_run(session_id.text)] if also_run else []
        with self._changing(*(key for _, key, *_ in steps)):
            answers = self._redis.call(
                lambda client: _run(client, steps, more), key=session_id.key, retry_safe=True
            )
        self._report_creation(session_id.user_hash, answers, replaced)
        return stored

    def get(self, session_id: SessionId) -> StoredSession:
        """Return the session, or raise `NotLoggedIn` or `SessionExpired`; one round trip."""
        key, field = session_id.key, session_id.field
        value: bytes | None = self._read(lambda client: client.hget(key, field), key=key)
        if value is None:
            raise NotLoggedIn
        _, record = self._open_record(key, field, value)
        return StoredSession(session_id, record, value)

    def decode_value(self, session_id: SessionId, value: bytes) -> StoredSession | None:
        """Return the session that ``value``, which stood in Redis, is; None if it is none, or none any more."""
        try:
            record = self._decode(session_id.key, session_id.field, value)
        except (DecryptionError, UnreadableRecord):
            return None
        return StoredSession(session_id, record, value) if self._expiry_of(record, value) > self.now() else None

    def list(self, user_hash: str) -> list[ListedSession]:
        """Return a user's sessions, the newest first; one round trip."""
        key = key_of(user_hash)
        values: dict[bytes, bytes] = self._read(lambda client: client.hgetall(key), key=key) or {}
        return [*self._readable(key, _newest_first(values.items()))]

    def session_keys(self, user_hash: str) -> Sequence[str]:
        """Return the ``session_key`` of each of a user's sessions, and of one replaced lately; one round trip.

        Each is there once, that of the newest session first.
        """
        key = key_of(user_hash)
        replaced, *fields = self._redis.call(lambda client: _read_all(client, key), key=key, retry_safe=True)
        found = [*zip(fields[::2], fields[1::2], strict=True)]
        if replaced:
            found.append((replaced[:HANDLE_LENGTH], replaced[HANDLE_LENGTH:]))
        sessions = self._readable(key, _newest_first(found))
        return [*dict.fromkeys(session.record.session_key for session in sessions)]

    def update_if_unchanged(self, stored: StoredSession, record: SessionRecord) -> bool:
        """Write ``record`` over what was read; False if the session has ended or changed since."""
        session_id = stored.session_id
        if self._expiry_of(stored.record, stored.value) <= self.now():
            return False
        value = self._encrypt_record(session_id, record, _created_at_of(stored.value))
        return bool(self._eval(_UPDATE, session_id.key, session_id.field, stored.value, value))

    def touch(self, stored: StoredSession) -> None:
        """Move the idle clock if it is due; what has ended meanwhile stays ended, and no harm comes of failing."""
        if self.is_touch_due(stored):
            try:
                self.update_if_unchanged(stored, dataclasses.replace(stored.record, last_seen_at=self.now()))
            except StoreUnavailable:
                logger.warning("a session's idle clock was not moved")

    def touch_script(self, stored: StoredSession) -> Script:
        """Return the script that moves the idle clock of a session, for a Redis that is no Cluster."""
        record = dataclasses.replace(stored.record, last_seen_at=self.now())
        key, field = stored.session_id.key, stored.session_id.field
        value = self._encrypt_record(stored.session_id, record, _created_at_of(stored.value))
        return (_UPDATE, 1, key, field, stored.value, value)

    def is_touch_due(self, stored: StoredSession) -> bool:
        """Say whether the idle clock is to be moved."""
        return self.now() - stored.record.last_seen_at >= TOUCH_SECONDS

    def seconds_until_change(self, stored: StoredSession) -> float:
        """Return how soon something about the session changes by itself: its idle clock is due, or it ends."""
        until = min(stored.record.last_seen_at + TOUCH_SECONDS, self._expiry_of(stored.record, stored.value))
        return until - self._clock()

    def rotate_id(self, stored: StoredSession) -> StoredSession:
        """Move a session to a new id, both clocks running on, or raise `NotLoggedIn` if it has ended since."""
        session_id = SessionId.new(stored.record.user)
        value = self._encrypt_record(session_id, stored.record, _created_at_of(stored.value))
        if not self._eval(_ROTATE, session_id.key, stored.session_id.field, session_id.field, value):
            raise NotLoggedIn
        return StoredSession(session_id, stored.record, value)

    def delete(self, session_id: SessionId, *, cause: EndCause = "logout") -> bool:
        """End the session; False if there was none."""
        return self._delete(session_id.user_hash, session_id.field, cause=cause)

    def delete_by_handle(
        self, user_hash: str, handle: str, *, cause: EndCause = "other_device", retry_safe: bool = True
    ) -> bool:
        """End the session of this user that has this handle; False if there was none.

        When the answer is lost it is done again, and then there is none; not so if it is not ``retry_safe``.
        """
        if not is_handle(handle):  # it may be an id by mistake, and Redis is not to see one
            return False
        return self._delete(user_hash, handle, cause=cause, retry_safe=retry_safe)

    def delete_all(
        self, user_hash: str, *, except_handle: str = "", cause: EndCause = "everywhere", retry_safe: bool = True
    ) -> int:
        """End a user's sessions, but for the one with ``except_handle``, and return how many that were.

        For ``retry_safe``, see `delete_by_handle`.
        """
        ended = int(self._eval(_DELETE_ALL, key_of(user_hash), except_handle, retry_safe=retry_safe))
        self._report_end(user_hash, cause, ended)
        return ended

    def _delete(self, user_hash: str, field: str, *, cause: EndCause, retry_safe: bool = True) -> bool:
        ended = int(self._eval(_DELETE, key_of(user_hash), field, retry_safe=retry_safe))
        self._report_end(user_hash, cause, ended)
        return bool(ended)

    def _report_creation(self, user_hash: str, answers: Sequence[Any], replaced: SessionId | None) -> None:
        self._instrumentation.session_created()
        events.emit("login", by=logger, user_hash=user_hash)
        (replaced_here, dropped), *replaced_elsewhere = answers
        if replaced:
            self._report_end(replaced.user_hash, "replaced", bool(replaced_here) + sum(replaced_elsewhere))
        self._report_end(user_hash, "limit", dropped)

    def _report_end(self, user_hash: str, cause: EndCause, count: int) -> None:
        if count:
            self._instrumentation.sessions_ended(cause, count)
            events.emit("logout", cause, by=logger, user_hash=user_hash, sessions=count)

    def _creation(self, stored: StoredSession, replaced: SessionId | None) -> Iterator[Step]:
        session_id = stored.session_id
        old_field = replaced.field if replaced and replaced.key == session_id.key else ""
        arguments = (session_id.field, stored.value, old_field, self._max_per_user, REPLACED_SECONDS)
        yield (_CREATE, session_id.key, *arguments)
        if replaced and not old_field:
            yield (_DELETE, replaced.key, replaced.field)

    def _read(self, read: Callable[[Client], Any], *, key: str) -> Any:
        return self._redis.call(lambda client: _ours(lambda: read(client)), key=key, retry_safe=True)

    def _eval(self, script: str, key: str, *arguments: str | bytes, retry_safe: bool = True) -> Any:
        step: Step = (script, key, *arguments)
        with self._changing(key):
            return self._redis.call(
                lambda client: client.eval(*_script(client, step)), key=key, retry_safe=retry_safe
            )

    @contextlib.contextmanager
    def _changing(self, *keys: str) -> Iterator[None]:
        """Tell of the change when it is made; and when nobody knows whether it was made."""
        try:
            yield
        finally:
            self._on_changed(user_hash_in(key) for key in keys)

    def _readable(self, key: str, values: Iterable[tuple[bytes, bytes]]) -> Iterator[ListedSession]:
        for field, value in values:
            handle = field.decode("ascii", "replace")
            with contextlib.suppress(NotLoggedIn):
                expires_at, record = self._open_record(key, handle, value)
                yield ListedSession(handle, record, expires_at)

    def _encrypt_record(self, session_id: SessionId, record: SessionRecord, made: bytes) -> bytes:
        head = _EXPIRY.pack(min(self.lifetimes.expires_at(record), _LATEST_EXPIRY)) + made
        return head + self._cipher.encrypt(
            record.encode(), context=_context_of(session_id.key, session_id.field), associated_data=head
        )

    def _open_record(self, key: str, field: str, value: bytes) -> tuple[int, SessionRecord]:
        """Return when a session expires, and its record; raises `NotLoggedIn` or `SessionExpired`."""
        record = self._decrypt(key, field, value)
        expires_at = self._expiry_of(record, value)
        if expires_at <= self.now():
            raise SessionExpired
        return expires_at, record

    def _decrypt(self, key: str, field: str, value: bytes) -> SessionRecord:
        try:
            return self._decode(key, field, value)
        except (DecryptionError, UnreadableRecord) as error:
            reason = "it does not decrypt" if isinstance(error, DecryptionError) else "it can't be read"
            events.emit("session_record_invalid", reason, by=logger)
            raise NotLoggedIn from None

    def _decode(self, key: str, field: str, value: bytes) -> SessionRecord:
        head, sealed = value[:_HEADER_BYTES], value[_HEADER_BYTES:]
        return SessionRecord.decode(
            self._cipher.decrypt(sealed, context=_context_of(key, field), associated_data=head)
        )

    def _expiry_of(self, record: SessionRecord, value: bytes) -> int:
        """Return when a session expires: as it was written, or earlier if the settings say so by now."""
        written: int = _EXPIRY.unpack(value[: _EXPIRY.size])[0]
        return min(written, self.lifetimes.expires_at(record))


def _run(client: Client, steps: Sequence[Step], more: Sequence[Script]) -> Sequence[Any]:
    """Make a session, and do ``more``, in one round trip; return what the steps do."""
    if isinstance(client, RedisCluster):
        return _run_in_cluster(client, steps, more)
    pipeline = client.pipeline(transaction=False)  # new each time: executing one empties it, even in vain
    for script in (*(_script(client, step) for step in steps), *more):
        pipeline.eval(*script)
    return pipeline.execute()[: len(steps)]


def _run_in_cluster(client: RedisCluster, steps: Sequence[Step], more: Sequence[Script]) -> Sequence[Any]:
    """Do the same in a round trip for each: their keys may be on several servers.

    The session is there with the first; if what else there is gets lost with a server, it costs nobody a login.
    """
    _, key, _, _, old_field, *_ = steps[0]
    answers: list[Any] = [client.eval(*_script(client, step)) for step in steps]
    replaced, _ = answers[0]
    with contextlib.suppress(RedisError, RedisClusterException):
        for script in more:
            client.eval(*script)
        if replaced:
            client.set(_replaced_key(key), old_field.encode() + replaced, ex=REPLACED_SECONDS)
    return answers


def _script(client: Client, step: Step) -> Script:
    """Return what to tell ``client``: the keys are the user's, and the replaced session's where that may be."""
    script, key, *arguments = step
    keys = (key,) if isinstance(client, RedisCluster) else (key, _replaced_key(key))
    return (script, len(keys), *keys, *arguments)


def _read_all(client: Client, key: str) -> Sequence[Any]:
    """Return the replaced session, then the fields and values of the others."""
    found: list[Any] = client.eval(*_script(client, (_READ_ALL, key)))
    if isinstance(client, RedisCluster):
        return [client.get(_replaced_key(key)) or b"", *found[1:]]
    return found


def _newest_first(values: Iterable[tuple[bytes, bytes]]) -> Sequence[tuple[bytes, bytes]]:
    return sorted(values, key=lambda item: _created_at_of(item[1]), reverse=True)


def _replaced_key(key: str) -> str:
    return f"wxlogin:retired:{{{key}}}"  # in the user's slot: what is lost with a server is lost together


def _created_at_of(value: bytes) -> bytes:
    """Return when a session was made, as it stands in its value: bytes that sort as the times do."""
    return value[_EXPIRY.size : _HEADER_BYTES]


def _context_of(key: str, field: str) -> bytes:
    return f"{key} {field}".encode()


def _ours(read: Callable[[], Any]) -> Any:
    """Return what ``read`` does, or None if the key has another type than ours have."""
    try:
        return read()
    except ResponseError as error:
        if not str(error).startswith("WRONGTYPE"):
            raise
        logger.warning("a user's key is not ours: it has another type; the next login puts it right")
        return None
