"""Whether WeChat says of a text that it has encrypted it: phone numbers only, for three days."""

import hashlib
from typing import Any

import pytest

from tests.sandbox.drivers import OTHER_CREDENTIALS, Clock, Sandbox

CHECK_DATA = "/wxa/business/checkencryptedmsg"

# Of WeChat's page checkEncryptedData: the hash is of the text, and not of the bytes that it is base64 of.
OFFICIAL_TEXT = (
    "hsSuSUsePBqSQw2rYMtf9Nvha603xX8f2BMQBcYRoJiMNwOqt/UEhrqekebG5ar0LFNAm5MD4Uz6zorRwiXJwbySJ/FEJHav4NsobBIU1PwdjbJW"
    "VQLFy7+YFkHB32OnQXWMh6ugW7Dyk2KS5BXp1f5lniKPp1KNLyNLlFlNZ2mgJCJmWvHj5AI7BLpWwoRvqRyZvVXo+9FsWqvBdxmAPA=="
)
OFFICIAL_HASH = "657edd868c9715a9bebe42b833269a557a48498785397a796f1568c29a200b2c"


def hash_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
def phone_data(sandbox: Sandbox) -> str:
    sandbox.log_in(openid="o-1")
    data: str = sandbox.user_data(openid="o-1", kind="phone_number")["encryptedData"]
    return data


def check(sandbox: Sandbox, fields: dict[str, Any], **credentials: str) -> Any:
    return sandbox.post(CHECK_DATA, fields, access_token=sandbox.fetch_token(**credentials))


def test_the_hash_is_that_of_the_documentation() -> None:
    assert hash_of(OFFICIAL_TEXT) == OFFICIAL_HASH


def test_a_phone_number_that_was_encrypted_here_is_confirmed(
    sandbox: Sandbox, clock: Clock, phone_data: str
) -> None:
    encrypted_at = int(clock.now)
    clock.advance(3 * 86_400 - 1)

    answer = check(sandbox, {"encrypted_msg_hash": hash_of(phone_data)})

    assert answer == {"errcode": 0, "errmsg": "ok", "vaild": True, "create_time": encrypted_at}


def test_the_case_of_a_hash_does_not_matter(sandbox: Sandbox, phone_data: str) -> None:
    assert check(sandbox, {"encrypted_msg_hash": hash_of(phone_data).upper()})["errcode"] == 0


def test_after_three_days_a_text_is_not_known_any_more(sandbox: Sandbox, clock: Clock, phone_data: str) -> None:
    clock.advance(3 * 86_400)

    answer = check(sandbox, {"encrypted_msg_hash": hash_of(phone_data)})

    assert (answer["errcode"], answer["errmsg"].startswith("data not exit")) == (1, True)


@pytest.mark.parametrize("kind", ["user_info", "share", "werun"])
def test_other_data_is_not_known(sandbox: Sandbox, kind: str) -> None:
    sandbox.log_in(openid="o-1")
    data = sandbox.user_data(openid="o-1", kind=kind)["encryptedData"]

    assert check(sandbox, {"encrypted_msg_hash": hash_of(data)})["errcode"] == 1


def test_another_apps_data_is_not_known(sandbox: Sandbox, phone_data: str) -> None:
    assert check(sandbox, {"encrypted_msg_hash": hash_of(phone_data)}, **OTHER_CREDENTIALS)["errcode"] == 1


def test_forgetting_everything_forgets_what_was_encrypted(sandbox: Sandbox, phone_data: str) -> None:
    sandbox.client.delete("/_sandbox")

    assert check(sandbox, {"encrypted_msg_hash": hash_of(phone_data)})["errcode"] == 1


@pytest.mark.parametrize("fields", [{}, {"encrypted_msg_hash": ""}, {"encrypted_msg_hash": "0" * 63}])
def test_what_is_no_hash_is_an_invalid_argument(sandbox: Sandbox, fields: dict[str, str]) -> None:
    assert check(sandbox, fields)["errcode"] == 40097


@pytest.mark.parametrize(("body", "errcode"), [(b"", 44002), (b"{", 47001), (b"[]", 47001)])
def test_a_body_that_is_none_is_refused(sandbox: Sandbox, body: bytes, errcode: int) -> None:
    query = {"access_token": sandbox.fetch_token()}

    assert (
        sandbox.client.post(CHECK_DATA, query_string=query, data=body).get_json(force=True)["errcode"] == errcode
    )


def test_a_token_and_a_post_are_needed(sandbox: Sandbox) -> None:
    fields = {"encrypted_msg_hash": "0" * 64}

    assert sandbox.post(CHECK_DATA, fields)["errcode"] == 41001
    assert sandbox.get(CHECK_DATA, {"access_token": sandbox.fetch_token()})["errcode"] == 43002
