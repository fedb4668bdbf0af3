"""What an auditor looks for: each event is a line in the log, named by its ``event``.

docs/operations.md has the same list. Whose session it is about is told by the hash that Redis keys have.
"""

from __future__ import annotations

import logging

EVENTS: dict[str, tuple[int, str]] = {
    "login": (logging.INFO, "logged in"),
    "login_repeated": (logging.INFO, "a code came again, and was given the same session"),
    "logout": (logging.INFO, "logged out: %s"),
    "limit_exceeded": (logging.INFO, "over a limit"),
    "decryption_refused": (logging.INFO, "data did not decrypt to what WeChat would send this user"),
    "user_data_unknown": (logging.WARNING, "user data has none of the fields that this service knows"),
    "cross_site_refused": (logging.INFO, "a page of another site tried to log in"),
    "user_blocked": (logging.WARNING, "WeChat blocks a user's login"),
    "secret_sent": (
        logging.WARNING,
        "a client sends an app secret to /getOpenid: take it out of the mini-program, and reset it at "
        "mp.weixin.qq.com, because whoever has the mini-program has it",
    ),
    "record_tampered": (logging.WARNING, "a session's record is not ours, or was tampered with: %s"),
    "token_tampered": (
        logging.WARNING,
        "an access_token in Redis is not ours, or was tampered with: it is dropped",
    ),
    "operator_acted": (logging.WARNING, "audit: %s"),
    "operator_refused": (logging.WARNING, "somebody without the operators' token was refused"),
    "operator_locked_out": (logging.WARNING, "somebody who guesses at the operators' token has to wait"),
    "credentials_rejected": (logging.ERROR, "WeChat does not accept this service's credentials"),
}


def note(event: str, *words: object, by: logging.Logger, **details: object) -> None:
    """Log an event; ``words`` go into its message, ``details`` are fields beside it."""
    level, message = EVENTS[event]
    by.log(level, message, *words, extra={"event": event, **details})
