"""The service's own configuration of gunicorn, for others: only the hook that knows the service is another."""

from pathlib import Path
from typing import Any

exec((Path(__file__).parents[2] / "gunicorn.conf.py").read_text())  # noqa: S102  # our own file


def post_worker_init(worker: Any) -> None:
    """Have what can be answered without a thread answered so."""
    if hasattr(worker.wsgi, "take"):
        worker.answer_at_once(worker.wsgi)
