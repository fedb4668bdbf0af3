"""The command line, as people type it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from redis import Redis

from tests.conftest import APPID, environment
from tests.drivers import MiniProgram, Sandbox, over_http
from tests.sandbox.simulator.drivers import Simulator
from tests.servers import (
    PROJECT,
    TIMEOUT_SECONDS,
    RedisServer,
    clean_environment,
    free_port,
    is_up,
    wait_until,
)
from wxlogin.cli.main import main
from wxlogin.config import settings
from wxlogin.services import Services
from wxlogin.sessions.record import SessionRecord, User
from wxlogin.sessions.session_id import SessionId, hash_of
from wxlogin.sessions.store import NotLoggedIn, SessionStore

OPENID, SOMEBODYS_OPENID = "oOpenidOfTheFirstUser", "oOpenidOfTheOtherUser"
SESSION_KEY = "tiihtNczf5v6AKRyjwEUhQ=="

pytestmark = pytest.mark.usefixtures("signals_as_they_were")


@contextlib.contextmanager
def wxlogin(*arguments: str, folder: Path, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Run the command in an empty folder until the context ends."""
    process = subprocess.Popen(
        [sys.executable, "-m", "wxlogin", *arguments],
        cwd=folder,
        env=clean_environment({"PYTHONPATH": str(PROJECT), **environment}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=TIMEOUT_SECONDS)


@contextlib.contextmanager
def dev(folder: Path, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """Run ``wxlogin dev`` and give it, its first words, and its address."""
    port, sandbox_port = free_port(), free_port()
    arguments = ("dev", "--port", str(port), "--sandbox-port", str(sandbox_port))
    with wxlogin(*arguments, folder=folder, **environment) as process:
        assert process.stdout
        said = ""
        while "Ctrl-C" not in said:
            line = process.stdout.readline()
            assert line, f"it ended: {said}"
            said += line
        yield process, said, f"http://127.0.0.1:{port}"


def test_dev_prints_its_addresses_and_a_line_that_logs_in(tmp_path: Path) -> None:
    with dev(tmp_path) as (_, said, url):
        line = next(line for line in said.splitlines() if line.strip().startswith("curl"))
        answer = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True).stdout

    addresses = re.match(
        r"simulator  (\S+)/simulator  watch.*\nservice    (\S+)\ndocs       (\S+)\nsandbox    (\S+)  imitates",
        said,
    )
    assert addresses
    assert addresses.groups() == (addresses[4], url, f"{url}/docs", addresses[4])
    assert answer.startswith("HTTP/1.1 200 OK")
    assert "Set-Cookie: sessionid=" in answer


def test_dev_has_a_page_about_the_api(tmp_path: Path) -> None:
    with dev(tmp_path) as (_, _said, url):
        answers = [requests.get(f"{url}/{name}", timeout=20) for name in ("docs", "docs/page.js", "openapi.json")]

    assert [answer.status_code for answer in answers] == [200, 200, 200]


def test_devs_sessions_work(tmp_path: Path) -> None:
    with dev(tmp_path) as (_, said, url):
        sandbox = re.search(r"sandbox    (\S+)", said)
        assert sandbox
        mini_program = MiniProgram(over_http(url), Sandbox(sandbox[1]))

        assert (mini_program.log_in().status, mini_program.whoami().status) == (200, 200)


@pytest.mark.parametrize("chosen", [{"WXLOGIN_APPS_FILE": "apps.json"}, {"WXLOGIN_APPS_FILE_FILE": "path"}])
def test_dev_knows_all_mini_programs_of_a_file(tmp_path: Path, chosen: dict[str, str]) -> None:
    apps = {"wx0000000000000001": "secret-of-one", "wx0000000000000002": "secret-of-two"}
    (tmp_path / "apps.json").write_text(json.dumps(apps))
    (tmp_path / "path").write_text("apps.json")
    with dev(tmp_path, **chosen) as (_, said, url):
        line = next(line for line in said.splitlines() if line.strip().startswith("curl"))
        answer = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True).stdout
        sandbox = re.search(r"sandbox    (\S+)  imitates api.weixin.qq.com for (.*)", said)
        assert sandbox
        phones = [MiniProgram(over_http(url), Sandbox(sandbox[1]), appid=appid) for appid in apps]

        assert [phone.log_in().status for phone in phones] == [200, 200]
    assert sandbox[2] == ", ".join(apps)
    assert answer.startswith("HTTP/1.1 200 OK")


