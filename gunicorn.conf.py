"""What ``gunicorn wsgi:app`` runs with; every value can be overridden on its command line."""

import multiprocessing
import os
from pathlib import Path
from typing import Any

from wxlogin import settings
from wxlogin.app import from_environment  # noqa: F401  # imported before the workers fork, so that they share it

bind = "127.0.0.1:8000"
worker_class = "gthread"
workers = int(os.environ.get("WEB_CONCURRENCY", multiprocessing.cpu_count()))
threads = 8
keepalive = 75  # longer than a proxy keeps its connections, so that none is closed under a request
graceful_timeout = 10  # longer than any request takes
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108  # heartbeats never wait for a disk
control_socket_disable = True
limit_request_line = 4094
limit_request_fields = 100
limit_request_field_size = 8190
# Without the query (%(q)s, %(r)s): the old client's has an app secret and a code in it.
access_log_format = '%(h)s "%(m)s %(U)s" %(s)s %(b)s %(M)sms'


def on_starting(server: Any) -> None:
    """Refuse to start with settings that can't work, before any worker tries."""
    try:
        settings.load()
    except settings.InvalidSettings as error:
        raise SystemExit(str(error)) from None
