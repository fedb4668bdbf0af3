"""Which endpoint answers which path, and in which order WeChat looks at a call."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from flask import Request

from wxlogin.sandbox.endpoints import access_tokens, login, operations, users
from wxlogin.sandbox.endpoints.calls import Endpoint, caller_appid
from wxlogin.sandbox.errcodes import GET_REQUIRED, INVALID_URL, POST_REQUIRED, ApiError
from wxlogin.sandbox.state import SandboxState

WRONG_METHOD: Final[Mapping[str, int]] = MappingProxyType({"GET": GET_REQUIRED, "POST": POST_REQUIRED})


def nowhere(state: SandboxState, request: Request) -> Mapping[str, object]:
    """Refuse the path, or first the token: under /sns, none is needed."""
    if not request.path.startswith("/sns/"):
        caller_appid(state, request)
    raise ApiError(INVALID_URL)


NOWHERE: Final = Endpoint(answer=nowhere, content_type="text/plain")
ENDPOINTS: Final[Mapping[str, Endpoint]] = MappingProxyType(
    {
        "/sns/jscode2session": Endpoint(answer=login.jscode2session, content_type="text/plain"),
        "/wxa/checksession": Endpoint(answer=login.checksession, method="GET"),
        "/wxa/resetusersessionkey": Endpoint(answer=login.resetusersessionkey, method="GET"),
        "/wxa/business/getuserencryptkey": Endpoint(answer=login.getuserencryptkey, lists=("key_info_list",)),
        "/cgi-bin/token": Endpoint(answer=access_tokens.token, method="GET"),
        "/cgi-bin/stable_token": Endpoint(answer=access_tokens.stable_token, method="POST"),
        "/wxa/business/getuserphonenumber": Endpoint(answer=users.getuserphonenumber, method="POST"),
        "/wxa/business/checkencryptedmsg": Endpoint(answer=users.checkencryptedmsg, method="POST"),
        "/wxa/getpaidunionid": Endpoint(answer=users.getpaidunionid, method="GET"),
        "/wxa/getpluginopenpid": Endpoint(answer=users.getpluginopenpid, method="POST"),
        "/wxa/getuserriskrank": Endpoint(answer=users.getuserriskrank, method="POST"),
        "/cgi-bin/clear_quota": Endpoint(answer=operations.clear_quota, method="POST"),
        "/cgi-bin/clear_quota/v2": Endpoint(answer=operations.clear_quota_by_secret, method="POST"),
        "/cgi-bin/openapi/rid/get": Endpoint(answer=operations.rid_get, method="POST"),
        "/cgi-bin/getcallbackip": Endpoint(answer=operations.getcallbackip, method="GET"),
        "/cgi-bin/get_api_domain_ip": Endpoint(answer=operations.get_api_domain_ip, method="GET"),
    }
)


def endpoint_at(path: str) -> Endpoint:
    return ENDPOINTS.get(path, NOWHERE)


def carry_out(state: SandboxState, request: Request) -> Mapping[str, object]:
    """Do what the call asks for and return the answer, or raise `ApiError`."""
    endpoint = endpoint_at(request.path)
    if endpoint.method is not None and endpoint.method != request.method:
        raise ApiError(WRONG_METHOD[endpoint.method])
    return endpoint.answer(state, request)
