"""Which mini-programs there are, and the client of each: read again when they change, without a restart."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping

from wxlogin.wechat.api.client import WeChatClient
from wxlogin.wechat.credentials_file import InvalidCredentialsFile

logger = logging.getLogger(__name__)

_POLL_INTERVAL_SECONDS = 1.0


class UnknownMiniProgram(Exception):
    """Raised if an AppID is none of ours."""


class MiniProgramNotNamed(UnknownMiniProgram):
    """Raised if there are several mini-programs, and nothing says which one is meant."""


class MiniPrograms:
    """Our mini-programs. Thread-safe; who asks while another thread reads gets what there was before.

    ``read`` gives the AppSecret of each AppID, or raises `InvalidCredentialsFile`. ``version`` gives something
    else when there is something else to read, or None when there is nothing new; it is asked about once a second,
    and only when somebody needs an app. ``known`` is what to begin with if the first reading fails. A client lives
    as long as its secret.
    """

    def __init__(
        self,
        read: Callable[[], Mapping[str, str]],
        *,
        make_client: Callable[[str, str], WeChatClient],
        version: Callable[[], object | None] = lambda: None,
        known: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._make_client = make_client
        self._version_of = version
        self._clock = clock
        self._lock = threading.Lock()
        self._look_at = clock() + _POLL_INTERVAL_SECONDS
        self._version = self._seen = version()  # before reading: a change in between is seen at the next look
        self._secrets: Mapping[str, str] = self._read_first(known)
        self._clients = {appid: make_client(appid, secret) for appid, secret in self._secrets.items()}

    def client_for(self, appid: str) -> WeChatClient:
        """Return the client of one of our mini-programs; raises `UnknownMiniProgram`."""
        client = self.find(appid)
        if client is None:
            raise UnknownMiniProgram
        return client

    def find(self, appid: str) -> WeChatClient | None:
        """Return the client of a mini-program if it is ours."""
        return self._current().get(appid)

    def only_client(self) -> WeChatClient:
        """Return the client of the only mini-program; raises `MiniProgramNotNamed` if there are several."""
        client, *others = self._current().values()
        if others:
            raise MiniProgramNotNamed
        return client

    def _current(self) -> Mapping[str, WeChatClient]:
        if self._clock() >= self._look_at and self._lock.acquire(blocking=False):
            try:
                self._poll()
            finally:
                self._lock.release()
        return self._clients

    def _read_first(self, known: Mapping[str, str] | None) -> Mapping[str, str]:
        try:
            return self._read()
        except InvalidCredentialsFile as error:
            if known is None:
                raise
            _log_invalid_file(error)
            return known

    def _poll(self) -> None:
        version = self._version_of()
        is_news, self._seen = version != self._seen, version
        self._look_at = self._clock() + _POLL_INTERVAL_SECONDS
        if version not in (None, self._version):
            self._reload(version, is_news=is_news)

    def _reload(self, version: object, *, is_news: bool) -> None:
        """Take what there is to read. What is bad is told once, but read at every look: the moment may be bad."""
        try:
            self._replace(self._read())
            self._version = version
        except InvalidCredentialsFile as error:
            if is_news:
                _log_invalid_file(error)

    def _replace(self, secrets: Mapping[str, str]) -> None:
        if secrets == self._secrets:
            return
        self._clients = {appid: self._client(appid, secret) for appid, secret in secrets.items()}
        self._secrets = secrets
        logger.info("the apps changed", extra={"apps": len(secrets)})

    def _client(self, appid: str, secret: str) -> WeChatClient:
        """Return the client that there is, or a new one for a new secret."""
        is_known = self._secrets.get(appid) == secret
        return self._clients[appid] if is_known else self._make_client(appid, secret)


def _log_invalid_file(error: InvalidCredentialsFile) -> None:
    logger.error("WXLOGIN_APPS_FILE can't be used, the apps stay as they were: %s", error)
