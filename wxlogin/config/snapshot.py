"""What a process of the service starts with: read once, by gunicorn's master, for all its workers.

So a worker that takes the place of one that died has what the others have, and a file that has gone bad meanwhile
keeps nobody from working.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from wxlogin.config import settings
from wxlogin.config.settings import InvalidSettings, Settings
from wxlogin.wechat.credentials_file import InvalidCredentialsFile


@dataclasses.dataclass(frozen=True, slots=True)
class ConfigSnapshot:
    """The settings, and the AppSecret of each AppID when they were read."""

    settings: Settings
    apps: Mapping[str, str] = dataclasses.field(repr=False)


class SnapshotHolder:
    """Read what to start with, and keep the last of it that was good."""

    def __init__(self) -> None:
        self._kept: ConfigSnapshot | None = None

    def reload(self) -> Sequence[str]:
        """Read all of it anew and return what is wrong with it: then what was read before stays.

        Raises `InvalidSettings` if nothing was read before.
        """
        try:
            self._kept = _read()
        except InvalidSettings as error:
            if self._kept is None:
                raise
            return error.problems
        return []

    def current(self) -> ConfigSnapshot:
        """Return what was read, or read it now if nobody did; raises `InvalidSettings`."""
        return self._kept or _read()


shared = SnapshotHolder()
"""What this process and those that it forks start with. It is empty until `reload` is called."""


def _read() -> ConfigSnapshot:
    chosen = settings.load()
    try:
        return ConfigSnapshot(chosen, chosen.read_credentials())
    except InvalidCredentialsFile as error:  # it was good a moment ago
        raise InvalidSettings([f"WXLOGIN_APPS_FILE: {error}"]) from None
