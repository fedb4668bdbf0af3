"""Log lines: JSON for machines, or text for people; a request's id in each, and no secret in any."""

from __future__ import annotations

import logging
import re
import secrets
import sys
from contextvars import ContextVar

from pythonjsonlogger.json import JsonFormatter

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""The id of the request that this context serves."""

is_request_id = re.compile(r"[A-Za-z0-9._:-]{1,64}").fullmatch
"""Whether a text, which a proxy sent as ``X-Request-Id``, is fit to be a request's id."""

user_hash: ContextVar[str | None] = ContextVar("user_hash", default=None)
"""What stands in Redis for the user whom it is known to serve."""


def new_request_id() -> str:
    """Return an id for a request that came without one."""
    return secrets.token_hex(16)


def bind_user(value: str) -> None:
    """Have the lines say, until the request is over, whom it serves."""
    if request_id.get():
        user_hash.set(value)


# How gunicorn says that it can't read a request; what follows is the line or the header.
_REFUSAL = re.compile(r"Invalid request from ip=\S*: [A-Za-z ]*")

_TEXT = "%(asctime)s %(levelname)-7s %(message)s"


def configure_logging(*, level: str, style: str) -> None:
    """Send all logging to stderr, once: ``style`` is ``json`` or ``text``."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_json() if style == "json" else _Text(_TEXT))
    handler.addFilter(_add_context)
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("gunicorn.error").addFilter(_redact_request)


class _Text(logging.Formatter):
    """What happened, then what is known about it, on one line."""

    _USUAL = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}

    def format(self, record: logging.LogRecord) -> str:
        known = {
            name: value for name, value in vars(record).items() if name not in self._USUAL and value is not None
        }
        details = (f"{name}={value}" for name, value in known.items())
        return " ".join([super().format(record), *details]).replace("\n", "\\n")


def _json() -> JsonFormatter:
    return JsonFormatter(
        "%(levelname)s %(name)s %(message)s",
        timestamp="time",
        rename_fields={"levelname": "level", "name": "logger"},
        json_ensure_ascii=True,
    )


def _add_context(record: logging.LogRecord) -> bool:
    for variable in (request_id, user_hash):
        value = variable.get()
        if value and not hasattr(record, variable.name):
            setattr(record, variable.name, value)
    return True


def _redact_request(record: logging.LogRecord) -> bool:
    """Drop what gunicorn quotes of a request: the old client's query holds a secret and a code, a header an id."""
    if refusal := _REFUSAL.match(record.getMessage()):
        record.msg, record.args = refusal[0], ()
    elif isinstance(record.args, tuple):
        record.args = tuple(arg.partition("?")[0] if isinstance(arg, str) else arg for arg in record.args)
    return True
