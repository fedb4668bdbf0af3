"""``GET /getOpenid``: the login of clients written after the old tutorial, which send WeChat's URL along.

The URL is read, never fetched: it was a hole through which a client could make the server ask anything of anybody,
and it has the app secret in it. What counts is the code; the request to WeChat is ours.
"""

from __future__ import annotations

import logging
import re
from urllib.parse import parse_qsl

from flask import request
from flask.sansio.blueprints import BlueprintSetupState
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import BadRequest

from wxlogin.observability import events
from wxlogin.web.request_body import single_values
from wxlogin.web.responses import LOGGED_IN, LOGIN_ERRORS, LoggedIn, login_answer
from wxlogin.web.routing import COMMON_ERRORS, Routes, in_query

logger = logging.getLogger(__name__)

blueprint = Routes("legacy_login", limit="login")

# Compared as text: what two URL parsers make of a string can differ, and has.
_URL = re.compile(r"https://api\.weixin\.qq\.com/sns/jscode2session\?([!-~]{0,1024})")


@blueprint.route_of(
    "GET",
    "/getOpenid",
    LOGGED_IN(
        query=(
            in_query(
                "url",
                "The address that the old tutorial has the client send, percent-encoded or not. It is read and "
                "never fetched. One of `url`, `code` and `js_code` has to be there.",
                examples=[
                    "https://api.weixin.qq.com/sns/jscode2session?appid=wx4f4bc4dec97d474b&secret=no-more"
                    "&js_code=0b3Zrh000000000000000000000Zrh0b&grant_type=authorization_code"
                ],
            ),
            in_query("code", "What `wx.login()` gave."),
            in_query("js_code", "The same, as WeChat calls it."),
            in_query("appid", "Which mini-program it is, if the service has several."),
        ),
        raises=(*COMMON_ERRORS, *LOGIN_ERRORS),
    ),
)
def log_in() -> LoggedIn:
    """Log in with ``url``, ``code`` or ``js_code``; the answer is that of ``POST /login``."""
    parameters = _parameters_of_url() if "url" in request.args else single_values(request.args)
    return login_answer(_code_in(parameters), appid=parameters.get("appid"))


@blueprint.record_once
def _refuse_head(state: BlueprintSetupState) -> None:
    """Take back the HEAD that Flask adds to every GET: nobody who sends one wants a code spent."""
    for rule in state.app.url_map.iter_rules(f"{blueprint.name}.{log_in.__name__}"):
        rule.methods = {"GET"}


def _parameters_of_url() -> dict[str, str]:
    """Return the URL's parameters, whether it came percent-encoded or its parameters fell out into ours."""
    outer = MultiDict(request.args)
    urls = outer.poplist("url")
    match = _URL.fullmatch(urls[0]) if len(urls) == 1 else None
    if not match or "#" in match[1]:
        raise BadRequest("url: has to be https://api.weixin.qq.com/sns/jscode2session?… with a js_code.")
    inner = MultiDict(parse_qsl(match[1], keep_blank_values=True))
    parameters = single_values(MultiDict([*inner.items(multi=True), *outer.items(multi=True)]))
    if not parameters.get("appid") or not parameters.get("js_code"):
        raise BadRequest("url: has to have one appid and one js_code.")
    _warn_of_secret(parameters)
    return parameters


def _warn_of_secret(parameters: dict[str, str]) -> None:
    if "secret" in parameters:
        events.emit("app_secret_exposed_by_client", by=logger)


def _code_in(parameters: dict[str, str]) -> str:
    codes = {parameters[name] for name in ("code", "js_code") if name in parameters}
    if len(codes) != 1:
        raise BadRequest("code: has to be there, and js_code the same if both are.")
    return codes.pop()
