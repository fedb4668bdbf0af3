"""Sessions in Redis: all of a user's in one hash, so that each change is one atomic step on every topology.

Key ``wxlogin:user:<hash of the user>``, a field per session. A field's value is the session's expiry (four bytes,
Unix seconds, big-endian, in clear for the scripts) and the sealed record. The key expires with the last of them.
"""

from __future__ import annotations

import dataclasses
import logging
import struct
import time
from collections.abc import Callable
from typing import Any

from redis import Redis, ResponseError

from wxlogin import redis_guard
from wxlogin.sessions.record import SessionRecord, UnreadableRecord
from wxlogin.sessions.seal import BrokenSeal, Seal
from wxlogin.sessions.session_id import SessionId

logger = logging.getLogger(__name__)

_EXPIRY = struct.Struct(">I")
_LATEST_EXPIRY = 2**32 - 1

# What every script does first: what is not a hash is not ours.
_KIND = """
local kind = redis.call('TYPE', KEYS[1])
kind = kind.ok or kind
"""

# What every script does last: forget what has expired, and let the key live as long as the longest of the rest.
_PRUNE = """
local now, latest = tonumber(redis.call('TIME')[1]), 0
local records = redis.call('HGETALL', KEYS[1])
for i = 1, #records, 2 do
  local a, b, c, d = string.byte(records[i + 1], 1, 4)
  local expires_at = d and ((a * 256 + b) * 256 + c) * 256 + d or 0
  if expires_at <= now then redis.call('HDEL', KEYS[1], records[i])
  elseif expires_at > latest then latest = expires_at end
end
if latest > 0 then redis.call('EXPIREAT', KEYS[1], latest) end
"""

# ARGV: the new session's field and value, the field of the one that it replaces or ''.
_CREATE = f"""
{_KIND}
if kind ~= 'hash' then redis.call('DEL', KEYS[1]) end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
if ARGV[3] ~= '' then redis.call('HDEL', KEYS[1], ARGV[3]) end
{_PRUNE}
return 1
"""

# ARGV: field, the value as it was read, the new value. What ended or changed meanwhile stays as it is.
_REPLACE = f"""
{_KIND}
if kind ~= 'hash' or redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
{_PRUNE}
return 1
"""

# ARGV: field
_DELETE = f"""
{_KIND}
if kind ~= 'hash' or redis.call('HDEL', KEYS[1], ARGV[1]) == 0 then return 0 end
{_PRUNE}
return 1
"""


class NotLoggedIn(Exception):
    """Raised if a request has no session."""


class SessionExpired(NotLoggedIn):
    """Raised if a request has a session that has reached one of its two ends."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Lifetimes:
    """The two clocks, in seconds: since the session was last seen, and since it was made."""

    idle: int
    longest: int

    def expires_at(self, record: SessionRecord) -> int:
        """Return the Unix second in which the first of the two clocks runs out."""
        return min(record.last_seen_at + self.idle, record.created_at + self.longest)


@dataclasses.dataclass(frozen=True, slots=True)
class StoredSession:
    """A session as it was read; ``value`` is what stood in Redis, for writing only over that."""

    session_id: SessionId
    record: SessionRecord
    value: bytes = dataclasses.field(repr=False)


class SessionStore:
    """Create, read, change and end sessions. Thread-safe. Every method raises `StoreUnavailable`."""

    def __init__(
        self, redis: Redis, seal: Seal, *, lifetimes: Lifetimes, clock: Callable[[], float] = time.time
    ) -> None:
        self._redis = redis
        self._seal = seal
        self._clock = clock
        self.lifetimes = lifetimes

    def now(self) -> int:
        """Return the current Unix second."""
        return int(self._clock())

    def create(self, record: SessionRecord, *, replaced: SessionId | None = None) -> StoredSession:
        """Store ``record`` under a new id and end the session ``replaced``; one round trip."""
        session_id = SessionId.new(record.user)
        value = self._seal_record(session_id, record)
        redis_guard.call(lambda: self._write_new(session_id, value, replaced), repeatable=True)
        return StoredSession(session_id, record, value)

    def load(self, session_id: SessionId) -> StoredSession:
        """Return the session, or raise `NotLoggedIn` or `SessionExpired`; one round trip."""
        value = self._read(session_id)
        if value is None:
            raise NotLoggedIn
        expires_at, record = self._open_record(session_id, value)
        if min(expires_at, self.lifetimes.expires_at(record)) <= self.now():
            raise SessionExpired
        return StoredSession(session_id, record, value)

    def replace(self, stored: StoredSession, record: SessionRecord) -> bool:
        """Write ``record`` over what was read; False if the session has ended or changed since."""
        session_id = stored.session_id
        value = self._seal_record(session_id, record)
        arguments = (session_id.key, session_id.field, stored.value, value)
        return bool(redis_guard.call(lambda: self._redis.eval(_REPLACE, 1, *arguments), repeatable=True))

    def delete(self, session_id: SessionId) -> bool:
        """End the session; False if there was none."""
        arguments = (session_id.key, session_id.field)
        return bool(redis_guard.call(lambda: self._redis.eval(_DELETE, 1, *arguments), repeatable=True))

    def _write_new(self, session_id: SessionId, value: bytes, replaced: SessionId | None) -> None:
        old_field = replaced.field if replaced and replaced.key == session_id.key else ""
        pipeline = self._redis.pipeline(transaction=False)  # new each time: executing one empties it, even in vain
        pipeline.eval(_CREATE, 1, session_id.key, session_id.field, value, old_field)
        if replaced and not old_field:
            pipeline.eval(_DELETE, 1, replaced.key, replaced.field)
        pipeline.execute()

    def _read(self, session_id: SessionId) -> bytes | None:
        value: bytes | None = redis_guard.call(lambda: self._hget(session_id), repeatable=True)
        return value

    def _hget(self, session_id: SessionId) -> Any:
        try:
            return self._redis.hget(session_id.key, session_id.field)
        except ResponseError as error:
            if str(error).startswith("WRONGTYPE"):
                logger.warning("a user's key is not ours: it has another type; the next login puts it right")
                return None
            raise

    def _seal_record(self, session_id: SessionId, record: SessionRecord) -> bytes:
        expiry = _EXPIRY.pack(min(self.lifetimes.expires_at(record), _LATEST_EXPIRY))
        return expiry + self._seal.seal(record.encode(), place=_place_of(session_id), label=expiry)

    def _open_record(self, session_id: SessionId, value: bytes) -> tuple[int, SessionRecord]:
        expiry, sealed = value[: _EXPIRY.size], value[_EXPIRY.size :]
        try:
            data = self._seal.open(sealed, place=_place_of(session_id), label=expiry)
            return _EXPIRY.unpack(expiry)[0], SessionRecord.decode(data)
        except (BrokenSeal, UnreadableRecord) as error:
            logger.warning("a session's record is not ours, or was tampered with: %s", type(error).__name__)
            raise NotLoggedIn from None


def _place_of(session_id: SessionId) -> bytes:
    return f"{session_id.key} {session_id.field}".encode()
