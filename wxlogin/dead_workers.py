"""What workers counted before they ended: kept, because a counter must not fall, but in as many files as ever.

prometheus_client has files for each process and never removes those of a dead one, which all workers are after a
while. So the master adds their counts up in files of their own. It must not fail at that, or all workers end.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import mark_process_dead

from wxlogin import metrics_folder

logger = logging.getLogger(__name__)

_HEIR = "dead"  # in place of a process id

_unburied: set[int] = set()


def bury(pid: int, folder: Path) -> None:
    """Add what the process counted to what others did, now or, if somebody reads it, when the next one ends."""
    try:
        mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]
        _unburied.add(pid)
        with metrics_folder.being_moved(folder) as is_ours:
            if is_ours:
                _bury_all(folder)
    except Exception:  # see above
        logger.exception("the metrics of worker %s are not added up", pid)


def _bury_all(folder: Path) -> None:
    while _unburied:
        for path in folder.glob(f"*_{_unburied.pop()}.db"):
            kind = path.name.rpartition("_")[0]
            try:
                _merge(path, folder / f"{kind}_{_HEIR}.db", max if kind == "gauge_max" else _sum)
            finally:
                path.unlink()  # whatever is in it: of a file that can't be read, all metrics would suffer


def _merge(source: Path, target: Path, join: Callable[[float, float], float]) -> None:
    estate = [*MmapedDict.read_all_values_from_file(str(source))]  # type: ignore[no-untyped-call]
    heir = MmapedDict(str(target))  # type: ignore[no-untyped-call]
    try:
        for key, value, timestamp, _ in estate:
            known, _ = heir.read_value(key)  # type: ignore[no-untyped-call]
            heir.write_value(key, join(known, value), timestamp)  # type: ignore[no-untyped-call]
    finally:
        heir.close()  # type: ignore[no-untyped-call]


def _sum(one: float, other: float) -> float:
    return one + other
