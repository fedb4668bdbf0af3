"""How many processors may be used, as the kernel's files tell it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from wxlogin.server.cpu_count import usable_processors


@pytest.fixture(autouse=True)
def _sixteen_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(16)))


def machine(root: Path, cgroups: str, files: Mapping[str, str]) -> Path:
    """Lay out what the kernel would show."""
    for name, text in {"proc/self/cgroup": cgroups, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_without_cgroups_it_is_what_the_scheduler_allows(tmp_path: Path) -> None:
    assert usable_processors(tmp_path) == 16


def test_where_the_scheduler_cannot_be_asked_it_is_what_the_machine_has(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 5)

    assert usable_processors(tmp_path) == 5


@pytest.mark.parametrize(
    ("quota", "processors"),
    [
        ("max 100000\n", 16),
        ("200000 100000\n", 2),
        ("150000 100000\n", 2),
        ("50000 100000\n", 1),
        ("0 100000\n", 1),
        ("6400000 100000\n", 16),
        ("100000 0\n", 16),
        ("", 16),
    ],
)
def test_a_containers_quota_counts(tmp_path: Path, quota: str, processors: int) -> None:
    root = machine(tmp_path, "0::/\n", {"sys/fs/cgroup/cpu.max": quota})

    assert usable_processors(root) == processors


def test_the_smallest_quota_on_the_way_up_counts(tmp_path: Path) -> None:
    files = {
        "sys/fs/cgroup/system.slice/wxlogin.service/cpu.max": "800000 100000\n",
        "sys/fs/cgroup/system.slice/cpu.max": "300000 100000\n",
    }

    assert usable_processors(machine(tmp_path, "0::/system.slice/wxlogin.service\n", files)) == 3


@pytest.mark.parametrize(("quota", "processors"), [("-1\n", 16), ("250000\n", 3)])
def test_the_old_cgroups_quota_counts_too(tmp_path: Path, quota: str, processors: int) -> None:
    cgroups = "5:memory:/docker/1234\n4:cpu,cpuacct:/docker/1234\n0::/docker/1234\n"
    files = {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": quota, "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"}

    assert usable_processors(machine(tmp_path, cgroups, files)) == processors