@pytest.mark.parametrize("signal_", [signal.SIGINT, signal.SIGTERM])
def test_dev_stops_cleanly_and_leaves_nothing_behind(tmp_path: Path, signal_: int) -> None:
    with dev(tmp_path) as (process, _, url):
        process.send_signal(signal_)
        rest, _ = process.communicate(timeout=TIMEOUT_SECONDS)

        assert (process.returncode, "Traceback" in rest) == (0, False)
        assert not is_up(url)


def test_dev_ends_with_the_service(tmp_path: Path) -> None:
    with dev(tmp_path) as (process, _, _):
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()

        os.kill(int(children[0]), signal.SIGTERM)

        assert process.wait(TIMEOUT_SECONDS) == 0


def test_dev_reloads_when_a_file_changes(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("WXLOGIN_EXPOSE_OPENID=false\n")
    with dev(tmp_path) as (_, said, url):
        sandbox = re.search(r"sandbox    (\S+)", said)
        assert sandbox
        mini_program = MiniProgram(over_http(url), Sandbox(sandbox[1]))
        assert "openid" not in mini_program.log_in().json

        (tmp_path / ".env").write_text("WXLOGIN_EXPOSE_OPENID=true\n")

        wait_until(lambda: "openid" in _log_in_through_a_restart(mini_program), what="the service restarts")


def _log_in_through_a_restart(mini_program: MiniProgram) -> str:
    with contextlib.suppress(requests.ConnectionError):
        return mini_program.log_in().text
    return ""


@pytest.mark.parametrize("option", ["--port", "--sandbox-port"])
def test_dev_says_in_one_line_that_a_port_is_taken(tmp_path: Path, option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        other = "--sandbox-port" if option == "--port" else "--port"
        arguments = ("dev", option, str(taken.getsockname()[1]), other, str(free_port()))
        with wxlogin(*arguments, folder=tmp_path) as process:
            said, _ = process.communicate(timeout=TIMEOUT_SECONDS)

    assert process.returncode == 1
    assert said.count("\n") == 1
    assert f"choose another with {option}" in said


def test_dev_needs_two_ports(tmp_path: Path) -> None:
    port = str(free_port())

    with wxlogin("dev", "--port", port, "--sandbox-port", port, folder=tmp_path) as process:
        said, _ = process.communicate(timeout=TIMEOUT_SECONDS)

    assert (process.returncode, said) == (1, "wxlogin: --port and --sandbox-port have to differ\n")


@pytest.mark.parametrize("signal_", [signal.SIGINT, signal.SIGTERM])
def test_a_command_that_a_signal_ends_has_not_succeeded(tmp_path: Path, signal_: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        told = environment(redis_url=url, wechat_api_url="http://127.0.0.1:1")
        told["WXLOGIN_REDIS_READ_TIMEOUT_SECONDS"] = str(TIMEOUT_SECONDS)
        with (
            wxlogin("sessions", "list", "--openid", OPENID, folder=tmp_path, **told) as process,
            silent.accept()[0],
        ):
            process.send_signal(signal_)

            process.communicate(timeout=TIMEOUT_SECONDS)

    assert process.returncode == 128 + signal_


def test_dev_tells_what_is_wrong_with_the_settings(tmp_path: Path) -> None:
    ports = ("--port", str(free_port()), "--sandbox-port", str(free_port()))
    with wxlogin("dev", *ports, folder=tmp_path, WXLOGIN_LOG_LEVEL="LOUD", WXLOGIN_APPID="wx") as process:
        said, _ = process.communicate(timeout=TIMEOUT_SECONDS)

    assert process.returncode == 1
    assert "WXLOGIN_LOG_LEVEL: " in said
    assert "WXLOGIN_APPID: " in said
    assert "Traceback" not in said


def test_dev_says_so_when_the_service_does_not_start(tmp_path: Path) -> None:
    (tmp_path / "gunicorn.py").write_text("raise SystemExit('broken on purpose')\n")
    arguments = ("dev", "--port", str(free_port()), "--sandbox-port", str(free_port()))

    with wxlogin(*arguments, folder=tmp_path) as process:
        said, _ = process.communicate(timeout=TIMEOUT_SECONDS)

    assert process.returncode == 1
    assert said.endswith("wxlogin: the service did not start; what it said is above\n")


def test_the_sandbox_runs_alone_with_the_apps_it_is_told(tmp_path: Path) -> None:
    port = free_port()
    arguments = (
        "sandbox",
        "--port",
        str(port),
        "--app",
        "wx0000000000000001=one",
        "--app",
        "wx0000000000000002=two",
    )

    with wxlogin(*arguments, folder=tmp_path) as process:
        wait_until(lambda: is_up(f"http://127.0.0.1:{port}/"), what="the sandbox answers")
        code = Sandbox(f"http://127.0.0.1:{port}").issue_code(appid="wx0000000000000002")
        query = {
            "appid": "wx0000000000000002",
            "secret": "two",
            "js_code": code,
            "grant_type": "authorization_code",
        }
        answer = requests.get(f"http://127.0.0.1:{port}/sns/jscode2session", params=query, timeout=5)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=TIMEOUT_SECONDS)

    assert "openid" in answer.json()
    assert process.returncode == 0
    assert said == (
        f"simulator  http://127.0.0.1:{port}/simulator  with the service at http://127.0.0.1:8000\n"
        f"sandbox    http://127.0.0.1:{port}  knows wx0000000000000001, wx0000000000000002\n"
    )


def test_the_sandboxs_simulator_uses_the_service_that_it_is_told(tmp_path: Path) -> None:
    port = free_port()
    arguments = ("sandbox", "--port", str(port), "--service", "https://login.example.com/wx/")

    with wxlogin(*arguments, folder=tmp_path):
        wait_until(lambda: is_up(f"http://127.0.0.1:{port}/"), what="the sandbox answers")
        told = requests.get(f"http://127.0.0.1:{port}/simulator/configuration", timeout=5).json()

    assert told == {**told, "service": "https://login.example.com/wx", "sees_redis": False}


def test_devs_simulator_uses_the_service_and_is_told_of_redis(tmp_path: Path) -> None:
    with dev(tmp_path) as (_, said, url):
        simulator = Simulator(said.split()[1].removesuffix("/simulator"), url)
        told = simulator.get("/simulator/configuration").json()
        cookie = simulator.log_in()
        messages = simulator.messages(since=0, until=lambda found: any(each["to"] == "redis" for each in found))

    assert told == {**told, "service": url, "sees_redis": True}
    assert cookie.startswith("sessionid=")
    assert "redis" in {each["to"] for each in messages}


def test_keys_new_prints_a_key_that_the_settings_take(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (_printed(capsys, "keys new") for _ in range(2))

    assert first != second
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}\n", first)


def _printed(capsys: pytest.CaptureFixture[str], command: str) -> str:
    assert main(shlex.split(command)) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize(
    "command",
    [
        "",
        "nothing",
        "dev --port 0",
        "dev --port 65536",
        "dev --port x",
        "sandbox --app x",
        "sandbox --service 127.0.0.1:8000",
        "sandbox --service http://user@host/",
        "sandbox --service http://host/?x",
        "sessions",
        "sessions list",
        "sessions revoke",
        "sessions end --openid x",
    ],
)
def test_a_wrong_command_is_explained(capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert main(shlex.split(command)) == 2
    assert "Usage: wxlogin" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [
        "--help",
        "dev --help",
        "sandbox --help",
        "sessions --help",
        "sessions list --help",
        "sessions revoke --help",
        "keys --help",
        "keys new --help",
    ],
)
def test_every_command_has_a_help_text(capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert main(shlex.split(command)) == 0
    assert "Usage: wxlogin" in capsys.readouterr().out


@pytest.mark.parametrize(("shell", "at"), [("bash", "1"), ("zsh", "1"), ("fish", "s")])
def test_a_shell_completes_commands(shell: str, at: str) -> None:
    program = [sys.executable, "-m", "wxlogin"]
    told = {"_WXLOGIN_COMPLETE": f"{shell}_complete", "COMP_WORDS": "wxlogin s", "COMP_CWORD": at}

    completed = subprocess.run(program, env=clean_environment(told), capture_output=True, text=True, check=True)

    assert {"sandbox", "sessions"} <= set(re.split(r"[\s,]", completed.stdout))


# operators


@pytest.fixture
def surroundings(
    the_redis_server: RedisServer, real_redis: Redis, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> dict[str, str]:
    """What the service and the command line are told by the environment, which this process has as well."""
    told = {
        **environment(redis_url=the_redis_server.url, wechat_api_url="http://127.0.0.1:9"),
        "WXLOGIN_REDIS_CONNECT_TIMEOUT_SECONDS": "5",
        "WXLOGIN_REDIS_READ_TIMEOUT_SECONDS": "5",
    }
    monkeypatch.chdir(tmp_path)
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    return told


@pytest.fixture
def store(surroundings: dict[str, str], logging_as_it_was: None) -> SessionStore:
    """The sessions of the service that is told the same as the command line."""
    return Services.build(settings.load()).sessions


def log_in(store: SessionStore, openid: str = OPENID, *, ago: int = 0, user_agent: str = "a phone") -> SessionId:
    now = store.now()
    record = SessionRecord(
        user=User(APPID, openid),
        session_key=SESSION_KEY,
        created_at=now - ago,
        last_seen_at=now - ago // 2,
        user_agent=user_agent,
    )
    return store.create(record).session_id


def is_logged_in(store: SessionStore, session_id: SessionId) -> bool:
    try:
        return bool(store.get(session_id))
    except NotLoggedIn:
        return False


def times_of(store: SessionStore, session_id: SessionId) -> list[str]:
    """Return when a session was made and last seen, in UTC."""
    record = store.get(session_id).record
    times = (record.created_at, record.last_seen_at)
    return [time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime(seconds)) for seconds in times]


def test_sessions_list_prints_a_line_for_each_session_of_a_user_and_counts_them(
    capsys: pytest.CaptureFixture[str], store: SessionStore
) -> None:
    phone = log_in(store, ago=7200)
    tablet = log_in(store, user_agent="a tablet")
    log_in(store, SOMEBODYS_OPENID)

    printed = _printed(capsys, f"sessions list --openid {OPENID}").splitlines()

    assert sorted(printed) == sorted(
        [
            " ".join([phone.field, *times_of(store, phone), "a phone"]),
            " ".join([tablet.field, *times_of(store, tablet), "a tablet"]),
            "2 sessions",
        ]
    )
    assert printed[-1] == "2 sessions"


@pytest.mark.parametrize(("logins", "expected"), [(0, "0 sessions"), (1, "1 session"), (2, "2 sessions")])
def test_sessions_list_counts_in_english(
    capsys: pytest.CaptureFixture[str], store: SessionStore, logins: int, expected: str
) -> None:
    for _ in range(logins):
        log_in(store)

    assert _printed(capsys, f"sessions list --openid {OPENID}").splitlines()[-1] == expected


@pytest.mark.parametrize(
    ("user_agent", "expected"),
    [("\x1b[2Jclears", "?[2Jclears"), ("two\nlines", "two?lines"), ("\x9b1m", "?1m"), ("微信", "??"), ("", "")],
)
def test_sessions_list_prints_nothing_that_steers_the_terminal(
    capsys: pytest.CaptureFixture[str], store: SessionStore, user_agent: str, expected: str
) -> None:
    log_in(store, user_agent=user_agent)

    line, _ = _printed(capsys, f"sessions list --openid {OPENID}").splitlines()

    assert line.split(" ", 3)[3] == expected


def test_sessions_list_ends_nothing(capsys: pytest.CaptureFixture[str], store: SessionStore) -> None:
    session_id = log_in(store)

    _printed(capsys, f"sessions list --openid {OPENID}")

    assert is_logged_in(store, session_id)


@pytest.mark.parametrize(
    ("logins", "expected"), [(0, "ended 0 sessions\n"), (1, "ended 1 session\n"), (3, "ended 3 sessions\n")]
)
def test_sessions_revoke_ends_all_sessions_of_a_user_and_counts_them(
    capsys: pytest.CaptureFixture[str], store: SessionStore, logins: int, expected: str
) -> None:
    ended = [log_in(store) for _ in range(logins)]
    untouched = log_in(store, SOMEBODYS_OPENID)

    assert _printed(capsys, f"sessions revoke --openid {OPENID}") == expected

    assert not any(is_logged_in(store, session_id) for session_id in ended)
    assert is_logged_in(store, untouched)


@pytest.mark.parametrize("command", ["list", "revoke"])
def test_our_appid_may_be_given(capsys: pytest.CaptureFixture[str], store: SessionStore, command: str) -> None:
    log_in(store)

    assert "1 session" in _printed(capsys, f"sessions {command} --openid {OPENID} --appid {APPID}")


@pytest.mark.parametrize(("command", "action", "sessions"), [("list", "listed", 2), ("revoke", "ended all", 2)])
@pytest.mark.parametrize("level", ["DEBUG", "ERROR"])
def test_what_an_operator_does_is_logged_whatever_the_level(
    capsys: pytest.CaptureFixture[str],
    store: SessionStore,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    action: str,
    sessions: int,
    level: str,
) -> None:
    monkeypatch.setenv("WXLOGIN_LOG_LEVEL", level)
    ids = [log_in(store) for _ in range(2)]

    assert main(["sessions", command, "--openid", OPENID]) == 0

    written = capsys.readouterr().err
    [line] = [
        line for line in map(json.loads, written.splitlines()) if line["logger"] == "wxlogin.observability.events"
    ]
    assert {name: line[name] for name in ("message", "operator", "user_hash", "sessions")} == {
        "message": f"audit: {action}",
        "operator": f"command line of uid {os.getuid()}",
        "user_hash": hash_of(User(APPID, OPENID)),
        "sessions": sessions,
    }
    assert [secret for secret in (OPENID, SESSION_KEY, *(each.random for each in ids)) if secret in written] == []


@pytest.mark.parametrize("command", ["list", "revoke"])
def test_an_appid_that_is_not_ours_is_refused(
    capsys: pytest.CaptureFixture[str], store: SessionStore, command: str
) -> None:
    session_id = log_in(store)

    status = main(["sessions", command, "--openid", OPENID, "--appid", "wx0000000000000000"])

    printed = capsys.readouterr()
    assert status == 1
    assert (printed.out, printed.err) == ("", "wxlogin: --appid is not one of this service's mini-programs\n")
    assert is_logged_in(store, session_id)


@pytest.fixture
def several_apps(store: SessionStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Make the service one of several mini-programs."""
    apps = {APPID: "secret-of-one", "wx0000000000000002": "secret-of-two"}
    (tmp_path / "apps.json").write_text(json.dumps(apps))
    monkeypatch.setenv("WXLOGIN_APPS_FILE", str(tmp_path / "apps.json"))
    monkeypatch.delenv("WXLOGIN_APPID")
    monkeypatch.delenv("WXLOGIN_APP_SECRET")


@pytest.mark.usefixtures("several_apps")
@pytest.mark.parametrize("command", ["list", "revoke"])
def test_with_several_apps_operators_have_to_say_which(
    capsys: pytest.CaptureFixture[str], store: SessionStore, command: str
) -> None:
    session_id = log_in(store)

    status = main(["sessions", command, "--openid", OPENID])

    printed = capsys.readouterr()
    assert (status, printed.out) == (1, "")
    assert printed.err == "wxlogin: --appid has to say which mini-program: the service has several\n"
    assert is_logged_in(store, session_id)


@pytest.mark.usefixtures("several_apps")
def test_with_several_apps_the_sessions_of_the_named_ones_user_end(
    capsys: pytest.CaptureFixture[str], store: SessionStore
) -> None:
    log_in(store)

    ended = [
        _printed(capsys, f"sessions revoke --openid {OPENID} --appid {appid}")
        for appid in ("wx0000000000000002", APPID)
    ]

    assert ended == ["ended 0 sessions\n", "ended 1 session\n"]


@pytest.mark.parametrize("command", ["list", "revoke"])
def test_operators_are_told_in_one_line_that_redis_is_gone(
    capsys: pytest.CaptureFixture[str], store: SessionStore, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("WXLOGIN_REDIS_URL", f"redis://127.0.0.1:{free_port()}/0")

    status = main(["sessions", command, "--openid", OPENID])

    printed = capsys.readouterr()
    *logged, said = printed.err.splitlines()
    assert (status, printed.out) == (1, "")
    assert said == "wxlogin: Redis does not serve us (ConnectionError)"
    assert {json.loads(line)["logger"] for line in logged} <= {
        "wxlogin.storage.gateway",
        "wxlogin.observability.events",
    }


def test_a_revocation_that_nobody_knows_the_end_of_is_logged_as_that(
    capsys: pytest.CaptureFixture[str], store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WXLOGIN_REDIS_URL", f"redis://127.0.0.1:{free_port()}/0")

    assert main(["sessions", "revoke", "--openid", OPENID]) == 1

    *logged, _ = capsys.readouterr().err.splitlines()
    [line] = [line for line in map(json.loads, logged) if line["logger"] == "wxlogin.observability.events"]
    assert (line["message"], line["sessions"]) == ("audit: ended all", "unknown")


@pytest.mark.parametrize("command", ["list", "revoke"])
def test_operators_are_told_what_is_wrong_with_the_settings(
    capsys: pytest.CaptureFixture[str], store: SessionStore, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.delenv("WXLOGIN_SECRET_KEYS")
    monkeypatch.delenv("WXLOGIN_APPID")

    status = main(["sessions", command, "--openid", OPENID])

    printed = capsys.readouterr()
    assert (status, printed.out) == (1, "")
    assert printed.err.startswith("wxlogin: the settings are not usable:\n  WXLOGIN_APPID: Not set.")
    assert "WXLOGIN_SECRET_KEYS: Not set." in printed.err


def test_sessions_are_listed_and_revoked_from_a_shell(
    store: SessionStore, surroundings: dict[str, str], tmp_path: Path
) -> None:
    session_id = log_in(store)
    times = times_of(store, session_id)
    in_shanghai = {**surroundings, "TZ": "CST-8"}

    listed, revoked, empty = (
        _ran(command, "--openid", OPENID, folder=tmp_path, **in_shanghai) for command in ("list", "revoke", "list")
    )

    assert listed.stdout == " ".join([session_id.field, *times, "a phone"]) + "\n1 session\n"
    assert revoked.stdout == "ended 1 session\n"
    assert empty.stdout == "0 sessions\n"


def _ran(command: str, *arguments: str, folder: Path, **environment_: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "wxlogin", "sessions", command, *arguments],
        cwd=folder,
        env=clean_environment({"PYTHONPATH": str(PROJECT), **environment_}),
        capture_output=True,
        text=True,
        check=True,
        timeout=TIMEOUT_SECONDS,
    )
