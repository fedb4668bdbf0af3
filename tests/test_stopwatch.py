"""The stopwatch counts what was waited for, and not what the machine kept for others."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

from tests.servers import PROJECT, clean_environment
from tests.stopwatch import stopwatch

MEASURES = """
import time
from tests.stopwatch import stopwatch

with stopwatch() as seconds:
    started_at = time.monotonic()
    print("started", flush=True)
    input()
    print(time.monotonic() - started_at, seconds())
"""
STOPPED_SECONDS = 0.5


def test_what_is_waited_for_is_counted() -> None:
    with stopwatch() as seconds:
        threading.Event().wait(0.3)

    assert 0.01 < seconds() == seconds()


def test_the_time_in_which_a_process_may_not_run_is_not_counted() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", MEASURES],
        cwd=PROJECT,
        env=clean_environment({}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "started\n"
        os.kill(process.pid, signal.SIGSTOP)
        threading.Event().wait(STOPPED_SECONDS)
        os.kill(process.pid, signal.SIGCONT)
        passed, counted = map(float, process.communicate("go on\n")[0].split())

    assert passed >= STOPPED_SECONDS
    assert counted <= passed - STOPPED_SECONDS + 0.1  # what was left of a tick, and more
