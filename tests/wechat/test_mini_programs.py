"""Our mini-programs: the client of each, as they come, go and get new secrets while the service runs."""

from __future__ import annotations

import dataclasses
import itertools
import json
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from tests.conftest import Clock
from tests.servers import TIMEOUT_SECONDS, wait_until
from wxlogin.wechat.api.client import WeChatClient
from wxlogin.wechat.api.http import Timeouts, WeChatApi
from wxlogin.wechat.credentials_file import InvalidCredentialsFile, fingerprint_of, read_credentials
from wxlogin.wechat.mini_programs import MiniProgramNotNamed, MiniPrograms, UnknownMiniProgram

ONE, TWO, THREE = "wx0000000000000001", "wx0000000000000002", "wx0000000000000003"
APPS = {ONE: "canary-secret-of-one", TWO: "canary-secret-of-two"}

MakeClient = Callable[[str, str], WeChatClient]


@pytest.fixture
def api() -> Iterator[WeChatApi]:
    """WeChat, which nobody asks anything here."""
    with closing(WeChatApi("http://127.0.0.1:9", timeouts=Timeouts(), max_connections=1)) as api:
        yield api


@pytest.fixture
def made() -> list[tuple[str, str]]:
    """The AppID and the secret of each client that was made."""
    return []


@pytest.fixture
def make_client(api: WeChatApi, made: list[tuple[str, str]]) -> MakeClient:
    def make(appid: str, secret: str) -> WeChatClient:
        made.append((appid, secret))
        return WeChatClient(appid, secret, api=api)

    return make


@dataclasses.dataclass
class Running:
    """The apps of a running service, and the file that they are in."""

    apps: MiniPrograms
    path: Path
    clock: Clock

    def look(self) -> None:
        """Need an app when a second has gone by, after the last change of the file."""
        wait_until(lambda: fingerprint_of(str(self.path)) is not None, what="the file has its version")
        self.clock.advance(1)
        self.apps.find(ONE)


@pytest.fixture
def running(make_client: MakeClient, clock: Clock, tmp_path: Path) -> Running:
    """A service that Kubernetes gives its file: the path leads through a link to a folder that is replaced."""
    write_folder(tmp_path / "first", APPS)
    (tmp_path / "data").symlink_to("first")
    path = tmp_path / "data" / "apps.json"
    apps = MiniPrograms(
        lambda: read_credentials(str(path)),
        make_client=make_client,
        version=lambda: fingerprint_of(str(path)),
        clock=clock,
    )
    return Running(apps, path, clock)


def write_folder(folder: Path, apps: Mapping[str, str]) -> None:
    folder.mkdir()
    (folder / "apps.json").write_text(json.dumps(apps))


Change = Callable[[Path, Mapping[str, str]], None]


def write_in_place(path: Path, apps: Mapping[str, str]) -> None:
    path.write_text(json.dumps(apps))


def rename_a_new_file(path: Path, apps: Mapping[str, str]) -> None:
    path.with_suffix(".new").write_text(json.dumps(apps))
    path.with_suffix(".new").replace(path)


def link_another_folder(path: Path, apps: Mapping[str, str]) -> None:
    top = path.parent.parent
    folder = top / f"folder-{len(list(top.iterdir()))}"
    write_folder(folder, apps)
    (top / "new").symlink_to(folder.name)
    (top / "new").replace(path.parent)


def delete_and_make_anew(path: Path, apps: Mapping[str, str]) -> None:
    path.unlink()
    path.write_text(json.dumps(apps))


CHANGES = [write_in_place, rename_a_new_file, link_another_folder, delete_and_make_anew]


def log_lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [(record.levelname, record.getMessage()) for record in caplog.records]


# which there are


def test_each_app_has_its_client(make_client: MakeClient, made: list[tuple[str, str]]) -> None:
    apps = MiniPrograms(lambda: APPS, make_client=make_client)

    assert [apps.client_for(appid).appid for appid in (ONE, TWO)] == [ONE, TWO]
    assert made == list(APPS.items())


@pytest.mark.parametrize("appid", [THREE, "", "x", ONE.upper()])
def test_an_app_that_is_not_ours_has_none(make_client: MakeClient, appid: str) -> None:
    apps = MiniPrograms(lambda: APPS, make_client=make_client)

    assert apps.find(appid) is None
    with pytest.raises(UnknownMiniProgram):
        apps.client_for(appid)


