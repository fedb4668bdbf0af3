"""One line in the log for each thing an operator does to users' sessions: who, what, to whom, how many."""

from __future__ import annotations

import logging
from collections.abc import Callable

from wxlogin import events

logger = logging.getLogger(__name__)
logger.setLevel(logging.WARNING)  # of its own: WXLOGIN_LOG_LEVEL=ERROR does not silence it


def noted(action: str, work: Callable[[], int], *, operator: str, user_hash: str) -> int:
    """Do ``work``, which tells how many sessions it was about, and log that, or that nobody knows how far it got.

    The user is told by the hash that Redis keys have, not by name.
    """
    details: dict[str, object] = {"operator": operator, "user_hash": user_hash, "sessions": "unknown"}
    try:
        details["sessions"] = sessions = work()
    finally:
        events.note("operator_acted", action, by=logger, **details)
    return sessions
