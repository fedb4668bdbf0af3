"""The service's own configuration of gunicorn, for others: all but the hook that looks at the application."""

from pathlib import Path
from typing import Any

exec((Path(__file__).parents[2] / "gunicorn.conf.py").read_text())  # noqa: S102  # our own file


def post_worker_init(worker: Any) -> None:
    """Do nothing."""
