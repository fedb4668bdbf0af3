"""Where the workers of one gunicorn put their metrics together: a folder in memory, a new one for each master.

Importing this module does not import prometheus_client: that looks for the folder when it is imported, and never
again.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import functools
import itertools
import logging
import os
import shutil
import tempfile
import time
from pathlib import Path

logger = logging.getLogger(__name__)

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Where prometheus_client looks: https://prometheus.github.io/client_python/multiprocess/"""

_MEMORY = Path("/dev/shm")  # noqa: S108  # the folder in it is ours alone
_PREFIX = "wxlogin-metrics-"
_SETTLED_SECONDS = 60


def current() -> Path | None:
    """Return the folder that the processes of this service share, or None if there is one process only."""
    folder = os.environ.get(VARIABLE)
    return Path(folder) if folder else None


@functools.cache
def prepare() -> Path:
    """Make an empty folder for this process and those it forks; once, though a HUP has it called again.

    It goes when this process ends; what a process left that was killed goes when the next one starts.
    """
    parent = _parent()
    _sweep(parent)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
    fcntl.flock(os.open(folder, os.O_RDONLY), fcntl.LOCK_EX)  # held, by whoever we fork too, until all have ended
    os.environ[VARIABLE] = str(folder)
    _use_slots(folder)
    atexit.register(_remove, folder, of_process=os.getpid())
    return folder


def _use_slots(folder: Path) -> None:
    from prometheus_client import values  # which looks for the folder now

    values.ValueClass = values.MultiProcessValue(_Slot(folder))  # type: ignore[no-untyped-call]


def live_files(folder: Path) -> list[str]:
    """Return the files to add up: of gauges of what there is now, those of processes that live."""
    return [str(path) for path in folder.glob("*.db") if _has_content(path) and _counts(path)]


def _has_content(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except FileNotFoundError:  # another process removes what an ended one left
        return False


def _counts(path: Path) -> bool:
    kind, _, slot = path.stem.rpartition("_")
    return not kind.startswith("gauge_live") or _is_held(path.with_name(f"slot_{slot}"))


class _Slot:
    """The number in the names of this process's files: no two processes that live have the same.

    By process id, files would grow in number with each worker that ends, and counts have to be added up for it. A
    worker with the slot of one that has ended goes on with its files, and its counts. The kernel keeps the lock on
    a slot until its process ends, in whichever way.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pid = self._number = -1

    def __call__(self) -> int:
        """Return the number; after a fork, the child gets its own."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._number = next(number for number in itertools.count() if self._take(number))
            self._clean_up()
        return self._number

    def _take(self, number: int) -> bool:
        try:
            file = os.open(self._folder / f"slot_{number}", os.O_RDWR | os.O_CREAT, 0o644)
        except PermissionError:  # of the master, which is root
            return False
        return _try_lock(file, fcntl.LOCK_EX)

    def _clean_up(self) -> None:
        """Remove the gauges of what there was, and what can't be read: all metrics would suffer from it."""
        for path in self._folder.glob(f"*_{self._number}.db"):
            if path.name.startswith("gauge_live") or (_has_content(path) and not _is_readable(path)):
                path.unlink()


def _is_readable(path: Path) -> bool:
    from prometheus_client.mmap_dict import MmapedDict

    try:
        return bool([*MmapedDict.read_all_values_from_file(str(path))])  # type: ignore[no-untyped-call]
    except Exception:  # of any kind: it is somebody else's format
        logger.exception("the counts in %s can't be read and are lost", path.name)
        return False


def _parent() -> Path:
    """Return where files never wait for a disk, if there is such a place."""
    return _MEMORY if os.access(_MEMORY, os.W_OK) else Path(tempfile.gettempdir())


def _sweep(parent: Path) -> None:
    """Remove the folders that nobody holds any more; one that was made just now may not be held yet."""
    for folder in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # another user's, or swept by another process meanwhile
            if time.time() - folder.stat().st_mtime > _SETTLED_SECONDS and not _is_held(folder):
                shutil.rmtree(folder)


def _is_held(path: Path) -> bool:
    file = os.open(path, os.O_RDONLY)
    if is_free := _try_lock(file, fcntl.LOCK_SH):
        os.close(file)
    return not is_free


def _try_lock(file: int, kind: int) -> bool:
    """Lock an open file until it is closed; if another process has locked it, close it and return False."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return False
    return True


def _remove(folder: Path, *, of_process: int) -> None:
    if os.getpid() == of_process:  # those we forked end as well, and leave it to us
        shutil.rmtree(folder, ignore_errors=True)
