from __future__ import annotations

import pytest

from wxlogin.wechat.errors import (
    BadAccessToken,
    Busy,
    CodeUsed,
    CredentialsRejected,
    InvalidCode,
    InvalidSessionKey,
    NoAnswer,
    NotReached,
    RateLimited,
    Refused,
    TurnedAway,
    UnusableAnswer,
    UserBlocked,
    WeChatError,
    refusal_of,
    refused,
)

RID = "66c69111-4157f271-729ca238"

KINDS: dict[int, type[Refused]] = {
    -1: Busy,
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
    40002: Refused,
    40003: Refused,
    40097: Refused,
    41008: Refused,
    43001: Refused,
    43002: Refused,
    43003: Refused,
    44002: Refused,
    47001: Refused,
    87008: Refused,
}


# What docs/metrics.md and other people's dashboards say.
OUTCOMES: dict[type[WeChatError], str] = {
    NotReached: "not_reached",
    TurnedAway: "turned_away",
    NoAnswer: "no_answer",
    UnusableAnswer: "unusable_answer",
    Refused: "refused",
    Busy: "busy",
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
    error = refusal_of(errcode, "")

    assert type(error) is KINDS[errcode]
    assert error.errcode == errcode


@pytest.mark.parametrize("errcode", [1, -2, 40000, 87010, 99999])
def test_an_unknown_errcode_is_a_plain_refusal(errcode: int) -> None:
    error = refusal_of(errcode, "")

    assert type(error) is Refused
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
    error = refusal_of(40029, errmsg)

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
    error = refusal_of(40029, errmsg)

    assert error.rid is None


@pytest.mark.parametrize("errmsg", [f"invalid code, rid: {RID}", "system error"])
@pytest.mark.parametrize("errcode", [*KINDS, 99999])
def test_errcode_and_rid_make_the_same_refusal_again(errcode: int, errmsg: str) -> None:
    error = refusal_of(errcode, errmsg)

    again = refused(error.errcode, error.rid)

    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


def test_a_refusal_says_errcode_and_rid() -> None:
    error = refusal_of(40029, f"invalid code, rid: {RID}")

    assert str(error) == f"errcode 40029, rid {RID}"


def test_a_refusal_without_a_rid_says_so() -> None:
    error = refusal_of(-1, "system error")

    assert str(error) == "errcode -1, rid unknown"


def test_nothing_else_of_errmsg_is_kept() -> None:
    error = refusal_of(40164, f"invalid ip 203.0.113.9, <b>not in whitelist</b>, rid: {RID}")

    assert vars(error) == {"errcode": 40164, "rid": RID}
    assert error.args == (f"errcode 40164, rid {RID}",)


@pytest.mark.parametrize(("errcode", "seconds"), [(45011, 60), (45009, 3600), (1400001, 3600)])
def test_a_rate_limit_says_how_long_to_wait(errcode: int, seconds: int) -> None:
    error = refusal_of(errcode, "")

    assert isinstance(error, RateLimited)
    assert error.retry_after_seconds == seconds


@pytest.mark.parametrize("kind", [NotReached, NoAnswer, UnusableAnswer, Refused])
def test_one_class_catches_all(kind: type[Exception]) -> None:
    assert issubclass(kind, WeChatError)


@pytest.mark.parametrize(("kind", "kin"), [(TurnedAway, NotReached), (BadAccessToken, CredentialsRejected)])
def test_who_knows_no_better_handles_it_as_its_kin(kind: type[Exception], kin: type[Exception]) -> None:
    assert issubclass(kind, kin)


@pytest.mark.parametrize("kind", sorted(set(KINDS.values()), key=str))
def test_every_refusal_is_a_refusal(kind: type[Exception]) -> None:
    assert issubclass(kind, Refused)


def test_each_kind_of_failure_has_its_own_word_in_metrics() -> None:
    kinds: list[type[WeChatError]] = [WeChatError]
    found: dict[type[WeChatError], str] = {}
    while kinds:
        below = kinds.pop().__subclasses__()
        kinds += below
        found |= {kind: kind.outcome for kind in below}

    assert found == OUTCOMES