def test_the_only_app_need_not_be_named(make_client: MakeClient) -> None:
    apps = MiniPrograms(lambda: {ONE: "canary-secret"}, make_client=make_client)

    assert apps.only_client().appid == ONE


def test_one_of_several_has_to_be_named(make_client: MakeClient) -> None:
    apps = MiniPrograms(lambda: APPS, make_client=make_client)

    with pytest.raises(MiniProgramNotNamed):
        apps.only_client()


def test_without_apps_that_can_be_used_there_is_no_beginning(make_client: MakeClient) -> None:
    with pytest.raises(InvalidCredentialsFile):
        MiniPrograms(lambda: read_credentials("/nowhere"), make_client=make_client)


def test_what_is_known_of_the_apps_is_a_beginning_where_the_file_is_none(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    apps = MiniPrograms(lambda: read_credentials("/nowhere"), make_client=make_client, known=APPS)

    assert apps.client_for(TWO).appid == TWO
    assert log_lines(caplog) == [
        ("ERROR", "WXLOGIN_APPS_FILE can't be used, the apps stay as they were: Not a file that can be read.")
    ]


def test_a_file_that_can_be_used_counts_more_than_what_is_known(make_client: MakeClient) -> None:
    apps = MiniPrograms(lambda: {ONE: "canary-secret"}, make_client=make_client, known=APPS)

    assert apps.only_client().appid == ONE


def test_what_is_known_gives_way_to_the_file_once_that_can_be_used(running: Running) -> None:
    write_in_place(running.path, {})
    apps = MiniPrograms(
        lambda: read_credentials(str(running.path)),
        make_client=running.apps._make_client,
        version=lambda: fingerprint_of(str(running.path)),
        known=APPS,
        clock=running.clock,
    )
    write_in_place(running.path, {THREE: "canary-secret-of-three"})

    Running(apps, running.path, running.clock).look()

    assert apps.only_client().appid == THREE


# how they change


@pytest.mark.parametrize("change", CHANGES)
def test_a_new_app_is_ours_without_a_restart(running: Running, change: Change) -> None:
    change(running.path, {**APPS, THREE: "canary-secret-of-three"})
    running.look()

    assert running.apps.client_for(THREE).appid == THREE


@pytest.mark.parametrize("change", CHANGES)
def test_an_app_that_is_taken_out_is_not_ours_any_more(running: Running, change: Change) -> None:
    change(running.path, {ONE: APPS[ONE]})
    running.look()

    assert running.apps.find(TWO) is None
    assert running.apps.only_client().appid == ONE


@pytest.mark.parametrize("change", CHANGES)
def test_an_app_with_another_secret_has_another_client(
    running: Running, made: list[tuple[str, str]], change: Change
) -> None:
    before = running.apps.client_for(TWO)

    change(running.path, {ONE: APPS[ONE], TWO: "canary-secret-of-2ND"})
    running.look()

    assert running.apps.client_for(TWO) is not before
    assert made[len(APPS) :] == [(TWO, "canary-secret-of-2ND")]


@pytest.mark.parametrize("change", CHANGES)
def test_a_client_lives_as_long_as_its_secret(running: Running, change: Change) -> None:
    before = running.apps.client_for(ONE)

    change(running.path, {THREE: "canary-secret-of-three", ONE: APPS[ONE]})
    running.look()

    assert running.apps.client_for(ONE) is before


def test_a_secret_can_change_and_change_back(running: Running, made: list[tuple[str, str]]) -> None:
    for secret in ("canary-secret-of-2ND", APPS[TWO]):
        write_in_place(running.path, {ONE: APPS[ONE], TWO: secret})
        running.look()

    assert made[len(APPS) :] == [(TWO, "canary-secret-of-2ND"), (TWO, APPS[TWO])]


def test_a_change_in_the_very_moment_of_the_start_is_not_missed(make_client: MakeClient, clock: Clock) -> None:
    contents: Iterator[Mapping[str, str]] = iter([APPS, {THREE: "canary-secret"}])
    versions = iter([None, "the first that can be told"])
    apps = MiniPrograms(
        lambda: next(contents), make_client=make_client, version=lambda: next(versions), clock=clock
    )

    clock.advance(1)

    assert apps.find(THREE)


def test_a_file_that_may_be_half_written_is_left_for_the_next_look(make_client: MakeClient, clock: Clock) -> None:
    contents: Iterator[Mapping[str, str]] = iter([APPS, {THREE: "canary-secret"}])
    versions = iter(["first", None, "second"])
    apps = MiniPrograms(
        lambda: next(contents), make_client=make_client, version=lambda: next(versions), clock=clock
    )

    found = []
    for _ in range(2):
        clock.advance(1)
        found.append(apps.find(THREE) is not None)

    assert found == [False, True]


def test_a_change_is_logged_with_the_number_of_apps_and_no_secret(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    write_in_place(running.path, {**APPS, THREE: "canary-secret-of-three"})
    running.look()

    [line] = [vars(record) for record in caplog.records]
    assert (line["levelname"], line["message"], line["apps"]) == ("INFO", "the apps changed", 3)
    assert "canary" not in repr(line)


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.touch(),
        lambda path: path.write_text(json.dumps(APPS, indent=4)),
        lambda path: path.write_text(json.dumps(dict(reversed(APPS.items())))),
    ],
    ids=["touched", "indented", "in another order"],
)
def test_other_words_for_the_same_apps_change_nothing(
    running: Running, caplog: pytest.LogCaptureFixture, change: Callable[[Path], None]
) -> None:
    caplog.set_level(logging.DEBUG)
    before = [running.apps.find(appid) for appid in APPS]

    change(running.path)
    running.look()

    assert [running.apps.find(appid) for appid in APPS] == before
    assert log_lines(caplog) == []


