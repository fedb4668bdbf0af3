"""How many processors this process may use: in a container or under systemd, fewer than the machine has."""

from __future__ import annotations

import contextlib
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path

_QUOTA = re.compile(r"([0-9]+)\s+([0-9]+)\s*")


def usable_processors(root: Path = Path("/")) -> int:
    """Return how many processors the scheduler lets this process use and its cgroups pay for, rounded up."""
    ours = getattr(os, "sched_getaffinity", lambda _: range(os.cpu_count() or 1))(0)  # not on every POSIX system
    return max(1, min([len(ours), *(math.ceil(quota) for quota in _quotas(root))]))


def _quotas(root: Path) -> Iterator[float]:
    """Give the quotas, in processors, of our cgroup and those around it; none is no quota.

    https://docs.kernel.org/admin-guide/cgroup-v2.html#cpu-interface-files
    https://docs.kernel.org/scheduler/sched-bwc.html#management, for version 1
    """
    for line in _text_of(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            yield from _quotas_in(root / "sys/fs/cgroup", path, "cpu.max")
        elif "cpu" in controllers.split(","):
            yield from _quotas_in(root / "sys/fs/cgroup/cpu", path, "cpu.cfs_quota_us", "cpu.cfs_period_us")


def _quotas_in(mount: Path, path: str, *names: str) -> Iterator[float]:
    for place in (Path(path), *Path(path).parents):
        folder = mount / place.relative_to("/")
        quota = _QUOTA.fullmatch(" ".join(_text_of(folder / name) for name in names))
        if quota and int(quota[2]):
            yield int(quota[1]) / int(quota[2])


def _text_of(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text(encoding="ascii")
    return ""
