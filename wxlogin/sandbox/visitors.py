"""Who may use the sandbox from a browser: its own page, and no other site's that a developer happens to have open.

Programs say nothing of where they come from, and are let in.
"""

import re
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from flask import Request
from werkzeug.exceptions import Forbidden

OWN_SITES: Final = frozenset({"same-origin", "none"})
# Names without dots, and under domains that nobody can own: https://www.iana.org/assignments/special-use-domain-names
NOBODYS_NAME: Final = re.compile(
    r"(?:[A-Za-z0-9_-]+\.)*(?:localhost|local|internal|test|invalid|svc|home\.arpa)|[A-Za-z0-9_-]+"
)


def refuse_other_sites(request: Request, *, page: str) -> None:
    """Raise `Forbidden` if another site's page asks; a link may lead to `page`."""
    is_link = request.method == "GET" and request.headers.get("Sec-Fetch-Mode") == "navigate"
    if is_link and request.path.rstrip("/") == page:
        return
    # https://developer.mozilla.org/en-US/docs/Web/HTTP/Reference/Headers/Sec-Fetch-Site
    if request.headers.get("Sec-Fetch-Site", "none") not in OWN_SITES or is_foreign(request):
        raise Forbidden("another site's page asked for this")


def refuse_rebound_names(request: Request) -> None:
    """Raise `Forbidden` if the browser may have been led here under the name of another site.

    Who owns a name can let it mean this machine, and is then the same site to a browser that doesn't send
    Sec-Fetch-Site. Addresses, and some names, are nobody's to own.
    """
    host = urlsplit(f"//{request.host}").hostname or ""
    if not (NOBODYS_NAME.fullmatch(host) or is_address(host)):
        raise Forbidden("use localhost, an IP address or a name that nobody can own, as sandbox.internal")


def is_foreign(request: Request) -> bool:
    origin = request.headers.get("Origin")
    return origin is not None and origin.partition("://")[2] != request.host


def is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
