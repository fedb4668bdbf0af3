"""Requests that a page of another site has a browser make: told by the Fetch Metadata headers.

https://www.w3.org/TR/fetch-metadata/
"""

from __future__ import annotations

from flask import request
from werkzeug.exceptions import Forbidden


def refuse_other_sites() -> None:
    """Raise `Forbidden` if a browser asks by itself: for a page of another site, or ahead of its user.

    A script's request may pass: WeChat's developer tools are a browser and send ``Sec-Fetch-Site: cross-site``
    with ``Sec-Fetch-Mode: cors``. Another site's script can send one too; the cookie's ``SameSite`` keeps the
    browser from taking the session that it would get.
    """
    headers = request.headers
    is_prefetch = "prefetch" in (headers.get("Sec-Purpose", "") + headers.get("Purpose", "")).lower()
    is_foreign = headers.get("Sec-Fetch-Site") in {"cross-site", "same-site"}
    if is_prefetch or (is_foreign and headers.get("Sec-Fetch-Mode") != "cors"):
        raise Forbidden
