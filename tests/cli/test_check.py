"""What `wxlogin check` finds, and how it says it."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.conftest import APPID, environment
from tests.redis_topologies import Cluster, cluster, new_authority, sentinel, signed_by, tls_redis
from tests.servers import RedisServer, free_port, keys_in, redis_server, sandbox_server
from wxlogin.cli.check import settings as of_settings
from wxlogin.cli.check import wechat as of_wechat
from wxlogin.cli.check.redis import evaluate_info
from wxlogin.cli.check.report import OK, PROBLEM, WARNING, Check, Finding, as_json, as_text, run_checks
from wxlogin.cli.main import main
from wxlogin.config.settings import load

SECRET = "canary-app-secret-0123456789"
KEY = "uqqjL7Jn1Zl7bKpYw3s0mXcGd5vRtE8aHfQoI2yNVkB"
OTHER_KEY = "F4hTgWz9xPAeYcU6sJrMDi1oLbX0nK5vqSGw8Zt3E7Q"
SECRETS = {SECRET, KEY, OTHER_KEY}


@dataclasses.dataclass
class Checked:
    """What the command said to a program."""

    status: int
    said: dict[str, Any]

    def of(self, level: str) -> list[str]:
        """Return what was found of a level, without its settings' area."""
        return [each["what"] for each in self.said["findings"] if each["level"] == level]

    @property
    def wrong(self) -> str:
        """All that is not ok, as one text."""
        return "\n".join([*self.of(PROBLEM), *self.of(WARNING)])


pytestmark = pytest.mark.usefixtures("signals_as_they_were")


@pytest.fixture(scope="module")
def the_wechat() -> Iterator[str]:
    with sandbox_server({APPID: SECRET}) as url:
        yield url


@pytest.fixture(scope="module")
def the_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis"), options=("--maxmemory", "100mb")) as server:
        yield server


