from __future__ import annotations

import pytest

from wxlogin.wechat.api.errors import (
    BadAccessToken,
    BulkheadFull,
    CallRejected,
    CircuitOpen,
    CodeUsed,
    ConnectionFailed,
    CredentialsRejected,
    InvalidCode,
    InvalidResponse,
    InvalidSessionKey,
    NoTimeLeft,
    RateLimited,
    ResponseLost,
    SystemBusy,
    UserBlocked,
    WeChatAPIError,
    WeChatError,
    api_error,
    api_error_in,
)

RID = "66c69111-4157f271-729ca238"

KINDS: dict[int, type[WeChatAPIError]] = {
    -1: SystemBusy,
    40029: InvalidCode,
    42003: InvalidCode,
    40163: CodeUsed,
    40226: UserBlocked,
    45009: RateLimited,
    45011: RateLimited,
    40013: CredentialsRejected,
    40125: CredentialsRejected,
    40164: CredentialsRejected,
    40243: CredentialsRejected,
    41002: CredentialsRejected,
    41004: CredentialsRejected,
    **dict.fromkeys(range(40230, 40241), CredentialsRejected),
    **dict.fromkeys((40066, 43003, 45035, 48004, 50002, 61004, 61016, 89501), CredentialsRejected),
    89503: CredentialsRejected,
    89506: CredentialsRejected,
    89507: CredentialsRejected,
    48001: CredentialsRejected,
    61007: CredentialsRejected,
    41001: CredentialsRejected,
    40001: BadAccessToken,
    40014: BadAccessToken,
    42001: BadAccessToken,
    87007: InvalidSessionKey,
    87009: InvalidSessionKey,
    1400001: RateLimited,
    40002: WeChatAPIError,
    40003: WeChatAPIError,
    40097: WeChatAPIError,
    41008: WeChatAPIError,
    43001: WeChatAPIError,
    43002: WeChatAPIError,
    44002: WeChatAPIError,
    47001: WeChatAPIError,
    87008: WeChatAPIError,
}


# What docs/metrics.md and other people's dashboards say.
OUTCOMES: dict[type[WeChatError], str] = {
    ConnectionFailed: "not_reached",
    CallRejected: "turned_away",
    CircuitOpen: "turned_away",
    BulkheadFull: "turned_away",
    NoTimeLeft: "turned_away",
    ResponseLost: "no_answer",
    InvalidResponse: "unusable_answer",
    WeChatAPIError: "refused",
    SystemBusy: "busy",
    InvalidCode: "invalid_code",
    CodeUsed: "code_used",
    UserBlocked: "user_blocked",
    InvalidSessionKey: "invalid_session_key",
    RateLimited: "rate_limited",
    CredentialsRejected: "credentials_rejected",
    BadAccessToken: "bad_access_token",
}


@pytest.mark.parametrize("errcode", KINDS)
def test_a_known_errcode_has_its_class(errcode: int) -> None:
    error = api_error_in(errcode, "")

    assert type(error) is KINDS[errcode]
    assert error.errcode == errcode


@pytest.mark.parametrize("errcode", [1, -2, 40000, 87010, 99999])
def test_an_unknown_errcode_is_a_plain_refusal(errcode: int) -> None:
    error = api_error_in(errcode, "")

    assert type(error) is WeChatAPIError
    assert error.errcode == errcode


@pytest.mark.parametrize(
    "errmsg",
    [
        f"invalid code, rid: {RID}",
        f"invalid code rid: {RID}",
        f"invalid code hint: [aBcD] rid: {RID}",
        f"rid: {RID}, and more",
    ],
)
def test_the_rid_is_found_in_each_form_of_errmsg(errmsg: str) -> None:
    error = api_error_in(40029, errmsg)

    assert error.rid == RID


@pytest.mark.parametrize(
    "errmsg",
    [
        "",
        "system error",
        "invalid code, hints: [ req_id: N37KMa0605th21 ]",
        "invalid code, rid: ",
        "invalid code, rid: 66c69111",
        "invalid code, rid: 66C69111-4157F271-729CA238",
    ],
)
def test_an_errmsg_without_a_rid_gives_none(errmsg: str) -> None:
    error = api_error_in(40029, errmsg)

    assert error.rid is None


@pytest.mark.parametrize("errmsg", [f"invalid code, rid: {RID}", "system error"])
@pytest.mark.parametrize("errcode", [*KINDS, 99999])
def test_errcode_and_rid_make_the_same_refusal_again(errcode: int, errmsg: str) -> None:
    error = api_error_in(errcode, errmsg)

    again = api_error(error.errcode, error.rid)

    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


def test_a_refusal_says_errcode_and_rid() -> None:
    error = api_error_in(40029, f"invalid code, rid: {RID}")

    assert str(error) == f"errcode 40029, rid {RID}"


def test_a_refusal_without_a_rid_says_so() -> None:
    error = api_error_in(-1, "system error")

    assert str(error) == "errcode -1, rid unknown"


def test_nothing_else_of_errmsg_is_kept() -> None:
    error = api_error_in(40164, f"invalid ip 203.0.113.9, <b>not in whitelist</b>, rid: {RID}")

    assert vars(error) == {"errcode": 40164, "rid": RID}
    assert error.args == (f"errcode 40164, rid {RID}",)


@pytest.mark.parametrize(("errcode", "seconds"), [(45011, 60), (45009, 3600), (1400001, 3600)])
def test_a_rate_limit_says_how_long_to_wait(errcode: int, seconds: int) -> None:
    error = api_error_in(errcode, "")

    assert isinstance(error, RateLimited)
    assert error.retry_after_seconds == seconds


@pytest.mark.parametrize("kind", [ConnectionFailed, ResponseLost, InvalidResponse, WeChatAPIError])
def test_one_class_catches_all(kind: type[Exception]) -> None:
    assert issubclass(kind, WeChatError)


@pytest.mark.parametrize(
    ("kind", "kin"), [(CallRejected, ConnectionFailed), (BadAccessToken, CredentialsRejected)]
)
def test_who_knows_no_better_handles_it_as_its_kin(kind: type[Exception], kin: type[Exception]) -> None:
    assert issubclass(kind, kin)


@pytest.mark.parametrize("kind", sorted(set(KINDS.values()), key=str))
def test_every_refusal_is_a_refusal(kind: type[Exception]) -> None:
    assert issubclass(kind, WeChatAPIError)


def test_each_kind_of_failure_has_its_word_in_metrics() -> None:
    kinds: list[type[WeChatError]] = [WeChatError]
    found: dict[type[WeChatError], str] = {}
    while kinds:
        below = kinds.pop().__subclasses__()
        kinds += below
        found |= {kind: kind.outcome for kind in below}

    assert found == OUTCOMES
