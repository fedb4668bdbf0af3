"""The file of several mini-programs: what is taken, what is refused and not quoted, and when it is another."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.servers import wait_until
from wxlogin.wechat.credentials_file import (
    APPID_PATTERN,
    SECRET_PATTERN,
    InvalidCredentialsFile,
    fingerprint_of,
    read_credentials,
)

ONE, TWO = "wx0000000000000001", "wx0000000000000002"
SECRET = "canary-secret"
APPS = {ONE: SECRET, TWO: "canary-secret-2"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "apps.json"
    path.write_text(json.dumps(APPS))
    return path


def problems(path: Path) -> list[str]:
    with pytest.raises(InvalidCredentialsFile) as caught:
        read_credentials(str(path))
    assert str(caught.value) == " ".join(caught.value.problems)
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    return caught.value.problems


def test_each_appid_has_its_secret(path: Path) -> None:
    assert read_credentials(str(path)) == APPS


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_byte_order_mark_does_no_harm(path: Path, encoding: str) -> None:
    path.write_text(json.dumps(APPS), encoding=encoding)

    assert read_credentials(str(path)) == APPS


def test_a_mebibyte_is_not_too_long(path: Path) -> None:
    path.write_text(json.dumps(APPS).ljust(1024 * 1024))

    assert read_credentials(str(path)) == APPS


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "Not JSON."),
        (b"{", "Not JSON."),
        (b"canary-secret", "Not JSON."),
        (json.dumps(APPS)[:-1].encode(), "Not JSON."),
        (b"[" * 100_000, "Not JSON."),
        (b"1" * 10_000, "Not JSON."),
        (b"null", "Not a JSON object."),
        (b'"canary-secret"', "Not a JSON object."),
        (b"[]", "Not a JSON object."),
        (f'[["{ONE}", "{SECRET}"]]'.encode(), "Not a JSON object."),
        (b"{}", "No mini-program in it."),
        (b"\xff\xfe{\x00}\x00", "Not text in UTF-8."),
        (b" " * (1024 * 1024 + 1), "Longer than a mebibyte."),
        (f'{{"{ONE}x": "{SECRET}"}}'.encode(), "Entry 1: the name is not an AppID."),
        (f'{{"{ONE}\\n": "{SECRET}"}}'.encode(), "Entry 1: the name is not an AppID."),
        (f'{{"WX{ONE[2:]}": "{SECRET}"}}'.encode(), "Entry 1: the name is not an AppID."),
        (f'{{"{SECRET}": "{SECRET}"}}'.encode(), "Entry 1: the name is not an AppID."),
        (f'{{"{ONE}": "canary"}}'.encode(), "Entry 1: the value is not an AppSecret."),
        (f'{{"{ONE}": "canary secret"}}'.encode(), "Entry 1: the value is not an AppSecret."),
        (f'{{"{ONE}": "canary-secret\\n"}}'.encode(), "Entry 1: the value is not an AppSecret."),
        (f'{{"{ONE}": "{"x" * 129}"}}'.encode(), "Entry 1: the value is not an AppSecret."),
        (f'{{"{ONE}": 12345678}}'.encode(), "Entry 1: the value is not an AppSecret."),
        (f'{{"{ONE}": null}}'.encode(), "Entry 1: the value is not an AppSecret."),
        (f'{{"{ONE}": {{"{TWO}": "{SECRET}"}}}}'.encode(), "Entry 1: the value is not an AppSecret."),
        (f'{{"{ONE}": "{SECRET}", "{ONE}": "{SECRET}"}}'.encode(), "Entry 2: the name was there before."),
    ],
)
def test_what_cannot_be_used_is_refused_and_not_quoted(path: Path, content: bytes, problem: str) -> None:
    path.write_bytes(content)

    assert problems(path) == [problem]


def test_every_problem_is_told_at_once(path: Path) -> None:
    path.write_text(f'{{"{ONE}": 1, "x": "canary-secret", "{ONE}": "canary"}}')

    assert problems(path) == [
        "Entry 1: the value is not an AppSecret.",
        "Entry 2: the name is not an AppID.",
        "Entry 3: the name was there before.",
        "Entry 3: the value is not an AppSecret.",
    ]


@pytest.mark.parametrize(("bad", "told", "last"), [(10, 10, "Entry 10: the value"), (11, 11, "And 1 more.")])
def test_very_many_problems_are_told_in_part(path: Path, bad: int, told: int, last: str) -> None:
    path.write_text(json.dumps({f"wx{number:016x}": "" for number in range(bad)}))

    found = problems(path)

    assert len(found) == told
    assert found[-1].startswith(last)


@pytest.mark.parametrize(
    "put",
    [
        lambda path: None,
        lambda path: path.mkdir(),
        lambda path: os.mkfifo(path),
        lambda path: path.symlink_to("nowhere"),
        lambda path: path.symlink_to(path.name),
    ],
    ids=["nothing", "folder", "pipe", "dead link", "link to itself"],
)
def test_what_is_no_file_is_refused_at_once(path: Path, put: Callable[[Path], None]) -> None:
    path.unlink()
    put(path)

    assert problems(path) == ["Not a file that can be read."]


def test_a_path_that_the_system_refuses_is_refused_and_not_quoted() -> None:
    assert problems(Path("/canary" * 1000)) == ["Not a file that can be read."]


JSON_TEXTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(SECRET),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from([ONE, TWO, SECRET]), inner),
).map(json.dumps)


@given(text=JSON_TEXTS | st.text().map(lambda text: text.encode("utf-8", "replace").decode()))
def test_a_file_is_taken_whole_or_refused_whatever_is_in_it(
    text: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(text)

    found, told = outcome(path)

    assert SECRET not in told
    assert all(APPID_PATTERN.match(appid) and SECRET_PATTERN.match(secret) for appid, secret in found.items())
    assert bool(found) != bool(told)


def outcome(path: Path) -> tuple[Mapping[str, str], str]:
    try:
        return read_credentials(str(path)), ""
    except InvalidCredentialsFile as error:
        return {}, str(error)


# versions


def settled_version(path: Path) -> object:
    """Return the file's version, as soon as it is old enough to have one."""
    wait_until(lambda: fingerprint_of(str(path)) is not None, what="the file has its version")
    return fingerprint_of(str(path))


