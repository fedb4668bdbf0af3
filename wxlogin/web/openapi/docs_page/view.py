"""``/docs``: the description of the API for people, in ``wxlogin dev`` only; it needs nothing from elsewhere."""

from __future__ import annotations

from importlib import resources

from flask import Blueprint, Response
from werkzeug.exceptions import NotFound

blueprint = Blueprint("docs", __name__, url_prefix="/docs")

_FILES = resources.files(__package__)
_PAGE = "page.html"
_MEDIA_TYPES = {_PAGE: "text/html", "page.css": "text/css", "page.js": "text/javascript"}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@blueprint.get("")
def show() -> Response:
    """Answer with the page; its script makes it of ``/openapi.json``."""
    return _file(_PAGE)


@blueprint.get("/<name>")
def show_part(name: str) -> Response:
    """Answer with what the page needs."""
    if name not in _MEDIA_TYPES:
        raise NotFound
    return _file(name)


def _file(name: str) -> Response:
    response = Response((_FILES / name).read_text(encoding="utf-8"), mimetype=_MEDIA_TYPES[name])
    response.headers["Content-Security-Policy"] = _POLICY
    return response
