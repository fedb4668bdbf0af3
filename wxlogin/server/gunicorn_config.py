"""What gunicorn runs with: ``gunicorn.conf.py`` has no more than a call of this."""

from __future__ import annotations

import importlib
import itertools
import os
import resource
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flask import Flask

from wxlogin.config import snapshot
from wxlogin.config.settings import InvalidSettings
from wxlogin.observability import metrics_files
from wxlogin.server import gunicorn_internals
from wxlogin.server.cpu_count import usable_processors

GRACEFUL_TIMEOUT_SECONDS = 10  # longer than any request takes

_BOOT_PAUSE_SECONDS = 1
_SPARE_FILES = 128  # for what a worker opens besides its clients' connections
_MEMORY = Path("/dev/shm")  # noqa: S108  # heartbeats in it never wait for a disk


def gunicorn_config() -> dict[str, Any]:
    """Return the settings and hooks of gunicorn, by name; its command line overrides each of them.

    It is called in the master, when gunicorn starts and at each HUP. Raises `SystemExit`, with a text, if the
    service can't start with its settings.
    """
    folder = metrics_files.prepare()  # before prometheus_client is imported
    _preload()
    problems = _read_settings()
    # What the service was told, because it shares its threads out: some may wait for WeChat, some not.
    threads = snapshot.shared.current().settings.threads
    unknown = gunicorn_internals.find_incompatibilities()
    return {
        **_settings(threads),
        "worker_class": _worker_class(unknown),
        **_Hooks(folder, problems, unknown).by_name(),
    }


def _preload() -> None:
    """Import what the workers run: they share its memory, and start with it if the files on disk have changed."""
    importlib.import_module("wxlogin.web.app")


def _read_settings() -> Sequence[str]:
    """Return what is wrong with settings that are not taken, because those before them were good."""
    try:
        return snapshot.shared.reload()
    except InvalidSettings as error:  # when gunicorn starts
        raise SystemExit(str(error)) from None


def _settings(threads: int) -> dict[str, Any]:
    return {
        "bind": "127.0.0.1:8000",
        # Two at least: while one that died is replaced, the other serves.
        "workers": int(os.environ.get("WEB_CONCURRENCY", max(2, usable_processors()))),
        "threads": threads,
        "worker_connections": _max_connections(threads),
        "keepalive": 75,  # longer than a proxy keeps its connections, so that none is closed under a request
        "graceful_timeout": GRACEFUL_TIMEOUT_SECONDS,
        "timeout": 30,  # of a worker that doesn't show that it is alive; longer than any stop takes
        "worker_tmp_dir": str(_MEMORY) if _MEMORY.is_dir() else None,
        "control_socket_disable": True,
        "limit_request_line": 4094,
        "limit_request_fields": 100,
        "limit_request_field_size": 8190,
        # What says how the client came to the proxy (X-Forwarded-Proto and the like, SCRIPT_NAME) is heeded from
        # nobody: nothing here depends on it. X-Forwarded-For is the service's, see WXLOGIN_TRUSTED_PROXIES.
        "forwarded_allow_ips": "",
        "forwarder_headers": "",
        "secure_scheme_headers": {},
        # Without the query (%(q)s, %(r)s): the old client's has an app secret and a code in it.
        "access_log_format": '%(h)s "%(m)s %(U)s" %(s)s %(b)s %(M)sms',
    }


def _worker_class(unknown: Sequence[str]) -> str:
    """Return ours: gthread, but for what it answers without a thread, and how it ends; or gthread itself."""
    return "gthread" if unknown else "wxlogin.server.worker.Worker"


def _max_connections(threads: int) -> int:
    """Return how many clients a worker may have: it ends when it has no file descriptor left for one more."""
    soft_limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    spare = 1000 if soft_limit == resource.RLIM_INFINITY else min(1000, soft_limit - _SPARE_FILES)
    return max(threads + 1, spare)


class _Hooks:
    """What gunicorn calls, by gunicorn's names; https://gunicorn.org/reference/settings/#server-hooks."""

    def __init__(self, folder: Path, problems: Sequence[str], unknown: Sequence[str]) -> None:
        self._folder = folder
        self._problems = problems
        self._unknown = unknown
        self._forks = itertools.count()

    def by_name(self) -> dict[str, Any]:
        """Return the hooks as settings."""
        names = ("on_starting", "on_reload", "pre_fork", "post_worker_init", "worker_exit")
        return {name: getattr(self, name) for name in names}

    def on_starting(self, server: Any) -> None:
        """Let the workers write their metrics, whoever they run as, and warn if they are gunicorn's own kind."""
        os.chown(self._folder, server.cfg.uid, server.cfg.gid)
        if self._unknown:
            names = ", ".join(self._unknown)
            server.log.warning("threads answer every check: this gunicorn is not as known (%s)", names)

    def on_reload(self, server: Any) -> None:
        """Say so if a HUP changes nothing: a service that runs must not end because of a bad file."""
        for problem in self._problems:
            server.log.error("the settings can't be used and stay as they were: %s", problem)

    def pre_fork(self, server: Any, worker: Any) -> None:
        """Choose the worker that asks what the others need not ask again: the first since the start or the HUP."""
        worker.is_first = next(self._forks) == 0

    def post_worker_init(self, worker: Any) -> None:
        """Let each worker answer without a thread what it can, and one look at what needs a look."""
        if use_fast_path := getattr(worker, "use_fast_path", None):  # --worker-class may say otherwise
            use_fast_path(worker.wsgi.wsgi_app)
        if worker.is_first:
            warn_of_eviction(worker.wsgi)

    def worker_exit(self, server: Any, worker: Any) -> None:
        """Let a worker that couldn't boot be replaced after a pause.

        By its exit status gunicorn would end the whole service, the workers that serve included. That is right for
        the workers that it starts with: they will not boot the next time either.
        """
        if not worker.booted and worker.age > server.cfg.workers:
            worker.log.error("a worker could not start: another is tried")
            time.sleep(_BOOT_PAUSE_SECONDS)
            raise SystemExit(1)


def warn_of_eviction(app: Flask) -> None:
    """Have the log warned, in a while, if Redis would throw sessions away; a silent one keeps nobody waiting."""
    from wxlogin.services import Services

    services = Services.of(app)
    if services.settings.redis_url != "memory://":
        threading.Thread(target=services.health.warn_of_eviction, name="warn-of-eviction", daemon=True).start()
