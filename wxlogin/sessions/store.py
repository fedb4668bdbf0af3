"""Sessions in Redis: all of a user's in one hash, so that each change is one atomic step on every topology.

Key ``wxlogin:user:<hash of the user>``, a field per session. A field's value is a head in clear, for the scripts
(when the session expires, four bytes, Unix seconds; when it was made, six bytes, Unix milliseconds; big-endian),
and the sealed record. The key expires with the last of its sessions.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from redis import ResponseError
from redis.cluster import RedisCluster

from wxlogin.redis_guard import Client, RedisGuard
from wxlogin.sessions.record import SessionRecord, UnreadableRecord
from wxlogin.sessions.seal import BrokenSeal, Seal
from wxlogin.sessions.session_id import SessionId, is_handle, key_of

logger = logging.getLogger(__name__)

_EXPIRY = struct.Struct(">I")
_LATEST_EXPIRY = 2**32 - 1
_MADE_BYTES = 6
_HEAD_BYTES = _EXPIRY.size + _MADE_BYTES

# What every script begins with: what is not a hash is not ours.
_KIND = """
local kind = redis.call('TYPE', KEYS[1])
kind = kind.ok or kind
"""

# Forget what has expired; the rest are in `alive`.
_PRUNE = """
local function number_in(value, first, last)
  local number = 0
  for i = first, last do number = number * 256 + string.byte(value, i) end
  return number