@pytest.fixture(autouse=True)
def surroundings(
    the_server: RedisServer, the_wechat: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> pytest.MonkeyPatch:
    """Settings that nothing is wrong with; they can be changed.

    WeChat is the sandbox, and Redis may be slow, as it is on a machine that is busy: both are warned of.
    """
    monkeypatch.chdir(tmp_path)
    for name in os.environ.keys() & {"HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"}:
        monkeypatch.delenv(name)
    usual = {name: "" for name in environment(redis_url="", wechat_api_url="") if "_LIMIT_" in name}
    for name, value in {
        **usual,
        "WXLOGIN_APPID": APPID,
        "WXLOGIN_APP_SECRET": SECRET,
        "WXLOGIN_SECRET_KEYS": KEY,
        "WXLOGIN_REDIS_URL": the_server.url,
        "WXLOGIN_REDIS_CONNECT_TIMEOUT_SECONDS": "1",
        "WXLOGIN_REDIS_READ_TIMEOUT_SECONDS": "1",
        "WXLOGIN_WECHAT_API_URL": the_wechat,
        "WXLOGIN_TRUSTED_PROXIES": "1",
    }.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


@pytest.fixture
def check(capsys: pytest.CaptureFixture[str]) -> Any:
    """Run the command as a program does; what it says never has a secret in it."""

    def run(**changes: str) -> Checked:
        with pytest.MonkeyPatch.context() as changed:
            for name, value in changes.items():
                changed.setenv(f"WXLOGIN_{name}", value)
            status = main(["check", "--json"])
        printed = capsys.readouterr()
        assert printed.err == ""
        assert [secret for secret in SECRETS if secret in printed.out] == []
        return Checked(status, json.loads(printed.out))

    return run


# The command


def test_where_all_is_well_nothing_is_a_problem(check: Any) -> None:
    checked = check()

    assert checked.of(PROBLEM) == []
    assert checked.of(WARNING) == [
        "WXLOGIN_REDIS_CONNECT_TIMEOUT_SECONDS and WXLOGIN_REDIS_READ_TIMEOUT_SECONDS make more than 0.5 s",
        "WXLOGIN_WECHAT_API_URL is not WeChat's own address",
    ]
    assert (checked.status, checked.said["problems"], checked.said["warnings"]) == (0, 0, 2)
    assert f"{APPID}: WeChat takes its AppSecret" in checked.of(OK)
    assert "written, read and deleted" in checked.of(OK)


def test_problems_of_all_kinds_are_told_at_once(check: Any) -> None:
    checked = check(
        APPID="x", THREADS="x", COOKIE_SECURE="false", COOKY="1", REDIS_URL=f"redis://127.0.0.1:{free_port()}/0"
    )

    assert checked.status == 1
    for part in (
        "WXLOGIN_APPID: Not an AppID.",
        "WXLOGIN_THREADS: Not a valid integer.",
        "WXLOGIN_COOKIE_SECURE is false",
        "WXLOGIN_COOKY is not a setting",
        "Redis can't be connected to",
    ):
        assert part in checked.wrong


def test_a_bad_setting_is_told_with_what_to_write(check: Any) -> None:
    [finding] = [each for each in check(THREADS="x").said["findings"] if each["level"] == PROBLEM]

    assert finding == {
        "area": "settings",
        "level": "problem",
        "what": "WXLOGIN_THREADS: Not a valid integer.",
        "why": "The service doesn't start with it.",
        "todo": "Write a whole number, 1 or more.",
    }


def test_where_the_way_to_redis_or_wechat_is_not_known_it_is_not_looked_for(check: Any) -> None:
    checked = check(REDIS_URL="mysql://x", WECHAT_API_URL="ftp://x")

    assert {each["area"] for each in checked.said["findings"]} == {"settings", "keys"}


def test_people_are_told_aligned_and_in_plain_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check"]) == 0

    printed = capsys.readouterr().out
    assert (
        "\nsettings  warning  WXLOGIN_WECHAT_API_URL is not WeChat's own address\n"
        "                   Why: Whoever answers there gets the AppSecret."
    ) in printed
    assert printed.endswith("\n\n0 problems, 2 warnings\n")


def test_long_lines_are_wrapped_within_their_column() -> None:
    text = as_text([Finding("redis", PROBLEM, "word " * 40, "", "more " * 40)])

    *lines, blank, summary = text.splitlines()
    assert (blank, summary) == ("", "1 problem, 0 warnings")
    assert lines[0].startswith("redis     problem  word word")
    assert {line[:19] for line in lines[1:]} == {" " * 19}
    assert max(map(len, lines)) <= 110


def test_programs_are_told_in_json() -> None:
    findings = [Finding("redis", PROBLEM, "a", "b", "c"), Finding("keys", OK, "d")]

    assert json.loads(as_json(findings)) == {
        "problems": 1,
        "warnings": 0,
        "findings": [
            {"area": "redis", "level": "problem", "what": "a", "why": "b", "todo": "c"},
            {"area": "keys", "level": "ok", "what": "d", "why": "", "todo": ""},
        ],
    }


def test_what_hangs_is_given_up_and_what_it_found_before_is_told() -> None:
    over = threading.Event()

    def hang() -> Iterator[Finding]:
        yield Finding("redis", OK, "the beginning")
        over.wait()

    findings = run_checks([Check("redis", hang, seconds=0.2), Check("wechat", list)])
    over.set()

    assert [(each.level, each.what) for each in findings] == [
        (OK, "the beginning"),
        (PROBLEM, "not all could be looked at within 0.2 s"),
    ]


def test_a_look_that_fails_is_told_by_the_name_of_the_error_alone() -> None:
    def fail() -> Iterator[Finding]:
        raise LookupError("canary")

    [finding] = run_checks([Check("redis", fail)])

    assert finding == Finding("redis", PROBLEM, "the look at it failed: LookupError")


# Settings


@pytest.mark.parametrize(
    ("changes", "level", "part"),
    [
        ({"TRUSTED_PROXIES": "0"}, WARNING, "WXLOGIN_TRUSTED_PROXIES is 0"),
        ({"WECHAT_CONNECT_TIMEOUT_SECONDS": "4.1"}, WARNING, "_CONNECT_TIMEOUT_SECONDS is more than"),
        ({"WECHAT_READ_TIMEOUT_SECONDS": "4.1"}, WARNING, "_READ_TIMEOUT_SECONDS is more than"),
        ({"WECHAT_TOTAL_TIMEOUT_SECONDS": "4.6"}, WARNING, "_TOTAL_TIMEOUT_SECONDS is 4.6"),
        ({"SESSION_IDLE_SECONDS": "119"}, WARNING, "WXLOGIN_SESSION_IDLE_SECONDS is 119"),
        ({"REDIS_MAX_CONNECTIONS": "7"}, PROBLEM, "WXLOGIN_REDIS_MAX_CONNECTIONS is 7, and WXLOGIN_THREADS 8"),
        ({"MAX_SESSIONS_PER_USER": "0"}, WARNING, "WXLOGIN_MAX_SESSIONS_PER_USER is 0"),
        ({"PHONE_NUMBER_LIMIT_PER_USER": "none"}, WARNING, "one of the limits, or more, is none"),
        (
            {"LOGIN_LIMIT_PER_USER": "often", "PHONE_NUMBER_LIMIT_PER_USER": "none"},
            WARNING,
            "one of the limits, or more, is none",
        ),
        ({"COOKIE_SECURE": "false"}, WARNING, "WXLOGIN_COOKIE_SECURE is false"),
        ({"COOKIE_HTTPONLY": "false"}, WARNING, "WXLOGIN_COOKIE_HTTPONLY is false"),
        ({"COOKIE_SAMESITE": "None"}, WARNING, "WXLOGIN_COOKIE_SAMESITE is None"),
        ({"ADMIN_TOKEN": KEY[:31]}, WARNING, "WXLOGIN_ADMIN_TOKEN is short"),
        ({"ADMIN_TOKEN": "0123456789" * 4}, WARNING, "WXLOGIN_ADMIN_TOKEN is short"),
        ({"WECHAT_API_URL": "http://sandbox.invalid:1"}, PROBLEM, "is plain http to another machine"),
        ({"APP_SECRET": "sandbox-secret"}, WARNING, "WXLOGIN_APP_SECRET is the sandbox's"),
        ({"REDIS_URL": "memory://"}, PROBLEM, "WXLOGIN_REDIS_URL is memory://"),
        ({"REDIS_URL": "redis+sentinel://127.0.0.1:1/m"}, WARNING, "names one Sentinel"),
        ({"REDIS_URL": "redis://:x@redis.invalid/0"}, WARNING, "is without TLS"),
        ({"REDIS_URL": "rediss://redis.invalid/0"}, WARNING, "has no password"),
    ],
)
def test_an_odd_setting_is_told(check: Any, changes: Mapping[str, str], level: str, part: str) -> None:
    usual, odd = check(), check(**changes)

    assert part not in usual.wrong
    assert part in "\n".join(odd.of(level))


def test_timeouts_of_redis_that_are_long_together_are_told(check: Any) -> None:
    usual = check(REDIS_CONNECT_TIMEOUT_SECONDS="0.25", REDIS_READ_TIMEOUT_SECONDS="0.25")
    odd = check(REDIS_CONNECT_TIMEOUT_SECONDS="0.25", REDIS_READ_TIMEOUT_SECONDS="0.26")

    assert "make more than 0.5 s" not in usual.wrong
    assert "make more than 0.5 s" in "\n".join(odd.of(WARNING))


def test_settings_without_anything_odd_are_said_to_be_well(surroundings: pytest.MonkeyPatch) -> None:
    for name in ("REDIS_CONNECT_TIMEOUT_SECONDS", "REDIS_READ_TIMEOUT_SECONDS", "WECHAT_API_URL"):
        surroundings.delenv(f"WXLOGIN_{name}")
    well = load()

    assert of_settings.check_settings(well, problems=[], unknown_names=[]) == [
        Finding("settings", OK, "all can be used, and none is odd")
    ]


def test_a_redis_that_is_reached_safely_is_not_odd(check: Any) -> None:
    wrong = check(REDIS_URL="rediss://:x@redis.invalid/0").wrong

    assert "TLS, and leads" not in wrong
    assert "no password" not in wrong


@pytest.mark.parametrize(
    ("keys", "part"),
    [
        ((KEY, KEY), "secret keys 1 and 2 are the same, or almost"),
        ((OTHER_KEY, KEY, KEY[:-1] + "x"), "secret keys 2 and 3 are the same, or almost"),
        ((KEY, "0123456789abcde" * 3), "secret key 2 looks as if somebody had made it up"),
        ((f"my-Secret-{KEY}",), "secret key 1 looks as if somebody had made it up"),
        (
            tuple(f"{number}{KEY[number:]}{OTHER_KEY[:number]}" for number in (1, 9, 18, 27)),
            "there are 4 secret keys",
        ),
    ],
)
def test_odd_secret_keys_are_told_by_number(check: Any, keys: tuple[str, ...], part: str) -> None:
    checked = check(SECRET_KEYS=",".join(keys))

    assert part in checked.of(WARNING)


@pytest.mark.parametrize("name", ["APP_SECRET", "ADMIN_TOKEN"])
def test_a_secret_key_that_is_another_secret_as_well_is_a_problem(check: Any, name: str) -> None:
    assert f"WXLOGIN_{name} is one of the secret keys" in check(**{name: KEY}).of(PROBLEM)


def test_good_secret_keys_are_counted() -> None:
    whats = [of_settings.check_secret_keys(keys, others={})[0].what for keys in ((KEY,), (KEY, OTHER_KEY))]

    assert [what.partition(";")[0] for what in whats] == ["1 secret key", "2 secret keys"]


# Redis


def test_redis_is_left_as_it_was(check: Any, the_server: RedisServer) -> None:
    with the_server.client() as client:
        before = keys_in(client)

        check()

        assert keys_in(client) == before


def test_redis_that_is_down_does_not_hide_what_wechat_says(check: Any) -> None:
    checked = check(REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")

    assert checked.status == 1
    assert "Redis can't be connected to" in checked.wrong
    assert f"{APPID}: WeChat takes its AppSecret" in checked.of(OK)


def test_a_frozen_redis_is_told_in_time(check: Any, tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        server.freeze()

        checked = check(REDIS_URL=server.url)

        server.thaw()
    assert "Redis is silent" in checked.wrong


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ({"maxmemory-policy": "allkeys-lru"}, "it has maxmemory-policy allkeys-lru"),
        ({"maxmemory": "0"}, "it has no maxmemory"),
        ({"appendonly": "no"}, "it has no append-only file"),
        ({"maxmemory": "1kb"}, "Redis is full"),
        ({"min-replicas-to-write": "1"}, "Redis refuses to write"),
    ],
)
def test_a_redis_that_loses_sessions_or_takes_none_is_told(
    check: Any, tmp_path: Path, settings: Mapping[str, str], part: str
) -> None:
    with redis_server(tmp_path, options=("--maxmemory", "100mb")) as server, server.client() as operator:
        before = check(REDIS_URL=server.url).wrong
        for name, value in settings.items():
            operator.config_set(name, value)

        after = check(REDIS_URL=server.url).wrong

    assert part not in before
    assert part in after


def test_a_replica_is_told(check: Any, tmp_path: Path) -> None:
    with redis_server(tmp_path) as server, server.client() as operator:
        operator.replicaof("127.0.0.1", str(free_port()))

        assert "this Redis is a read-only replica" in check(REDIS_URL=server.url).of(PROBLEM)


def test_wrong_passwords_are_told_and_not_shown(check: Any, tmp_path: Path) -> None:
    with redis_server(tmp_path) as server, server.client() as operator:
        operator.config_set("requirepass", OTHER_KEY)
        wrong, right = (
            check(REDIS_URL=server.url.replace("//", f"//:{password}@")).of(PROBLEM)
            for password in (KEY, OTHER_KEY)
        )

    assert wrong == ["Redis does not accept the user or the password"]
    assert right == []


@pytest.mark.parametrize(
    ("rule", "part"),
    [
        ("-hset -hdel", "may not use HDEL, HSET on keys wxlogin:*"),
        ("-time", "may not use TIME on keys wxlogin:*"),
        ("-eval", "may not use EVAL on keys wxlogin:*"),
        ("-info", "may not use INFO"),
        ("resetkeys ~other:*", "may not use DEL, EVAL"),
    ],
)
def test_rights_that_are_missing_are_named(check: Any, tmp_path: Path, rule: str, part: str) -> None:
    with redis_server(tmp_path) as server, server.client() as operator:
        operator.execute_command(
            "ACL", "SETUSER", "wxlogin", "on", f">{KEY}", "~wxlogin:*", "+@all", *rule.split()
        )

        assert part in check(REDIS_URL=server.url.replace("//", f"//wxlogin:{KEY}@")).wrong


@pytest.mark.parametrize("rule", ["-client|tracking", "-ping"])
def test_a_redis_that_will_not_tell_of_changes_is_told(check: Any, tmp_path: Path, rule: str) -> None:
    with redis_server(tmp_path) as server, server.client() as operator:
        operator.execute_command("ACL", "SETUSER", "wxlogin", "on", f">{KEY}", "~wxlogin:*", "+@all", rule)

        checked = check(REDIS_URL=server.url.replace("//", f"//wxlogin:{KEY}@"))

    assert "Redis does not tell of sessions that change" in checked.of(WARNING)
    assert checked.of(PROBLEM) == []


def test_the_rights_of_the_documentation_are_enough(check: Any, tmp_path: Path) -> None:
    rights = (
        "~wxlogin:* -@all +eval +incrby +pttl +expire +get +hget +hgetall +hset +hdel +type +del +time +expireat "
        "+exists +set +info +ping +client|tracking"
    )
    with redis_server(tmp_path) as server, server.client() as operator:
        operator.execute_command("ACL", "SETUSER", "wxlogin", "reset", "on", f">{KEY}", *rights.split())

        checked = check(REDIS_URL=server.url.replace("//", f"//wxlogin:{KEY}@"))

    assert checked.of(PROBLEM) == []
    assert "may not" not in checked.wrong
    assert "does not tell" not in checked.wrong


def test_tls_that_fails_is_told(check: Any, tmp_path: Path) -> None:
    with tls_redis(tmp_path / "redis") as server:
        checked = check(REDIS_URL=server.url)

    assert checked.of(PROBLEM) == ["TLS with Redis fails"]


def test_a_group_under_sentinels_is_looked_at(check: Any, tmp_path: Path) -> None:
    with sentinel(tmp_path) as group:
        well = check(REDIS_URL=group.url)
        no_master = check(REDIS_URL=group.url.replace("/mymaster", "/another"))
        master = group.master()
        for replica in {*group.nodes} - {master}:
            replica.stop()
        alone = check(REDIS_URL=group.url)

    assert well.of(PROBLEM) == []
    assert "it has no replica" not in well.wrong
    assert no_master.of(PROBLEM) == ["no Sentinel answers and knows the master of that name"]
    assert "it has no replica" in alone.wrong


def test_a_cluster_is_looked_at_on_every_master(check: Any, tmp_path: Path) -> None:
    with cluster(tmp_path) as formed:
        masters = formed._masters()
        masters[0].call("CONFIG SET", "maxmemory-policy", "allkeys-lru")
        well = check(REDIS_URL=formed.url)
        _lose_a_slot(formed)
        torn = check(REDIS_URL=formed.url)

    assert [what for what in well.of(PROBLEM) if "maxmemory-policy allkeys-lru" in what] == well.of(PROBLEM)
    assert sum("is Redis" in what for what in well.of(OK)) == 3
    assert "1 of the Cluster's 16384 slots are nobody's" in torn.of(PROBLEM)


def _lose_a_slot(formed: Cluster) -> None:
    for node in formed.nodes:
        node.call("CONFIG SET", "cluster-require-full-coverage", "no")
    for node in formed.nodes:
        node.call("CLUSTER DELSLOTS", 0)


def test_a_cluster_that_is_none_is_told(check: Any, the_server: RedisServer) -> None:
    checked = check(REDIS_URL=f"redis+cluster://127.0.0.1:{the_server.port}")

    assert "no node of the Cluster answers" in checked.wrong


@pytest.mark.parametrize(
    ("info", "part"),
    [
        ({"redis_version": "5.0.14"}, "it is older than Redis 6"),
        ({"role": "slave"}, "it is a replica"),
        ({"maxmemory": 100, "used_memory": 81}, "it has used 81% of maxmemory"),
        ({"aof_last_write_status": "err"}, "it can't save: aof_last_write_status is not ok"),
        ({"rdb_last_bgsave_status": "err"}, "it can't save: rdb_last_bgsave_status is not ok"),
    ],
)
def test_what_a_server_says_of_itself_is_understood(info: Mapping[str, Any], part: str) -> None:
    well = {"redis_version": "7.0.15", "role": "master", "maxmemory": 100, "used_memory": 80, "aof_enabled": 1}

    assert evaluate_info("it", well) == []
    assert [opinion.what for opinion in evaluate_info("it", {**well, **info})] == [part]


def test_clocks_that_differ_are_told(surroundings: pytest.MonkeyPatch, check: Any) -> None:
    right_time, started_at = time.time, time.monotonic()
    surroundings.setattr(time, "time", lambda: right_time() + 300)

    [told] = [what for what in check().of(WARNING) if "clocks" in what]

    match = re.fullmatch(r"the clocks of Redis and of this machine differ by (\d+) s", told)
    assert match
    between = time.monotonic() - started_at  # it asks for the one after the other
    assert 300 <= int(match[1]) <= round(300 + between)


def test_a_slow_way_to_redis_is_told(surroundings: pytest.MonkeyPatch, check: Any) -> None:
    ticks = itertools.count()
    surroundings.setattr(time, "perf_counter", lambda: next(ticks) * 0.06)

    assert "a round trip takes 60 ms" in check().of(WARNING)


# WeChat


def answering(url: str, answer: Mapping[str, Any]) -> None:
    """Let WeChat's imitation give this answer next."""
    fault = {"path": "/cgi-bin/stable_token", "body": json.dumps(answer)}
    requests.post(f"{url}/_sandbox/faults", json=fault, timeout=5).raise_for_status()


@pytest.mark.parametrize(
    ("answer", "level", "part"),
    [
        (
            {
                "errcode": 40164,
                "errmsg": "invalid ip 203.0.113.7 ipv6 ::ffff:203.0.113.7, not in whitelist rid: 1",
            },
            PROBLEM,
            "(errcode 40164, address 203.0.113.7)",
        ),
        ({"errcode": 40164, "errmsg": "invalid ip 1.2.3.999"}, PROBLEM, "(errcode 40164)"),
        ({"errcode": 40125, "errmsg": SECRET}, PROBLEM, "does not accept the AppSecret (errcode 40125)"),
        ({"errcode": 40013}, PROBLEM, "does not know this AppID (errcode 40013)"),
        ({"errcode": 40243}, PROBLEM, "the AppSecret is frozen (errcode 40243)"),
        ({"errcode": 89501}, PROBLEM, "wait for the administrator's consent (errcode 89501)"),
        ({"errcode": 89503}, PROBLEM, "wait for the administrator's consent (errcode 89503)"),
        ({"errcode": 12345}, PROBLEM, "says no, with errcode 12345 (errcode 12345)"),
        ({"errcode": -1}, WARNING, "WeChat is busy (errcode -1)"),
        ({"errcode": "what"}, PROBLEM, "the answer is not WeChat's"),
        ({}, PROBLEM, "the answer is not WeChat's"),
    ],
)
def test_what_wechat_says_is_explained(
    check: Any, the_wechat: str, answer: Mapping[str, Any], level: str, part: str
) -> None:
    answering(the_wechat, answer)

    assert part in "\n".join(check().of(level))


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"[" * 50_000])
def test_an_answer_that_is_not_wechats_is_told(body: bytes) -> None:
    assert of_wechat._credentials_finding(APPID, body).what == f"{APPID}: the answer is not WeChat's"


