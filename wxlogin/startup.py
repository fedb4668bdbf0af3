"""What a process of the service starts with: read once, by gunicorn's master, for all its workers.

So a worker that takes the place of one that died has what the others have, and a file that has gone bad meanwhile
keeps nobody from working.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from wxlogin import settings
from wxlogin.apps_file import BadAppsFile
from wxlogin.settings import InvalidSettings, Settings


@dataclasses.dataclass(frozen=True, slots=True)
class Startup:
    """The settings, and the AppSecret of each AppID when they were read."""

    settings: Settings
    apps: Mapping[str, str] = dataclasses.field(repr=False)


class Startups:
    """Read what to start with, and keep the last of it that was good."""

    def __init__(self) -> None:
        self._kept: Startup | None = None

    def read_again(self) -> Sequence[str]:
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

    def current(self) -> Startup:
        """Return what was read, or read it now if nobody did; raises `InvalidSettings`."""
        return self._kept or _read()


shared = Startups()
"""What this process and those that it forks start with. It is empty until `read_again` is called."""


def _read() -> Startup:
    chosen = settings.load()
    try:
        return Startup(chosen, chosen.read_apps())
    except BadAppsFile as error:  # it was good a moment ago
        raise InvalidSettings([f"WXLOGIN_APPS_FILE: {error}"]) from None
