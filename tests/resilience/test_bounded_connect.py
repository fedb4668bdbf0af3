"""Connections that come about in time, or not at all."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading

import pytest

from tests.servers import PROJECT, TIMEOUT_SECONDS, clean_environment
from wxlogin.resilience.bounded_connect import BoundedConnector


def connector() -> BoundedConnector:
    return BoundedConnector(thread_name="connect")


def test_what_is_connected_in_time_is_returned() -> None:
    one, other = socket.socketpair()
    with one, other:
        assert connector().connect(lambda: one, timeout_seconds=TIMEOUT_SECONDS) is one


def test_what_fails_is_raised() -> None:
    def fail() -> socket.socket:
        raise ConnectionRefusedError

    with pytest.raises(ConnectionRefusedError):
        connector().connect(fail, timeout_seconds=TIMEOUT_SECONDS)


def test_beyond_eight_at_once_nobody_waits_longer_than_agreed_and_then_all_goes_on() -> None:
    over, bounded = threading.Event(), connector()
    made = [socket.socketpair() for _ in range(8)]
    left = iter([one for one, _ in made])

    def hang() -> socket.socket:
        over.wait()
        return next(left)

    for _ in range(9):
        with pytest.raises(TimeoutError):
            bounded.connect(hang, timeout_seconds=0.01)
    over.set()
    one, other = socket.socketpair()

    with one, other:
        assert bounded.connect(lambda: one, timeout_seconds=TIMEOUT_SECONDS) is one
    for late, peer in made:
        with peer:
            peer.settimeout(TIMEOUT_SECONDS)
            assert peer.recv(1) == b""  # what came about too late was closed
        late.close()


def test_without_threads_there_are_no_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    bounded = connector()
    with monkeypatch.context() as changed:
        changed.setattr(threading.Thread, "start", refuse)
        for _ in range(9):
            with pytest.raises(OSError, match="can't start new thread"):
                bounded.connect(socket.socket, timeout_seconds=TIMEOUT_SECONDS)

    bounded.connect(socket.socket, timeout_seconds=TIMEOUT_SECONDS).close()


def test_a_process_that_ends_does_not_wait_for_a_connection() -> None:
    program = """
import threading
from wxlogin.resilience.bounded_connect import BoundedConnector

try:
    BoundedConnector(thread_name="connect").connect(threading.Event().wait, timeout_seconds=0.01)
except TimeoutError:
    print("too late")
"""
    ended = subprocess.run(
        [sys.executable, "-c", program],
        cwd=PROJECT,
        env=clean_environment({}),
        stdout=subprocess.PIPE,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=True,
    )

    assert ended.stdout == "too late\n"
