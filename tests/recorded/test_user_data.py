"""Texts that WeChat has been seen to encrypt, and some that it never did, through the service."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import APPID
from tests.drivers import MiniProgram, Sandbox
from tests.wechat.test_crypto import IV
from tests.wechat.test_user_data import data_of

SESSION_KEY = "tiihtNczf5v6AKRyjwEUhQ=="
OPENID = "oGZUI0egBJY1zhBYw2KhdUfwVJJE"
CASES = [json.loads(line) for line in Path(__file__).with_name("user-data.jsonl").read_text("utf-8").splitlines()]
NOT_ANSWERED = {"watermark", "openId", "unionId"}


@pytest.mark.parametrize("case", CASES, ids=[case["source"][:60] for case in CASES])
def test_recorded_user_data_is_answered_as_it_has_to_be(
    mini_program: MiniProgram, sandbox: Sandbox, case: dict[str, Any]
) -> None:
    text = case["plaintext"].replace("APPID", APPID).replace("OPENID", OPENID)
    sandbox.arm(body=json.dumps({"openid": OPENID, "session_key": SESSION_KEY}))
    mini_program.log_in()

    answer = mini_program.send(
        "POST",
        "/user-data/decrypt",
        headers={"sessionid": mini_program.stored},
        json={"encryptedData": data_of(text.encode(), session_key=SESSION_KEY), "iv": IV},
    )

    if case["expected"] == "read":
        sent = json.loads(text, strict=False)
        assert answer.json == {name: value for name, value in sent.items() if name not in NOT_ANSWERED}
    else:
        assert answer.error["code"] == case["expected"]
