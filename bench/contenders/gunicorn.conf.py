"""The service's own configuration of gunicorn, for others: only the hook that knows the service is another."""

from typing import Any

from wxlogin.server.gunicorn_config import gunicorn_config

globals().update(gunicorn_config())


def post_worker_init(worker: Any) -> None:
    """Have what can be answered without a thread answered so."""
    if hasattr(worker.wsgi, "try_answer"):
        worker.use_fast_path(worker.wsgi)
