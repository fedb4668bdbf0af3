"""Access tokens, from either endpoint."""

from collections.abc import Mapping

from flask import Request

from wxlogin.sandbox.access_tokens import AccessToken
from wxlogin.sandbox.endpoints.calls import read_fields, required, seconds_left
from wxlogin.sandbox.errcodes import APPID_MISSING, INVALID_GRANT_TYPE, SECRET_MISSING, ApiError
from wxlogin.sandbox.state import SandboxState


def token(state: SandboxState, request: Request) -> Mapping[str, object]:
    """Fetch a token: https://developers.weixin.qq.com/miniprogram/dev/OpenApiDoc/mp-access-token/getAccessToken.html."""
    appid = authenticated_appid(state, request.args)
    return describe_token(state, state.fetch_token(appid))


def stable_token(state: SandboxState, request: Request) -> Mapping[str, object]:
    """Fetch the stable token: its page is getStableAccessToken.html, beside that of `token`.

    The query is not seen, so that who sends the parameters there and no body is short of the first.
    """
    types = {"grant_type": str, "appid": str, "secret": str, "force_refresh": bool}
    fields = read_fields(request.get_data() or b"{}", types)
    appid = authenticated_appid(state, fields)
    force_refresh = fields.get("force_refresh", False)
    return describe_token(state, state.fetch_stable_token(appid, force_refresh=force_refresh))


def authenticated_appid(state: SandboxState, fields: Mapping[str, str]) -> str:
    """Return the app that asks for a token; WeChat looks at the appid before the `grant_type`."""
    appid = state.known_appid(required(fields, "appid", errcode=APPID_MISSING))
    secret = required(fields, "secret", errcode=SECRET_MISSING)
    if fields.get("grant_type") != "client_credential":
        raise ApiError(INVALID_GRANT_TYPE)
    state.authenticate_app(appid, secret)
    return appid


def describe_token(state: SandboxState, issued: AccessToken) -> Mapping[str, object]:
    return {"access_token": issued.text, "expires_in": seconds_left(state, issued.ends_at)}
