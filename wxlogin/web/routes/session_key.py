"""``/session-key``: does WeChat still accept the user's key, and a new one if it may have leaked."""

from __future__ import annotations

import contextlib
import functools
from typing import Annotated

import msgspec
from flask import current_app
from werkzeug.exceptions import UnsupportedMediaType

from wxlogin.login.service import MiniProgramRemoved
from wxlogin.services import Services
from wxlogin.web.request_body import refuse_body
from wxlogin.web.routing import (
    COMMON_ERRORS,
    OF_USER,
    OF_WECHAT,
    USER,
    Answer,
    Errors,
    Operation,
    Routes,
    described,
)
from wxlogin.web.session_context import (
    SessionKeyNotStored,
    call_wechat,
    current_session,
    identify,
    update_session_key,
)
from wxlogin.wechat.api.client import WeChatClient
from wxlogin.wechat.api.errors import InvalidSessionKey

blueprint = Routes("session_key", url_prefix="/session-key", limit="user_data")

_MAX_KEYS = 2  # each is a call to WeChat

_FOR_USERS = functools.partial(Operation, tag="User data", callers=USER)
_ERRORS: Errors = (*COMMON_ERRORS, UnsupportedMediaType, *OF_USER, *OF_WECHAT, MiniProgramRemoved)


class KeyChecked(Answer):
    """Whether there is a good key."""

    valid: Annotated[
        bool, described("Whether WeChat accepts a `session_key` of the user's that is kept here.", True)
    ]


@blueprint.route_of(
    "POST", "/check", _FOR_USERS(says="Whether there is a good key.", answers=KeyChecked, raises=_ERRORS)
)
def check() -> KeyChecked:
    """Say whether WeChat accepts a key that is here, so that it need not be asked for a login."""
    openid = identify().user.openid
    refuse_body()
    keys = _keys_to_try()
    is_valid = call_wechat(
        lambda client, token: any(client.checksession(token, openid=openid, session_key=key) for key in keys)
    )
    return KeyChecked(valid=is_valid)


class KeyReset(Answer):
    """That the key was replaced."""

    reset: Annotated[bool, msgspec.Meta(examples=[True], extra_json_schema={"enum": [True]})]


@blueprint.route_of(
    "POST",
    "/reset",
    _FOR_USERS(
        says="The key was replaced.", answers=KeyReset, raises=(*_ERRORS, InvalidSessionKey, SessionKeyNotStored)
    ),
)
def reset() -> KeyReset:
    """Have the user's key replaced; the new one is kept with this session, and lives no longer than the old."""
    openid = identify().user.openid
    refuse_body()
    keys = _keys_to_try()
    Services.of(current_app).health.check_writable()  # before there is a new key that could not be kept
    update_session_key(call_wechat(lambda client, token: _reset_one(client, token, openid=openid, keys=keys)))
    return KeyReset(reset=True)


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
