"""``/session-key``: does WeChat still accept the user's key, and a new one if it may have leaked."""

from __future__ import annotations

import contextlib

from flask import Blueprint, Response, current_app, jsonify

from wxlogin.services import Services
from wxlogin.web.request_body import refuse_body
from wxlogin.web.session_context import call_wechat, current_session, identify, update_session_key
from wxlogin.wechat.api.client import WeChatClient
from wxlogin.wechat.api.errors import InvalidSessionKey

blueprint = Blueprint("session_key", __name__, url_prefix="/session-key")

_MAX_KEYS = 2  # each is a call to WeChat


@blueprint.post("/check")
def check() -> Response:
    """Say whether WeChat accepts a key that is here, so that it need not be asked for a login."""
    openid = identify().user.openid
    refuse_body()
    keys = _keys_to_try()
    is_valid = call_wechat(
        lambda client, token: any(client.checksession(token, openid=openid, session_key=key) for key in keys)
    )
    return jsonify(valid=is_valid)


@blueprint.post("/reset")
def reset() -> Response:
    """Have the user's key replaced; the new one is kept with this session, and lives no longer than the old."""
    openid = identify().user.openid
    refuse_body()
    keys = _keys_to_try()
    Services.of(current_app).health.check_writable()  # before there is a new key that could not be kept
    update_session_key(call_wechat(lambda client, token: _reset_one(client, token, openid=openid, keys=keys)))
    return jsonify(reset=True)


def _keys_to_try() -> list[str]:
    """Return this session's key, and the newest other one: a login elsewhere may have replaced the former."""
    session = current_session()
    return list(dict.fromkeys([session.record.session_key, *session.session_keys()]))[:_MAX_KEYS]


def _reset_one(client: WeChatClient, token: str, *, openid: str, keys: list[str]) -> str:
    """Return what WeChat gives for the first key that it accepts; raises what it says to the last one."""
    *others, last = keys
    for key in others:
        with contextlib.suppress(InvalidSessionKey):
            return client.resetusersessionkey(token, openid=openid, session_key=key)
    return client.resetusersessionkey(token, openid=openid, session_key=last)