def replace_in_place(path: Path) -> None:
    path.write_text(path.read_text().replace("1", "3"))


def replace_by_renaming(path: Path) -> None:
    path.with_suffix(".new").write_text(path.read_text())
    path.with_suffix(".new").replace(path)


def replace_keeping_the_time(path: Path) -> None:
    times = (path.stat().st_atime_ns, path.stat().st_mtime_ns)
    replace_in_place(path)
    os.utime(path, ns=times)


@pytest.mark.parametrize(
    "change",
    [
        replace_in_place,
        replace_by_renaming,
        replace_keeping_the_time,
        lambda path: path.chmod(0o600),
        lambda path: path.unlink(),
    ],
    ids=["written", "renamed", "written with its time kept", "other permissions", "gone"],
)
def test_each_change_of_the_file_makes_another_version(path: Path, change: Callable[[Path], None]) -> None:
    before = settled_version(path)

    change(path)

    assert settled_version(path) != before


def test_a_link_to_another_file_makes_another_version(path: Path, tmp_path: Path) -> None:
    (tmp_path / "other").write_text(path.read_text())
    link = tmp_path / "link"
    link.symlink_to(path)
    before = settled_version(link)

    (tmp_path / "new").symlink_to(tmp_path / "other")
    (tmp_path / "new").replace(link)

    assert settled_version(link) != before


def test_a_file_that_nobody_touches_keeps_its_version(path: Path) -> None:
    before = settled_version(path)
    path.read_text()

    assert fingerprint_of(str(path)) == before


def test_a_file_that_was_written_this_moment_has_no_version_yet(path: Path) -> None:
    path.write_text("half of")

    assert fingerprint_of(str(path)) is None
