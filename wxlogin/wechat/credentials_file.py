"""The file with several mini-programs' credentials: read strictly, and never quoted, for half of it is secret."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

APPID_PATTERN = re.compile(r"wx[0-9a-f]{16}\Z")
SECRET_PATTERN = re.compile(r"[!-~]{8,128}\Z")

_MAX_BYTES = 1024 * 1024
_MAX_PROBLEMS = 10
_SETTLED_AFTER_SECONDS = 0.1


class InvalidCredentialsFile(ValueError):
    """Raised if the file can't be used; ``problems`` has a sentence for each thing that is wrong with it."""

    def __init__(self, problems: list[str]) -> None:
        left_out = len(problems) - _MAX_PROBLEMS
        self.problems = [*problems[:_MAX_PROBLEMS], *([f"And {left_out} more."] if left_out > 0 else [])]
        super().__init__(" ".join(self.problems))


def read_credentials(path: str) -> Mapping[str, str]:
    """Return the AppSecret of each AppID in the JSON file at ``path``, or raise `InvalidCredentialsFile`."""
    entries = _entries_in(_text_of(path))
    problems = list(_problems_in(entries))
    if problems:
        raise InvalidCredentialsFile(problems)
    return dict(entries)


def fingerprint_of(path: str) -> object | None:
    """Return what is another after each change of the file; None while it is so young that this can't be told.

    A change within the same tick of the kernel's clock leaves the times as they were, and who writes a file in
    place may not be done yet. The ctime is there because new permissions, and `cp -p`, leave the mtime alone.
    """
    try:
        found = os.stat(path)  # noqa: PTH116  # as Path.stat() does, with nothing made on the way
    except OSError as error:
        return type(error).__name__
    if 0 <= time.time() - found.st_ctime < _SETTLED_AFTER_SECONDS:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _text_of(path: str) -> str:
    content = _read_prefix(Path(path))
    if len(content) > _MAX_BYTES:
        raise InvalidCredentialsFile(["Longer than a mebibyte."])
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidCredentialsFile(["Not text in UTF-8."]) from None


def _read_prefix(path: Path) -> bytes:
    try:
        if path.is_file():  # opening a pipe would wait for its other end
            with path.open("rb") as file:
                return file.read(_MAX_BYTES + 1)
    except OSError:
        pass  # the reason's text has the path, which is somebody's secret if it was written in its place
    raise InvalidCredentialsFile(["Not a file that can be read."])


def _entries_in(text: str) -> tuple[tuple[str, Any], ...]:
    """Return the names and values of the outermost object, repeated names and all."""
    try:
        content = json.loads(text, object_pairs_hook=tuple)  # so that an object is a tuple, and an array a list
    except (ValueError, RecursionError):
        raise InvalidCredentialsFile(["Not JSON."]) from None
    if not isinstance(content, tuple):
        raise InvalidCredentialsFile(["Not a JSON object."])
    return content


def _problems_in(entries: tuple[tuple[str, Any], ...]) -> Iterator[str]:
    """Say what is wrong with which entry, by number: a name may be a secret in the wrong place."""
    if not entries:
        yield "No mini-program in it."
    seen = set()
    for number, (appid, secret) in enumerate(entries, 1):
        if not APPID_PATTERN.match(appid):
            yield f"Entry {number}: the name is not an AppID."
        if appid in seen:
            yield f"Entry {number}: the name was there before."
        if not isinstance(secret, str) or not SECRET_PATTERN.match(secret):
            yield f"Entry {number}: the value is not an AppSecret."
        seen.add(appid)