def test_a_token_is_asked_for_that_voids_none_and_is_not_kept(
    check: Any, the_wechat: str, the_server: RedisServer
) -> None:
    requests.delete(f"{the_wechat}/_sandbox", timeout=5).raise_for_status()
    before = stable_token(the_wechat)

    check()

    assert stable_token(the_wechat) == before
    calls = requests.get(f"{the_wechat}/_sandbox/calls", timeout=5).json()
    assert [(call["path"], call["errcode"]) for call in calls] == [("/cgi-bin/stable_token", 0)] * 3
    with the_server.client() as client:
        assert [key for key in keys_in(client) if b"token" in key] == []


def stable_token(url: str) -> str:
    """Return the token that all who ask WeChat's imitation share."""
    asked = {"grant_type": "client_credential", "appid": APPID, "secret": SECRET}
    token: str = requests.post(f"{url}/cgi-bin/stable_token", json=asked, timeout=5).json()["access_token"]
    return token


def test_each_mini_program_of_a_file_is_asked_about(check: Any, tmp_path: Path) -> None:
    apps = {f"wx{number:016}": f"canary-{number}" for number in range(10)}
    (tmp_path / "apps.json").write_text(json.dumps({APPID: SECRET, **apps}))

    checked = check(APPS_FILE=str(tmp_path / "apps.json"), APPID="", APP_SECRET="")

    assert f"{APPID}: WeChat takes its AppSecret" in checked.of(OK)
    assert sum("does not know this AppID (errcode 40013)" in what for what in checked.of(PROBLEM)) == 10


