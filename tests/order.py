"""Tests run in a random order; each process says which files it ran, in which order, and ``--replay`` repeats it.

pytest-randomly draws the order, of files and within each, from one seed. Which process gets which file depends on
how long others took, so that the seed alone does not tell what ran before a test that failed.
"""

from __future__ import annotations

import random
import shlex
from dataclasses import dataclass

import pytest

_FOLDER, _SUFFIX = "tests/", ".py"


@dataclass(frozen=True, slots=True)
class Replay:
    """What one process ran: the seed, the expression that selected tests by their marks, the files in order."""

    seed: int
    marks: str
    files: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Replay:
        """Read what `__str__` wrote; raise ValueError if it did not."""
        seed, marks, files = text.split(":")
        return cls(int(seed), marks, tuple(f"{_FOLDER}{name}{_SUFFIX}" for name in files.split(",")))

    def __str__(self) -> str:
        names = (file.removeprefix(_FOLDER).removesuffix(_SUFFIX) for file in self.files)
        return f"{self.seed}:{self.marks}:{','.join(names)}"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--replay",
        type=Replay.parse,
        metavar="SEED:MARKS:FILES",
        help="run what a process of an earlier run printed: these files, in this order, with this seed",
    )


@pytest.hookimpl(tryfirst=True)  # before the plugins that read these options
def pytest_configure(config: pytest.Config) -> None:
    """Have Hypothesis draw from the seed of the order, which pytest-xdist's processes are told."""
    workerinput = getattr(config, "workerinput", None)
    if workerinput is None:
        _choose_seed(config)
        config.pluginmanager.register(_FilesRun())
    seed = workerinput["randomly_seed"] if workerinput else config.option.randomly_seed
    if config.option.hypothesis_seed is None:
        config.option.hypothesis_seed = seed


def _choose_seed(config: pytest.Config) -> None:
    replay = config.option.replay
    if replay and config.option.numprocesses:
        raise pytest.UsageError("--replay runs in one process: leave --numprocesses out")
    if replay:
        config.option.randomly_seed, config.option.markexpr = replay.seed, replay.marks
    elif config.option.randomly_seed == "default":
        config.option.randomly_seed = random.Random().getrandbits(32)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Select the files of the replay and put them in its order; within each, the seed has decided.

    All files were imported, as each process does: what Hypothesis tries depends on it.
    """
    if config.option.replay:
        items[:] = _in_order(items, config.option.replay.files)


def _in_order(items: list[pytest.Item], files: tuple[str, ...]) -> list[pytest.Item]:
    by_file: dict[str, list[pytest.Item]] = {file: [] for file in files}
    for item in items:
        by_file.setdefault(_file_of(item.nodeid), []).append(item)
    if empty := [file for file in files if not by_file[file]]:
        raise pytest.UsageError(f"--replay: no tests in {', '.join(empty)}")
    return [item for file in files for item in by_file[file]]


class _FilesRun:
    """The files that each process ran, in the order of their first tests."""

    def __init__(self) -> None:
        self._files: dict[str, dict[str, None]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        worker = getattr(report, "node", None)  # pytest-xdist's
        process = worker.gateway.id if worker else "this process"
        self._files.setdefault(process, {})[_file_of(report.nodeid)] = None

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
        terminalreporter.section("files in the order of each process")
        for process, files in sorted(self._files.items()):
            replay = Replay(config.option.randomly_seed, config.option.markexpr, tuple(files))
            terminalreporter.line(f"{process}: --replay={shlex.quote(str(replay))}")


def _file_of(nodeid: str) -> str:
    return nodeid.partition("::")[0]