end
local now, alive = tonumber(redis.call('TIME')[1]), {}
local records = redis.call('HGETALL', KEYS[1])
for i = 1, #records, 2 do
  local expires_at = #records[i + 1] < 10 and 0 or number_in(records[i + 1], 1, 4)
  if expires_at <= now then redis.call('HDEL', KEYS[1], records[i])
  else
    alive[#alive + 1] = {field = records[i], expires_at = expires_at, made = number_in(records[i + 1], 5, 10)}
  end
end
"""

# What every script does last: let the key live as long as the longest of `alive`.
_EXPIRE = """
local latest = 0
for _, session in ipairs(alive) do latest = math.max(latest, session.expires_at) end
if latest > 0 then redis.call('EXPIREAT', KEYS[1], latest) end
"""

# ARGV: the new session's field and value, the field of the one it replaces or '', how many sessions a user may
# have (0: any number). The oldest of more are ended, but never the new one.
_CREATE = f"""
{_KIND}
if kind ~= 'hash' then redis.call('DEL', KEYS[1]) end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
if ARGV[3] ~= '' then redis.call('HDEL', KEYS[1], ARGV[3]) end
{_PRUNE}
local limit = tonumber(ARGV[4])
if limit > 0 then
  for _, session in ipairs(alive) do
    if session.field == ARGV[1] then session.made = math.huge end
  end
  table.sort(alive, function(one, other) return one.made > other.made end)
  while #alive > limit do redis.call('HDEL', KEYS[1], table.remove(alive).field) end
end
{_EXPIRE}
"""

# ARGV: field, the value as it was read, the new value. What ended or changed meanwhile stays as it is.
_REPLACE = f"""
{_KIND}
if kind ~= 'hash' or redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
{_PRUNE}
{_EXPIRE}
return 1
"""

# ARGV: field, the new field, the new value. What ended meanwhile stays as it is; a repeat finds it done.
_RENEW = f"""
{_KIND}
if kind ~= 'hash' then return 0 end
if redis.call('HGET', KEYS[1], ARGV[2]) == ARGV[3] then return 1 end
if redis.call('HDEL', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
{_PRUNE}
{_EXPIRE}
return 1
"""

# ARGV: field
_DELETE = f"""
{_KIND}
if kind ~= 'hash' or redis.call('HDEL', KEYS[1], ARGV[1]) == 0 then return 0 end
{_PRUNE}
{_EXPIRE}
return 1
"""

# ARGV: the field of the one session that stays, or ''. Returns how many ended.
_DELETE_ALL = f"""
{_KIND}
if kind ~= 'hash' then return 0 end
{_PRUNE}
local ended, spared = 0, {{}}
for _, session in ipairs(alive) do
  if session.field == ARGV[1] then spared = {{session}}
  else ended = ended + redis.call('HDEL', KEYS[1], session.field) end
end
alive = spared
{_EXPIRE}
return ended
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


@dataclasses.dataclass(frozen=True, slots=True)
class ListedSession:
    """A session as its user, or an operator, sees it; ``handle`` names it and opens nothing."""

    handle: str
    record: SessionRecord
    expires_at: int


class SessionStore:
    """Create, read, change, list and end sessions. Thread-safe. Every method raises `StoreUnavailable`.

    ``most_per_user`` is how many sessions a user may have, 0 for any number: a login ends the oldest of more.
    """

    def __init__(
        self,
        redis: RedisGuard,
        seal: Seal,
        *,
        lifetimes: Lifetimes,
        most_per_user: int = 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._redis = redis
        self._seal = seal
        self._most_per_user = most_per_user
        self._clock = clock
        self.lifetimes = lifetimes

    def now(self) -> int:
        """Return the current Unix second."""
        return int(self._clock())

    def create(self, record: SessionRecord, *, replaced: SessionId | None = None) -> StoredSession:
        """Store ``record`` under a new id and end the session ``replaced``; one round trip."""
        session_id = SessionId.new(record.user)
        made = int(self._clock() * 1000).to_bytes(_MADE_BYTES, "big")
        stored = StoredSession(session_id, record, self._seal_record(session_id, record, made))
        self._redis.call(
            lambda client: self._write_new(client, stored, replaced), key=session_id.key, repeatable=True
        )
        return stored

    def load(self, session_id: SessionId) -> StoredSession:
        """Return the session, or raise `NotLoggedIn` or `SessionExpired`; one round trip."""
        key, field = session_id.key, session_id.field
        value: bytes | None = self._read(lambda client: client.hget(key, field), key=key)
        if value is None:
            raise NotLoggedIn
        _, record = self._open_record(key, field, value)
        return StoredSession(session_id, record, value)

    def list(self, user_hash: str) -> list[ListedSession]:
        """Return a user's sessions, the newest first; one round trip."""
        key = key_of(user_hash)
        values: dict[bytes, bytes] = self._read(lambda client: client.hgetall(key), key=key) or {}
        newest_first = sorted(values.items(), key=lambda item: _made_in(item[1]), reverse=True)
        return [*self._readable(key, newest_first)]

    def replace(self, stored: StoredSession, record: SessionRecord) -> bool:
        """Write ``record`` over what was read; False if the session has ended or changed since."""
        session_id = stored.session_id
        if self._expiry_of(stored.record, stored.value) <= self.now():
            return False
        value = self._seal_record(session_id, record, _made_in(stored.value))
        return bool(self._eval(_REPLACE, session_id.key, session_id.field, stored.value, value))

    def renew(self, stored: StoredSession) -> StoredSession:
        """Move a session to a new id, both clocks running on, or raise `NotLoggedIn` if it has ended since."""
        session_id = SessionId.new(stored.record.user)
        value = self._seal_record(session_id, stored.record, _made_in(stored.value))
        if not self._eval(_RENEW, session_id.key, stored.session_id.field, session_id.field, value):
            raise NotLoggedIn
        return StoredSession(session_id, stored.record, value)

    def delete(self, session_id: SessionId) -> bool:
        """End the session; False if there was none."""
        return bool(self._eval(_DELETE, session_id.key, session_id.field))

    def delete_one(self, user_hash: str, handle: str, *, repeatable: bool = True) -> bool:
        """End the session of this user that has this handle; False if there was none.

        When the answer is lost it is done again, and then there is none; not so if it is not ``repeatable``.
        """
        if not is_handle(handle):  # it may be an id by mistake, and Redis is not to see one
            return False
        return bool(self._eval(_DELETE, key_of(user_hash), handle, repeatable=repeatable))

    def delete_all(self, user_hash: str, *, but: str = "", repeatable: bool = True) -> int:
        """End a user's sessions, but for the one with the handle ``but``, and return how many that were.

        For ``repeatable``, see `delete_one`.
        """
        return int(self._eval(_DELETE_ALL, key_of(user_hash), but, repeatable=repeatable))

    def _write_new(self, client: Client, stored: StoredSession, replaced: SessionId | None) -> None:
        session_id = stored.session_id
        old_field = replaced.field if replaced and replaced.key == session_id.key else ""
        scripts: list[tuple[Any, ...]] = [
            (_CREATE, 1, session_id.key, session_id.field, stored.value, old_field, self._most_per_user)
        ]
        if replaced and not old_field:
            scripts.append((_DELETE, 1, replaced.key, replaced.field))
        _run(client, scripts)

    def _read(self, read: Callable[[Client], Any], *, key: str) -> Any:
        return self._redis.call(lambda client: _ours(lambda: read(client)), key=key, repeatable=True)

    def _eval(self, script: str, key: str, *arguments: str | bytes, repeatable: bool = True) -> Any:
        return self._redis.call(
            lambda client: client.eval(script, 1, key, *arguments), key=key, repeatable=repeatable
        )

    def _readable(self, key: str, values: Iterable[tuple[bytes, bytes]]) -> Iterator[ListedSession]:
        for field, value in values:
            handle = field.decode("ascii", "replace")
            with contextlib.suppress(NotLoggedIn):
                expires_at, record = self._open_record(key, handle, value)
                yield ListedSession(handle, record, expires_at)

    def _seal_record(self, session_id: SessionId, record: SessionRecord, made: bytes) -> bytes:
        head = _EXPIRY.pack(min(self.lifetimes.expires_at(record), _LATEST_EXPIRY)) + made
        return head + self._seal.seal(
            record.encode(), place=_place_of(session_id.key, session_id.field), label=head
        )

    def _open_record(self, key: str, field: str, value: bytes) -> tuple[int, SessionRecord]:
        """Return when a session expires, and its record; raises `NotLoggedIn` or `SessionExpired`."""
        head, sealed = value[:_HEAD_BYTES], value[_HEAD_BYTES:]
        try:
            record = SessionRecord.decode(self._seal.open(sealed, place=_place_of(key, field), label=head))
        except (BrokenSeal, UnreadableRecord) as error:
            logger.warning("a session's record is not ours, or was tampered with: %s", type(error).__name__)
            raise NotLoggedIn from None
        expires_at = self._expiry_of(record, value)
        if expires_at <= self.now():
            raise SessionExpired
        return expires_at, record

    def _expiry_of(self, record: SessionRecord, value: bytes) -> int:
        """Return when a session expires: as it was written, or earlier if the settings say so by now."""
        written: int = _EXPIRY.unpack(value[: _EXPIRY.size])[0]
        return min(written, self.lifetimes.expires_at(record))


def _run(client: Client, scripts: list[tuple[Any, ...]]) -> None:
    """Run scripts in one round trip; a Cluster takes one for each, because their keys may be on two servers."""
    if isinstance(client, RedisCluster):
        for script in scripts:
            client.eval(*script)
        return
    pipeline = client.pipeline(transaction=False)  # new each time: executing one empties it, even in vain
    for script in scripts:
        pipeline.eval(*script)
    pipeline.execute()


def _made_in(value: bytes) -> bytes:
    """Return when a session was made, as it stands in its value: bytes that sort as the times do."""
    return value[_EXPIRY.size : _HEAD_BYTES]


def _place_of(key: str, field: str) -> bytes:
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
