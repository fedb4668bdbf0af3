"""The application of ``wxlogin dev``, which gunicorn loads in a process of its own."""

from __future__ import annotations

import functools

from flask import Flask

from wxlogin.cli.dev.redis_trace import Reporter, traced
from wxlogin.web.app import from_environment


def create_dev_app(*, simulator_url: str) -> Flask:
    """Return the service to develop with: it has ``/docs``, and tells the simulator what it asks Redis.

    No setting does that, so that no environment of a production service can.
    """
    return from_environment(watch=functools.partial(traced, emit=Reporter(simulator_url).enqueue), with_docs=True)
