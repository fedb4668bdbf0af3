"""What ``gunicorn wsgi:app`` runs with; every value can be overridden on its command line.

It is read when gunicorn starts and at each HUP, in the master.
"""

import itertools
import os
import resource
import time
from pathlib import Path
from typing import Any

from wxlogin import metrics_folder, startup

_metrics = metrics_folder.prepare()  # before prometheus_client is imported

from wxlogin.app import warn_of_eviction  # noqa: E402  # imported before the workers fork, so that they share it
from wxlogin.dead_workers import bury  # noqa: E402
from wxlogin.processors import usable_processors  # noqa: E402
from wxlogin.settings import InvalidSettings  # noqa: E402
from wxlogin.worker import Worker  # noqa: E402

_BOOT_PAUSE_SECONDS = 1
_SPARE_FILES = 128  # for what a worker opens besides its clients' connections


def _most_connections() -> int:
    """Return how many clients a worker may have: it ends when it has no file descriptor left for one more."""
    soft_limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = 1000 if soft_limit == resource.RLIM_INFINITY else min(1000, soft_limit - _SPARE_FILES)
    return max(threads + 1, most)


try:
    _problems = startup.shared.read_again()
except InvalidSettings as error:  # when gunicorn starts
    raise SystemExit(str(error)) from None

bind = "127.0.0.1:8000"
worker_class = "wxlogin.worker.Worker"  # gthread, but for what it answers at once, and how it stops
# Two at least: while one that died is replaced, the other serves.
workers = int(os.environ.get("WEB_CONCURRENCY", max(2, usable_processors())))
# What the service was told, because it shares its threads out: some may wait for WeChat, some not.
threads = startup.shared.current().settings.threads
worker_connections = _most_connections()
keepalive = 75  # longer than a proxy keeps its connections, so that none is closed under a request
graceful_timeout = 10  # longer than any request takes
timeout = 30  # of a worker that doesn't show that it is alive; longer than any stop takes
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108  # heartbeats never wait for a disk
control_socket_disable = True
limit_request_line = 4094
limit_request_fields = 100
limit_request_field_size = 8190
# What says how the client came to the proxy (X-Forwarded-Proto and the like, SCRIPT_NAME) is heeded from nobody:
# nothing here depends on it. X-Forwarded-For is the service's, see WXLOGIN_TRUSTED_PROXIES.
forwarded_allow_ips = ""
forwarder_headers = ""
secure_scheme_headers: dict[str, str] = {}
# Without the query (%(q)s, %(r)s): the old client's has an app secret and a code in it.
access_log_format = '%(h)s "%(m)s %(U)s" %(s)s %(b)s %(M)sms'

_forks = itertools.count()


def on_starting(server: Any) -> None:
    """Let the workers write their metrics, whoever they are to run as."""
    os.chown(_metrics, server.cfg.uid, server.cfg.gid)


def child_exit(server: Any, worker: Any) -> None:
    """Keep what a worker counted, however it ended."""
    bury(worker.pid, _metrics)


def on_reload(server: Any) -> None:
    """Say so if a HUP changes nothing: a service that runs must not end because of a bad file."""
    for problem in _problems:
        server.log.error("the settings can't be used and stay as they were: %s", problem)


def pre_fork(server: Any, worker: Any) -> None:
    """Choose the worker that asks what the others need not ask again: the first since the start or the HUP."""
    worker.is_first = next(_forks) == 0


def post_worker_init(worker: Any) -> None:
    """Let each worker answer without a thread what it can, and one look at what needs a look."""
    if isinstance(worker, Worker):  # --worker-class may say otherwise
        worker.answer_at_once(worker.wsgi.wsgi_app)
    if worker.is_first:
        warn_of_eviction(worker.wsgi)


def worker_exit(server: Any, worker: Any) -> None:
    """Let a worker that couldn't boot be replaced after a pause.

    By its exit status gunicorn would end the whole service, the workers that serve included. That is right for the
    workers that it starts with: they will not boot the next time either.
    """
    if not worker.booted and worker.age > server.cfg.workers:
        worker.log.error("a worker could not start: another is tried")
        time.sleep(_BOOT_PAUSE_SECONDS)
        raise SystemExit(1)
