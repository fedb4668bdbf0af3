"""README.md says of the SDKs what the tests show, and has the versions that they run with."""

from __future__ import annotations

import json
import re

from tests.sdks.backend import FOLDER, SDKS, Sdk
from tests.servers import PROJECT


def versions() -> dict[str, str]:
    """Return what `make test` installs."""
    constraints = (PROJECT / "constraints.txt").read_text(encoding="utf-8")
    modules = (FOLDER / "go/go.mod").read_text(encoding="utf-8")
    packages = json.loads((FOLDER / "node/package.json").read_text(encoding="utf-8"))["dependencies"]
    return {
        **dict(re.findall(r"^(wechatpy)==(.+)$", constraints, re.MULTILINE)),
        **dict(re.findall(r"github\.com/(silenceper/wechat)/v2 v(\S+)", modules)),
        **packages,
    }


def row(sdk: Sdk) -> str:
    cells = (
        sdk.name,
        versions()[sdk.name],
        "an access token too" if sdk.sends_token_to_log_in else "the code",
        "is renewed" if sdk.renews_tokens else "is sent until the caller renews it",
        "is refused" if sdk.checks_watermark else "is opened",
        "yes" if sdk.has_stable_tokens else "no",
    )
    return f"| {' | '.join(cells)} |"


def test_the_table_has_each_sdk_with_its_version_and_what_it_does() -> None:
    page = (FOLDER / "README.md").read_text(encoding="utf-8")

    rows = re.findall(r"^\|.*\|$", page, re.MULTILINE)[2:]

    assert rows == [row(sdk) for sdk in SDKS]
