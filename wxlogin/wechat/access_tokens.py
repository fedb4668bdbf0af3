"""The access_token that WeChat wants with most calls: one per app, for all workers and hosts.

Fetching one may void the one before, and WeChat counts how often that happens. So it lies in Redis, and whoever
finds it missing or about to expire takes a lease before asking WeChat; the others go on with the old one, or wait.

Key ``wxlogin:token:<appid>``, a hash: the token, sealed, and its two times; who has the lease; what the last
refresh failed with; a hash of the token that was found bad; when WeChat was forced to give another. All times are
Redis's, in Unix milliseconds: what the hosts' clocks say does not matter. Each step is one script on one key, and
may be repeated: atomic on every topology.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import logging
import random
import re
import secrets
import time
from collections.abc import Callable
from typing import Any, TypeVar

from wxlogin.observability import events
from wxlogin.resilience.instrumentation import NULL, Instrumentation
from wxlogin.storage.encryption import DecryptionError, RecordCipher
from wxlogin.storage.gateway import RedisGateway, StoreUnavailable
from wxlogin.storage.scripts import load_script
from wxlogin.wechat.api.client import WeChatClient
from wxlogin.wechat.api.errors import (
    BadAccessToken,
    CallRejected,
    NoTimeLeft,
    WeChatAPIError,
    WeChatError,
    api_error,
)
from wxlogin.wechat.api.models import AccessToken

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

# Give or take a third: within the 300 seconds in which WeChat gives a new one and both work, and the last quarter.
_EARLY_SECONDS = 225
_EARLY_SHARE = 3 / 16
_LEASE_SPARE_SECONDS = 0.5
_MIN_SECONDS = 0.5
_EARLY_TRY_SECONDS = 1.5  # half of it is for the call itself
_POLL_SECONDS = 0.05

_REFUSAL = re.compile(rb"(-?[0-9]{1,9}) ([0-9a-f-]*)")

_ACQUIRE, _STORE, _FAIL, _FORCE, _DROP = (
    load_script("wxlogin.wechat", name)
    for name in ("acquire_token", "store_token", "record_failure", "force_refresh", "drop_token")
)


@dataclasses.dataclass(frozen=True, slots=True)
class _Token:
    """A token, and what of it is, or would be, in Redis."""

    value: str = dataclasses.field(repr=False)
    sealed: bytes = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Lease:
    """The right to refresh: the token that works meanwhile, and the hash and the refusal of one that is bad."""

    owner: str
    working: _Token | None
    bad: bytes
    bad_as: bytes


class AccessTokens:
    """Call WeChat with an access_token. Thread-safe.

    ``api`` is ``stable_token``, or ``token`` for WeChat's older endpoint; ``total_seconds`` is how long a call may
    take with everything that it needs: waiting for a token, fetching one, and doing it again with another.
    """

    def __init__(
        self,
        redis: RedisGateway,
        cipher: RecordCipher,
        *,
        api: str,
        total_seconds: float,
        instrumentation: Instrumentation = NULL,
    ) -> None:
        self._instrumentation = instrumentation
        self._store = _TokenStore(redis, cipher, max_lease_seconds=total_seconds + _LEASE_SPARE_SECONDS)
        self._api = api
        self._total_seconds = total_seconds

    def call(self, client: WeChatClient, request: Callable[[WeChatClient, str], Result]) -> Result:
        """Do ``request`` with the app's client and token, and once more with another if WeChat calls that bad.

        Raises `WeChatError`: what ``request`` does, what WeChat said no to a new token with, or `CallRejected` if
        no token could be had in time; and `StoreUnavailable`, because without Redis no token is fetched.
        """
        client = client.within(client.deadline.within(self._total_seconds))
        token = self._token(client)
        try:
            return request(client, token.value)
        except BadAccessToken as error:
            refusal = error
        logger.warning("WeChat does not accept the access_token of %s: %s", client.appid, refusal)
        self._store.drop(client.appid, token.sealed, bad=_hash_of(token.value), bad_as=_text_of(refusal))
        return request(client, self._token(client).value)

    def _token(self, client: WeChatClient) -> _Token:
        """Return a token, waiting for it while there would be time to use it."""
        owner = secrets.token_urlsafe(12)
        while True:
            if client.deadline.remaining() < _MIN_SECONDS:  # a call would be cut off when it is under way
                raise NoTimeLeft("no access_token in time")
            if token := self._next(client, owner):
                return token
            time.sleep(_jittered(_POLL_SECONDS))

    def _next(self, client: WeChatClient, owner: str) -> _Token | None:
        """Take the next step and return the token it leads to, None if that needs another."""
        todo, *details = self._store.acquire(client.appid, owner, seconds=client.deadline.remaining())
        if todo == b"use":
            return self._store.decrypt(client.appid, *details)
        if todo == b"refresh":
            sealed, bad, bad_as = details
            working = self._store.decrypt(client.appid, sealed) if sealed else None
            return self._refresh(client, _Lease(owner=owner, working=working, bad=bad, bad_as=bad_as))
        if todo == b"fail":
            raise _failure_in(*details)
        return None

    def _refresh(self, client: WeChatClient, lease: _Lease) -> _Token:
        """Fetch a token, store it and return it; or return the old one, if that works and there is no other."""
        try:
            seconds = client.deadline.remaining() / (2 if lease.working else 1)
            fetched = self._fetch(client.within(client.deadline.within(seconds)), lease)
        except WeChatError as error:
            failure = error
        else:
            logger.info("a new access_token of %s, for %s s", client.appid, fetched.expires_in)
            self._instrumentation.token_refreshed(client.appid, fetched.expires_in)
            return self._store.put(client.appid, lease.owner, fetched)
        logger.warning("no new access_token of %s: %s", client.appid, failure)
        self._instrumentation.token_not_refreshed(client.appid)
        self._store.record_failure(client.appid, lease.owner, failed=_text_of(failure))
        if lease.working:
            return lease.working
        raise _failure_in(_text_of(failure))

    def _fetch(self, client: WeChatClient, lease: _Lease) -> AccessToken:
        """Ask WeChat for a token that is not the bad one, and insist on another no more often than it allows.

        The older endpoint gives another each time, so that to ask it after a bad one is to insist.
        """
        if self._api == "stable_token" or not lease.bad:
            token = self._ask(client, force_refresh=False)
            if _hash_of(token.value) != lease.bad:
                return token
        if self._store.may_force(client.appid, lease.owner):
            token = self._ask(client, force_refresh=True)
            if _hash_of(token.value) != lease.bad:
                return token
        raise _failure_in(lease.bad_as)

    def _ask(self, client: WeChatClient, *, force_refresh: bool) -> AccessToken:
        return client.token() if self._api == "token" else client.stable_token(force_refresh=force_refresh)


class _TokenStore:
    """Where the tokens lie. Every method raises `StoreUnavailable`, if it does not say otherwise."""

    def __init__(self, redis: RedisGateway, cipher: RecordCipher, *, max_lease_seconds: float) -> None:
        self._redis = redis
        self._cipher = cipher
        self._max_lease_ms = _ms(max_lease_seconds)

    def acquire(self, appid: str, owner: str, *, seconds: float) -> list[bytes]:
        """Return what is to be done by who has ``seconds`` left, and what is needed for it: see the script."""
        lease_ms, is_hurried = _ms(seconds + _LEASE_SPARE_SECONDS), int(seconds < _EARLY_TRY_SECONDS)
        answer: list[bytes] = self._eval(_ACQUIRE, appid, owner, lease_ms, self._max_lease_ms, is_hurried)
        return answer

    def decrypt(self, appid: str, sealed: bytes) -> _Token | None:
        """Return the token, or drop it if it is none of ours."""
        try:
            value = self._cipher.decrypt(sealed, context=_key_of(appid).encode(), associated_data=b"")
        except DecryptionError:
            events.emit("access_token_record_invalid", by=logger)
            self.drop(appid, sealed)
            return None
        return _Token(value.decode(), sealed)

    def put(self, appid: str, owner: str, token: AccessToken) -> _Token:
        """Store a token, unless the lease was lost, and return it; if Redis is gone it serves once, unstored."""
        sealed = self._cipher.encrypt(token.value.encode(), context=_key_of(appid).encode(), associated_data=b"")
        early_seconds = _jittered(min(_EARLY_SECONDS, token.expires_in * _EARLY_SHARE))
        times = (_ms(token.expires_in), _ms(token.expires_in - early_seconds))
        with contextlib.suppress(StoreUnavailable):
            self._eval(_STORE, appid, owner, sealed, _hash_of(token.value), *times)
        return _Token(token.value, sealed)

    def record_failure(self, appid: str, owner: str, *, failed: bytes) -> None:
        """Let those who wait know what a refresh failed with; if Redis is gone they will find out."""
        with contextlib.suppress(StoreUnavailable):
            self._eval(_FAIL, appid, owner, failed)

    def may_force(self, appid: str, owner: str) -> bool:
        """Say whether to force WeChat to give another token; a yes counts."""
        return bool(self._eval(_FORCE, appid, owner))

    def drop(self, appid: str, sealed: bytes, *, bad: bytes = b"", bad_as: bytes = b"") -> None:
        """Forget this token, if it is still there, and remember for a while that WeChat finds it bad."""
        self._eval(_DROP, appid, sealed, bad, bad_as)

    def _eval(self, script: str, appid: str, *arguments: str | bytes | int) -> Any:
        key = _key_of(appid)
        return self._redis.call(lambda client: client.eval(script, 1, key, *arguments), key=key, retry_safe=True)


def _jittered(seconds: float) -> float:
    """Return a third more or less, so that those who began together don't go on so."""
    return seconds * random.uniform(2 / 3, 4 / 3)  # noqa: S311  # no secret


def _key_of(appid: str) -> str:
    return f"wxlogin:token:{appid}"


def _ms(seconds: float) -> int:
    return int(seconds * 1000)


def _hash_of(token: str) -> bytes:
    """Return what tells a token from others: 128 bits of SHA-256."""
    return hashlib.sha256(token.encode()).hexdigest()[:32].encode()


def _text_of(failure: WeChatError) -> bytes:
    """Return what `_failure_in` makes the same failure of, as far as it is WeChat's own."""
    return f"{failure.errcode} {failure.rid or ''}".encode() if isinstance(failure, WeChatAPIError) else b""


def _failure_in(text: bytes) -> WeChatError:
    """Return the refusal; or what says, whatever else went wrong, that the call itself was not sent."""
    found = _REFUSAL.fullmatch(text)
    return (
        api_error(int(found[1]), found[2].decode() or None) if found else CallRejected("no access_token to be had")
    )
