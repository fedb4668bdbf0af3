"""One line in the log for each thing an operator does to users' sessions: who, what, to whom, how many."""

from __future__ import annotations

import logging

logger = logging.getLogger(__name__)
logger.setLevel(logging.WARNING)  # of its own: WXLOGIN_LOG_LEVEL=ERROR does not silence it


def note(action: str, *, operator: str, user_hash: str, sessions: int) -> None:
    """Log an operator's ``action``; the user is told by the hash that Redis keys have, not by name."""
    logger.warning("audit: %s", action, extra={"operator": operator, "user_hash": user_hash, "sessions": sessions})
