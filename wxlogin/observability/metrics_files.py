"""Where the workers of one gunicorn put their metrics together: a folder in memory, a new one for each master.

Importing this module does not import prometheus_client: that looks for the folder when it is imported, and never
again.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import functools
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

logger = logging.getLogger(__name__)

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Where prometheus_client looks: https://prometheus.github.io/client_python/multiprocess/"""

_MEMORY = Path("/dev/shm")  # noqa: S108  # the folder in it is ours alone
_PREFIX = "wxlogin-metrics-"
_SETTLED_SECONDS = 60
_TOTAL = "dead"  # in place of a process id

_unmerged: set[int] = set()


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
    (folder / "lock").touch()
    fcntl.flock(os.open(folder, os.O_RDONLY), fcntl.LOCK_EX)  # held, by whoever we fork too, until all have ended
    os.environ[VARIABLE] = str(folder)
    atexit.register(_remove, folder, of_process=os.getpid())
    return folder


@contextlib.contextmanager
def read_lock(folder: Path) -> Iterator[None]:
    """Keep the counts of dead workers from being merged: half way, they would be counted twice or not at all."""
    with _locked(folder, fcntl.LOCK_SH):
        yield


@contextlib.contextmanager
def try_merge_lock(folder: Path) -> Iterator[bool]:
    """Keep others from reading; give False, at once, if another process reads."""
    try:
        with _locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB):
            yield True
    except BlockingIOError:
        yield False


def merge_dead_worker(pid: int, folder: Path) -> None:
    """Add what the process counted to what earlier ones did; or, while somebody reads, when the next worker ends.

    Counters must not fall when a worker ends, but prometheus_client never removes the files of a dead process, and
    after a while most are dead. So the master adds them up in files of its own. It must not fail at that, or all
    workers end.
    """
    try:
        from prometheus_client.multiprocess import mark_process_dead

        mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]
        _unmerged.add(pid)
        with try_merge_lock(folder) as is_ours:
            if is_ours:
                _merge_all(folder)
    except Exception:  # see above
        logger.exception("the metrics of worker %s are not added up", pid)


def _merge_all(folder: Path) -> None:
    while _unmerged:
        for path in folder.glob(f"*_{_unmerged.pop()}.db"):
            kind = path.name.rpartition("_")[0]
            try:
                _merge(path, folder / f"{kind}_{_TOTAL}.db", max if kind == "gauge_max" else _sum)
            finally:
                path.unlink()  # whatever is in it: of a file that can't be read, all metrics would suffer


def _merge(source: Path, target: Path, join: Callable[[float, float], float]) -> None:
    from prometheus_client.mmap_dict import MmapedDict

    counted = [*MmapedDict.read_all_values_from_file(str(source))]  # type: ignore[no-untyped-call]
    total = MmapedDict(str(target))  # type: ignore[no-untyped-call]
    try:
        for key, value, timestamp, _ in counted:
            known, _ = total.read_value(key)  # type: ignore[no-untyped-call]
            total.write_value(key, join(known, value), timestamp)  # type: ignore[no-untyped-call]
    finally:
        total.close()  # type: ignore[no-untyped-call]


def _sum(one: float, other: float) -> float:
    return one + other


@contextlib.contextmanager
def _locked(folder: Path, how: int) -> Iterator[None]:
    file = os.open(folder / "lock", os.O_RDONLY | os.O_CREAT, 0o644)
    try:
        fcntl.flock(file, how)
        yield
    finally:
        os.close(file)


def _parent() -> Path:
    """Return where files never wait for a disk, if there is such a place."""
    return _MEMORY if os.access(_MEMORY, os.W_OK) else Path(tempfile.gettempdir())


def _sweep(parent: Path) -> None:
    """Remove the folders that nobody holds any more; one that was made just now may not be held yet."""
    for folder in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # another user's, or swept by another process meanwhile
            if time.time() - folder.stat().st_mtime > _SETTLED_SECONDS and not _is_held(folder):
                shutil.rmtree(folder)


def _is_held(folder: Path) -> bool:
    file = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


def _remove(folder: Path, *, of_process: int) -> None:
    if os.getpid() == of_process:  # those we forked end as well, and leave it to us
        shutil.rmtree(folder, ignore_errors=True)
