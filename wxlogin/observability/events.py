"""What an auditor looks for: each event is a line in the log, named by its ``event``.

docs/operations.md has the same list. Whose session it is about is told by the hash that Redis keys have.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

logger = logging.getLogger(__name__)
logger.setLevel(logging.WARNING)  # of its own: WXLOGIN_LOG_LEVEL=ERROR does not silence what operators do

EVENTS: dict[str, tuple[int, str]] = {
    "login": (logging.INFO, "logged in"),
    "login_replayed": (logging.INFO, "a code came again, and was given the same session"),
    "logout": (logging.INFO, "logged out: %s"),
    "rate_limit_exceeded": (logging.INFO, "over a limit"),
    "user_data_decryption_failed": (logging.INFO, "data did not decrypt to what WeChat would send this user"),
    "user_data_unknown": (logging.WARNING, "user data has none of the fields that this service knows"),
    "cross_site_request_blocked": (logging.INFO, "a page of another site tried to log in"),
    "user_blocked": (logging.WARNING, "WeChat blocks a user's login"),
    "app_secret_exposed_by_client": (
        logging.WARNING,
        "a client sends an app secret to /getOpenid: take it out of the mini-program, and reset it at "
        "mp.weixin.qq.com, because whoever has the mini-program has it",
    ),
    "session_record_invalid": (logging.WARNING, "a session's record is not ours, or was tampered with: %s"),
    "access_token_record_invalid": (
        logging.WARNING,
        "an access_token in Redis is not ours, or was tampered with: it is dropped",
    ),
    "admin_action": (logging.WARNING, "audit: %s"),
    "admin_auth_failed": (logging.WARNING, "somebody without the operators' token was refused"),
    "admin_auth_throttled": (logging.WARNING, "somebody who guesses at the operators' token has to wait"),
    "credentials_rejected": (logging.ERROR, "WeChat does not accept this service's credentials"),
}


def emit(event: str, *words: object, by: logging.Logger, **details: object) -> None:
    """Log an event; ``words`` go into its message, ``details`` are fields beside it."""
    level, message = EVENTS[event]
    by.log(level, message, *words, extra={"event": event, **details})


def log_admin_action(action: str, work: Callable[[], int], *, operator: str, user_hash: str) -> int:
    """Do ``work``, which returns how many sessions it was about, and log who did what to whom, and to how many.

    If ``work`` fails, the log says that the number is unknown. ``user_hash`` is the hash that Redis keys have.
    """
    details: dict[str, object] = {"operator": operator, "user_hash": user_hash, "sessions": "unknown"}
    try:
        details["sessions"] = sessions = work()
    finally:
        emit("admin_action", action, by=logger, **details)
    return sessions
