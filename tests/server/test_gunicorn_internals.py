"""What the worker uses of gunicorn's inside: as known, or named, and then threads answer everything."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from gunicorn import glogging
from gunicorn.http import parser, unreader
from gunicorn.workers import gthread

from tests.conftest import environment
from tests.drivers import MiniProgram, Sandbox, over_http
from tests.servers import RedisServer, gunicorn
from wxlogin.server.gunicorn_internals import find_incompatibilities


def test_the_gunicorn_that_is_installed_is_as_known() -> None:
    assert find_incompatibilities() == []


class WithoutAPoller:
    def __init__(self) -> None:
        self.keepalived_conns = self.max_keepalived = self.method_queue = self.nr_conns = None


CHANGES: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "ThreadWorker.accept": lambda patch: patch.delattr(gthread.ThreadWorker, "accept"),
    "ThreadWorker.enqueue_req": lambda patch: patch.setattr(
        gthread.ThreadWorker, "enqueue_req", lambda self: None
    ),
    "ThreadWorker.poller": lambda patch: patch.setattr(gthread.ThreadWorker, "__init__", WithoutAPoller.__init__),
    "TConn.set_timeout": lambda patch: patch.delattr(gthread, "TConn"),
    "PollableMethodQueue.defer": lambda patch: patch.setattr(
        gthread.PollableMethodQueue, "defer", lambda self, callback: None
    ),
    "SocketUnreader.unread": lambda patch: patch.delattr(unreader.Unreader, "unread"),
    "Parser.unreader": lambda patch: patch.delattr(parser, "Parser"),
    "SocketUnreader.mxchunk": lambda patch: patch.setitem(sys.modules, "gunicorn.http.unreader", None),
    "ThreadWorker.set_accept_enabled": lambda patch: patch.setattr(
        gthread.ThreadWorker, "set_accept_enabled", property(lambda self: None)
    ),
    "ThreadWorker.finish_request": lambda patch: patch.setattr(
        gthread.ThreadWorker, "finish_request", type("Native", (), {"__signature__": "?", "__call__": print})()
    ),
    "Logger.access_log_enabled": lambda patch: patch.delattr(glogging.Logger, "access_log_enabled"),
    "SERVER": lambda patch: patch.delattr("gunicorn.SERVER"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_another_gunicorn_lacks_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    CHANGES[name](monkeypatch)

    assert name in find_incompatibilities()


# As other versions might have it, which gunicorn itself can run with.
ANOTHER_GUNICORN = {
    "ThreadWorker.on_client_socket_readable": """
from gunicorn.workers import gthread
gthread.ThreadWorker.take_in = gthread.ThreadWorker.__dict__["on_client_socket_readable"]
del gthread.ThreadWorker.on_client_socket_readable
gthread.ThreadWorker.__getattr__ = lambda self, name: (
    self.take_in if name == "on_client_socket_readable" else object.__getattribute__(self, name))
""",
    "ThreadWorker.accept": """
import gunicorn.workers
from gunicorn.workers import gthread
gthread.ThreadedWorker = gthread.ThreadWorker
del gthread.ThreadWorker
gunicorn.workers.SUPPORTED_WORKERS["gthread"] = "gunicorn.workers.gthread.ThreadedWorker"
""",
}


@pytest.mark.parametrize("name", ANOTHER_GUNICORN)
def test_on_a_gunicorn_that_is_not_as_known_threads_answer_everything_and_the_log_says_so(
    the_redis_server: RedisServer, the_sandbox: Sandbox, sandbox: Sandbox, tmp_path: Path, name: str
) -> None:
    config = tmp_path / "another_gunicorn.py"
    config.write_text(
        ANOTHER_GUNICORN[name]
        + "from wxlogin.server.gunicorn_config import gunicorn_config\nglobals().update(gunicorn_config())\n"
    )
    told = environment(redis_url=the_redis_server.url, wechat_api_url=the_sandbox.url)

    with gunicorn(tmp_path, told, options=("--config", str(config))) as service:
        user = MiniProgram(over_http(service.url), sandbox)
        user.log_in()

        assert [user.get("/auth").status for _ in range(3)] == [204, 204, 204]
        assert "threads answer every check: this gunicorn is not as known" in service.log
        assert name in service.log
