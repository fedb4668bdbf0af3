"""Lua scripts: files of their packages, sent without what is for readers only."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.servers import PROJECT
from wxlogin.storage.scripts import load_script

SCRIPTS = sorted((PROJECT / "wxlogin").glob("*/scripts/*.lua"))


@pytest.mark.parametrize("path", SCRIPTS, ids=[f"{path.parts[-3]}-{path.stem}" for path in SCRIPTS])
def test_a_script_is_read_without_comments_and_with_what_it_includes(path: Path) -> None:
    script = load_script(f"wxlogin.{path.parts[-3]}", path.stem)

    assert [line for line in script.splitlines() if line.lstrip().startswith("--")] == []
    assert ("redis.call('TYPE', KEYS[1])" in script) == (
        "-- include" in path.read_text() or "TYPE" in path.read_text()
    )


def test_each_script_is_loaded_by_its_package() -> None:
    sources = {
        package: "".join(file.read_text() for file in [*package.glob("*.py"), *package.glob("scripts/*.lua")])
        for package in {path.parent.parent for path in SCRIPTS}
    }

    assert [
        path for path in SCRIPTS if path.stem not in sources[path.parent.parent].replace("-- include", "")
    ] == []
