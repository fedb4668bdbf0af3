"""Finding the session id in a request: whatever a mini-program stored and sent back is understood.

Mini-programs have no cookie jar. They store the ``Set-Cookie`` they got, as a string, an array or several joined
by commas, and send all of it back, attributes included, as ``Cookie`` or as a header of their own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from wxlogin.sessions.session_id import LENGTH, SessionId

COOKIE_NAME = "sessionid"

# What a request can carry an id in, as WSGI spells it; an explicit header wins over a cookie.
_CREDENTIAL_HEADERS = ("HTTP_SESSIONID", "HTTP_AUTHORIZATION", "HTTP_COOKIE")

_NAME = f"{COOKIE_NAME}="
_SEPARATORS = re.compile("[,;]")
_BEARER = re.compile(r"bearer +", re.IGNORECASE)
_AROUND = " \t\"'[]\\"  # what JSON puts around it, and around that if it is done twice
_ID = re.compile(rf"(?:{COOKIE_NAME}=[\"'\[\\]*)*([A-Za-z0-9_-]{{{LENGTH}}})")


def find_session_id(environ: Mapping[str, object]) -> SessionId | None:
    """Return the session id that the request of this WSGI environment carries, or None.

    The first carrier that holds a plausible id decides. Two different ones in it are none: one of them is not
    the user's.
    """
    bare = SessionId.parse(_plain_value(environ).removeprefix(_NAME))
    if bare:  # as most send it: there is nothing else to take off
        return bare
    for carrier in _CREDENTIAL_HEADERS:
        found = _ids_in(_value_of(carrier, environ))
        if found:
            return SessionId.parse(found.pop()) if len(found) == 1 else None
    return None


def _plain_value(environ: Mapping[str, object]) -> str:
    """Return what decides, if that takes no look at a scheme."""
    cookie = "" if environ.get("HTTP_AUTHORIZATION") else environ.get("HTTP_COOKIE")
    return str(environ.get("HTTP_SESSIONID") or cookie or "")


def _value_of(carrier: str, environ: Mapping[str, object]) -> str:
    value = str(environ.get(carrier, ""))
    if carrier != "HTTP_AUTHORIZATION":
        return value
    scheme = _BEARER.match(value)
    return value[scheme.end() :] if scheme else ""


def _ids_in(value: str) -> set[str]:
    pieces = (piece.strip(_AROUND) for piece in _SEPARATORS.split(value))
    return {match[1] for piece in pieces if (match := _ID.fullmatch(piece))}