# files that can't be used

BAD = {
    "gone": lambda path: path.unlink(),
    "empty": lambda path: path.write_text(""),
    "half": lambda path: path.write_text(json.dumps(APPS)[:-5]),
    "no apps": lambda path: path.write_text("{}"),
    "bad apps": lambda path: path.write_text('{"canary-secret": "canary-secret"}'),
    "other bytes": lambda path: path.write_bytes(b"\xff" + json.dumps(APPS).encode()),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("break_", BAD.values(), ids=BAD.keys())
def test_with_a_file_that_cannot_be_used_the_apps_stay_as_they_were(
    running: Running, break_: Callable[[Path], None]
) -> None:
    before = [running.apps.find(appid) for appid in APPS]

    break_(running.path)
    running.look()

    assert [running.apps.find(appid) for appid in APPS] == before


@pytest.mark.parametrize("break_", BAD.values(), ids=BAD.keys())
def test_a_file_that_cannot_be_used_is_told_once_without_what_is_in_it(
    running: Running, caplog: pytest.LogCaptureFixture, break_: Callable[[Path], None]
) -> None:
    caplog.set_level(logging.DEBUG)

    break_(running.path)
    for _ in range(5):
        running.look()

    [(level, message)] = log_lines(caplog)
    assert level == "ERROR"
    assert message.startswith("WXLOGIN_APPS_FILE can't be used, the apps stay as they were: ")
    assert "canary" not in repr([vars(record) for record in caplog.records])


def test_each_change_to_something_that_cannot_be_used_is_told(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    for content in ("{}", "{}", "{"):
        running.path.write_text(content)
        running.look()

    assert [level for level, _ in log_lines(caplog)] == ["ERROR"] * 3


def test_a_file_that_is_gone_again_is_told_again(running: Running, caplog: pytest.LogCaptureFixture) -> None:
    aside = running.path.with_suffix(".aside")
    for _ in range(2):
        os.rename(running.path, aside)  # noqa: PTH104  # there and back, as a mount that comes and goes
        running.look()
        os.rename(aside, running.path)  # noqa: PTH104  # the same
        running.look()

    assert [level for level, _ in log_lines(caplog)] == ["ERROR"] * 2


@pytest.mark.parametrize("break_", BAD.values(), ids=BAD.keys())
def test_what_was_mended_holds_again(running: Running, break_: Callable[[Path], None]) -> None:
    break_(running.path)
    running.look()

    link_another_folder(running.path, {**APPS, THREE: "canary-secret-of-three"})
    running.look()

    assert running.apps.find(THREE)


def test_a_bad_moment_of_a_good_file_passes(make_client: MakeClient, clock: Clock) -> None:
    moments: Iterator[Mapping[str, str] | InvalidCredentialsFile] = iter(
        [APPS, InvalidCredentialsFile(["Not a file that can be read."]), {THREE: "canary-secret"}]
    )

    def read() -> Mapping[str, str]:
        moment = next(moments)
        if isinstance(moment, InvalidCredentialsFile):
            raise moment
        return moment

    versions = iter(["first", "second", "second"])
    apps = MiniPrograms(read, make_client=make_client, version=lambda: next(versions), clock=clock)

    found = []
    for _ in range(2):
        clock.advance(1)
        found.append(apps.find(THREE) is not None)

    assert found == [False, True]


# what looking costs


def test_the_file_is_looked_at_once_a_second_at_the_most(make_client: MakeClient, clock: Clock) -> None:
    looks = itertools.count()
    apps = MiniPrograms(lambda: APPS, make_client=make_client, version=lambda: next(looks), clock=clock)
    clock.advance(1)

    for _ in range(1000):
        clock.advance(0.0009)
        apps.client_for(ONE)

    assert next(looks) == 2


def test_apps_that_cannot_change_are_read_once(make_client: MakeClient, clock: Clock) -> None:
    reads = itertools.count()
    apps = MiniPrograms(lambda: {ONE: f"canary-{next(reads)}"}, make_client=make_client, clock=clock)

    for _ in range(3):
        clock.advance(10)
        apps.client_for(ONE)

    assert next(reads) == 1


def test_nobody_waits_for_the_one_who_reads(make_client: MakeClient, clock: Clock) -> None:
    has_begun, may_go_on = threading.Event(), threading.Event()
    contents = iter([APPS])

    def read() -> Mapping[str, str]:
        if there_from_the_start := next(contents, None):
            return there_from_the_start
        has_begun.set()
        assert may_go_on.wait(TIMEOUT_SECONDS)
        return {THREE: "canary-secret"}

    apps = MiniPrograms(read, make_client=make_client, version=lambda: clock.now, clock=clock)
    clock.advance(1)
    with ThreadPoolExecutor() as threads:
        reader = threads.submit(apps.find, THREE)
        assert has_begun.wait(TIMEOUT_SECONDS)
        clock.advance(1)

        meanwhile = apps.find(ONE)

        may_go_on.set()
        assert meanwhile
        assert reader.result(TIMEOUT_SECONDS)


@pytest.fixture
def threads_that_alternate_quickly() -> Iterator[None]:
    """Let threads get into each other's way as often as can be."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.00001)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("threads_that_alternate_quickly")
@pytest.mark.parametrize("change", [rename_a_new_file, link_another_folder])
def test_threads_that_ask_while_the_file_is_swapped_see_one_version_or_the_other(
    make_client: MakeClient, tmp_path: Path, caplog: pytest.LogCaptureFixture, change: Change
) -> None:
    write_folder(tmp_path / "first", APPS)
    (tmp_path / "data").symlink_to("first")
    path = tmp_path / "data" / "apps.json"
    swapped, ticks = threading.Event(), itertools.count()
    apps = MiniPrograms(  # which looks whenever it is asked, and takes what is new at once
        lambda: read_credentials(str(path)),
        make_client=make_client,
        version=lambda: path.stat().st_mtime_ns,
        clock=lambda: float(next(ticks)),
    )

    def ask() -> set[str]:
        seen = set()
        while not swapped.is_set():
            seen.add(apps.client_for(ONE).appid)
            seen |= {appid for appid in (TWO, THREE) if apps.find(appid)}
        return seen

    with ThreadPoolExecutor() as threads:
        askers = [threads.submit(ask) for _ in range(2)]
        for number in range(200):
            change(path, {ONE: APPS[ONE], (TWO, THREE)[number % 2]: f"canary-secret-{number}"})
            apps.find(ONE)
        swapped.set()
        seen = set().union(*(asker.result(TIMEOUT_SECONDS) for asker in askers))

    assert seen == {ONE, TWO, THREE}
    assert "ERROR" not in {level for level, _ in log_lines(caplog)}
