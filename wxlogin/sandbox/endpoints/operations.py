"""What operators ask WeChat: quotas, requests by their rid, addresses."""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlencode

from flask import Request

from wxlogin.sandbox.endpoints.calls import OK, caller_appid, posted_fields, required
from wxlogin.sandbox.errcodes import (
    APPID_MISSING,
    INVALID_APPID,
    INVALID_RID,
    RID_NOT_FOUND,
    RID_OF_ANOTHER_APP,
    RID_OF_SNS,
    SECRET_MISSING,
    ApiError,
)
from wxlogin.sandbox.state import SandboxState

# Of the networks for documentation: https://www.rfc-editor.org/rfc/rfc5737
CALLBACK_ADDRESSES: Final = ["192.0.2.1", "192.0.2.2"]
RID: Final = re.compile("[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}")
API_ADDRESSES: Final = ["198.51.100.1", "198.51.100.2"]


def clear_quota(state: SandboxState, request: Request) -> Mapping[str, object]:
    """Forget how often the app has called, ten times a month.

    https://developers.weixin.qq.com/miniprogram/dev/OpenApiDoc/openApi-mgnt/clearQuota.html
    """
    appid = caller_appid(state, request)
    if posted_fields(request, {"appid": str}).get("appid") != appid:
        raise ApiError(INVALID_APPID)
    state.clear_quota(appid)
    return {**OK}


def clear_quota_by_secret(state: SandboxState, request: Request) -> Mapping[str, object]:
    """Do the same without a token: its page is clearQuotaByAppSecret.html, beside that of `clear_quota`."""
    fields = request.args or posted_fields(request, {"appid": str, "appsecret": str})
    appid = required(fields, "appid", errcode=APPID_MISSING)
    state.authenticate_app(appid, required(fields, "appsecret", errcode=SECRET_MISSING))
    state.clear_quota(appid)
    return {**OK}


def rid_get(state: SandboxState, request: Request) -> Mapping[str, object]:
    """Tell what a request was that failed in the last seven days.

    https://developers.weixin.qq.com/miniprogram/dev/server/API/openApi-mgnt/api_getridinfo.html
    """
    appid = caller_appid(state, request)
    rid = posted_fields(request, {"rid": str}).get("rid", "")
    if not RID.fullmatch(rid):
        raise ApiError(INVALID_RID)
    failure = state.journal.find_failure(rid, now=state.clock())
    if failure is None:
        raise ApiError(RID_NOT_FOUND)
    if failure.path.startswith("/sns/"):
        raise ApiError(RID_OF_SNS)
    if failure.appid != appid:
        raise ApiError(RID_OF_ANOTHER_APP)
    described = {
        "invoke_time": int(failure.at),
        "cost_in_ms": 1,
        "request_url": urlencode(failure.query, doseq=True, safe="*"),
        "request_body": "",
        "response_body": failure.answer,
        "client_ip": "127.0.0.1",
    }
    return {**OK, "request": described}


def getcallbackip(state: SandboxState, request: Request) -> Mapping[str, object]:
    """List where WeChat's own calls come from.

    https://developers.weixin.qq.com/miniprogram/dev/server/API/openApi-mgnt/api_getcallbackip.html
    """
    caller_appid(state, request)
    return {"ip_list": CALLBACK_ADDRESSES}


def get_api_domain_ip(state: SandboxState, request: Request) -> Mapping[str, object]:
    """List where WeChat's API is: its page is api_getapidomainip.html, beside that of `getcallbackip`."""
    caller_appid(state, request)
    return {"ip_list": API_ADDRESSES}