def test_wechat_that_cannot_be_reached_is_told_and_does_not_hide_the_rest(check: Any) -> None:
    checked = check(WECHAT_API_URL=f"http://127.0.0.1:{free_port()}")

    assert "127.0.0.1 can't be connected to" in checked.of(PROBLEM)
    assert "the credentials of 1 mini-program could not be checked: NotReached" in checked.of(PROBLEM)
    assert "written, read and deleted" in checked.of(OK)


def test_apps_that_come_after_one_that_cannot_be_asked_about_are_not_tried() -> None:
    url = f"http://127.0.0.1:{free_port()}"

    [finding] = of_wechat.check_credentials(url, {APPID: SECRET, "wx0000000000000001": SECRET})

    assert finding.what == "the credentials of 2 mini-programs could not be checked: NotReached"


@pytest.mark.parametrize(
    ("error", "part"),
    [
        (socket.gaierror(), "the name api.weixin.qq.com is not known here"),
        (TimeoutError(), "api.weixin.qq.com does not answer"),
    ],
)
def test_obstacles_on_the_way_to_wechat_are_told_apart(
    surroundings: pytest.MonkeyPatch, error: OSError, part: str
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    surroundings.setattr(socket, "getaddrinfo", fail)

    assert [finding.what for finding in of_wechat.check_connectivity("https://api.weixin.qq.com")] == [part]


def test_tls_that_somebody_else_answers_is_told(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    signed_by(new_authority(), "localhost", ExtendedKeyUsageOID.SERVER_AUTH).write_to(tmp_path, "server")
    context.load_cert_chain(tmp_path / "server.crt", tmp_path / "server.key")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_shake_hands, args=(listener, context), daemon=True).start()
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"

        [finding] = of_wechat.check_connectivity(url)

    assert finding.what == "TLS with 127.0.0.1 fails"


def _shake_hands(listener: socket.socket, context: ssl.SSLContext) -> None:
    connection, _ = listener.accept()
    with connection:
        try:
            context.wrap_socket(connection, server_side=True)
        except OSError:
            return


def test_a_proxy_of_the_environment_that_is_not_used_is_told(surroundings: pytest.MonkeyPatch, check: Any) -> None:
    surroundings.setenv("https_proxy", f"http://user:{KEY}@proxy.invalid")

    assert "https_proxy is set, and is not used" in check().of(WARNING)
