"""Which mini-programs there are, and the client of each: read again when they change, without a restart."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping

from wxlogin.apps_file import BadAppsFile
from wxlogin.wechat.client import WeChatClient

logger = logging.getLogger(__name__)

_LOOK_EVERY_SECONDS = 1.0


class UnknownApp(Exception):
    """Raised if an AppID is none of ours."""


class AppNotNamed(UnknownApp):
    """Raised if there are several mini-programs, and nothing says which one is meant."""


class Apps:
    """Our mini-programs. Thread-safe; who asks while another thread reads gets what there was before.

    ``read`` gives the AppSecret of each AppID, or raises `BadAppsFile`. ``version`` gives something else when
    there is something else to read, or None when there is nothing new; it is asked about once a second, and only
    when somebody needs an app. ``known`` is what to begin with if the first reading fails. A client lives as long
    as its secret.
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
        self._look_at = clock() + _LOOK_EVERY_SECONDS
        self._version = self._seen = version()  # before reading: a change in between is seen at the next look
        self._secrets: Mapping[str, str] = self._read_first(known)
        self._clients = {appid: make_client(appid, secret) for appid, secret in self._secrets.items()}

    def client_for(self, appid: str) -> WeChatClient:
        """Return the client of one of our mini-programs; raises `UnknownApp`."""
        client = self.find(appid)
        if client is None:
            raise UnknownApp
        return client

    def find(self, appid: str) -> WeChatClient | None:
        """Return the client of a mini-program if it is ours."""
        return self._current().get(appid)

    def only_client(self) -> WeChatClient:
        """Return the client of the only mini-program; raises `AppNotNamed` if there are several."""
        client, *others = self._current().values()
        if others:
            raise AppNotNamed
        return client

    def _current(self) -> Mapping[str, WeChatClient]:
        if self._clock() >= self._look_at and self._lock.acquire(blocking=False):
            try:
                self._look()
            finally:
                self._lock.release()
        return self._clients

    def _read_first(self, known: Mapping[str, str] | None) -> Mapping[str, str]:
        try:
            return self._read()
        except BadAppsFile as error:
            if known is None:
                raise
            _complain_of(error)
            return known

    def _look(self) -> None:
        version = self._version_of()
        is_news, self._seen = version != self._seen, version
        self._look_at = self._clock() + _LOOK_EVERY_SECONDS
        if version not in (None, self._version):
            self._read_again(version, is_news=is_news)

    def _read_again(self, version: object, *, is_news: bool) -> None:
        """Take what there is to read. What is bad is told once, but read at every look: the moment may be bad."""
        try:
            self._replace(self._read())
            self._version = version
        except BadAppsFile as error:
            if is_news:
                _complain_of(error)

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


def _complain_of(error: BadAppsFile) -> None:
    logger.error("WXLOGIN_APPS_FILE can't be used, the apps stay as they were: %s", error)
