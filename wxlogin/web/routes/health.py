"""``/healthz`` and ``/readyz``: is the process alive, and can it serve."""

from __future__ import annotations

import functools
from typing import Annotated

import msgspec
from flask import current_app

from wxlogin.services import Services
from wxlogin.storage.gateway import StoreUnavailable
from wxlogin.web.routing import COMMON_ERRORS, Answer, Operation, Routes

blueprint = Routes("health")


class Status(Answer):
    """That all is well."""

    status: Annotated[str, msgspec.Meta(examples=["ok"], extra_json_schema={"enum": ["ok"]})]


_RUNNING = functools.partial(Operation, tag="Running the service", answers=Status)


@blueprint.route_of("GET", "/healthz", _RUNNING(says="It is alive."))
def is_alive() -> Status:
    """Answer, and ask nobody: restarting this process mends nothing that is wrong elsewhere."""
    return Status(status="ok")


@blueprint.route_of(
    "GET", "/readyz", _RUNNING(says="Sessions can be checked.", raises=(*COMMON_ERRORS, StoreUnavailable))
)
def is_ready() -> Status:
    """Answer 200 if sessions can be checked, and 503 while the store does not let us."""
    Services.of(current_app).health.check_readable()
    return Status(status="ok")
