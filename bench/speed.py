"""How fast the service is, and beside others: ``make bench``.

Needs redis-server, nginx, wrk, node and two idle cores, and takes 17 minutes. Servers run on one core with one
worker of eight threads, the load and Redis on the other. What is compared is measured in turns within one run;
told are medians and, of ratios, the least and the most of the rounds. bench/README.md says what they mean.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import datetime as dt
import json
import platform
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

import requests
from redis import Redis

from bench import redis_memory
from bench.servers import (
    ALL,
    AT_ONCE,
    BARE,
    CEILING,
    EXPRESS,
    HERE,
    LOAD_CORE,
    STOCK_FLASK,
    WITHOUT_CACHE,
    WXLOGIN,
    Contender,
    Running,
    behind_nginx,
    record_of,
    redis_server,
    serving,
    store_on,
    time_of_wechat,
    wait_until,
    wechat,
)
from wxlogin.sessions.record import User
from wxlogin.sessions.session_id import hash_of
from wxlogin.storage.gateway import RedisGateway

ROUNDS = 5
SECONDS = 3
WARM_UP_SECONDS = 1
CONNECTIONS = 16
SESSIONS = (1, 1_000, 100_000)
MANY = 1_000_000
TRIALS = 1_000
LOGINS = 450
WECHAT_SECONDS = 0.05


@dataclasses.dataclass(frozen=True, slots=True)
class Measured:
    """One round of one server; times in microseconds."""

    per_second: float
    p50: float
    p99: float
    cpu: float


Rounds = dict[str, list[Measured]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and write bench/results.md and the plots."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only", choices=[*SCENARIOS], action="append", help="one of the scenarios; repeatable")
    options = parser.parse_args(arguments)
    report = [head(options.rounds)]
    for name in options.only or SCENARIOS:
        say(f"{name} …")
        report.append(SCENARIOS[name](options.rounds))
        say(report[-1])
    if not options.only:
        (HERE / "results.md").write_text("\n".join(report))
    return 0


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def head(rounds: int) -> str:
    models = re.findall(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    packages = ", ".join(f"{name} {version(name)}" for name in ("gunicorn", "Flask", "Flask-Session", "redis"))
    tools = [_first_line(each) for each in (["redis-server", "--version"], ["node", "--version"])]
    return "\n".join(
        [
            "# Results\n",
            f"Measured on {dt.datetime.now(dt.UTC).date()} with `make bench`: {rounds} rounds of {SECONDS} s,",
            f"{CONNECTIONS} connections. {models[0]}, {len(models)} cores; Python {platform.python_version()},",
            f"{packages};",
            f"{tools[0]}; node {tools[1]}.\n",
        ]
    )


def _first_line(command: list[str]) -> str:
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603  # our own words
    return " ".join(said.split()[:3])


# Load


def load(
    server: Running,
    lines: Path,
    path: str,
    *,
    kind: str = "check",
    seconds: int = SECONDS,
    is_refused: bool = False,
) -> Measured:
    """Ask a server as fast as it answers, and return what that came to; ends if it answers as it should not."""
    command = [
        "taskset",
        "-c",
        LOAD_CORE,
        "wrk",
        "-t1",
        f"-c{CONNECTIONS}",
        f"-d{seconds}s",
        "-s",
        str(HERE / "load.lua"),
    ]
    before = server.cpu_seconds()
    said = subprocess.run(  # noqa: S603  # our own words
        [*command, server.url, "--", str(lines), path, kind], capture_output=True, text=True, check=True
    ).stdout
    spent = server.cpu_seconds() - before
    told: dict[str, float] = json.loads(said.strip().splitlines()[-1])
    if told["lost"] or told["refused"] != (told["requests"] if is_refused else 0):
        raise SystemExit(f"{server.name} does not answer as it should: {told}")
    return Measured(
        told["requests"] / told["microseconds"] * 1e6, told["p50"], told["p99"], spent / told["requests"] * 1e6
    )


def in_turns(servers: Sequence[Running], measure: Callable[[Running], Measured], *, rounds: int) -> Rounds:
    """Measure all of them in each round."""
    found: Rounds = {server.name: [] for server in servers}
    for _ in range(rounds):
        for server in servers:
            found[server.name].append(measure(server))
    return found


@contextlib.contextmanager
def all_serving(contenders: Sequence[Contender], *, users: int) -> Iterator[list[Running]]:
    with contextlib.ExitStack() as stack:
        servers = []
        for contender in contenders:
            redis = stack.enter_context(redis_server())
            cookies = contender.fill(redis, range(users))
            servers.append(stack.enter_context(serving(contender, redis, cookies=cookies)))
        yield servers


@contextlib.contextmanager
def written(lines: Sequence[str]) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lines"
        path.write_text("\n".join(lines) + "\n")
        yield path


def compare(
    servers: Sequence[Running],
    cookies_of: Callable[[Running], Sequence[str]],
    *,
    rounds: int,
    is_refused: bool = False,
) -> Rounds:
    """Measure the checks of several servers, after a warm-up."""
    with contextlib.ExitStack() as stack:
        files = {server.name: stack.enter_context(written(cookies_of(server))) for server in servers}

        def ask(server: Running, seconds: int = SECONDS) -> Measured:
            return load(server, files[server.name], "/auth", seconds=seconds, is_refused=is_refused)

        for server in servers:
            ask(server, WARM_UP_SECONDS)
        return in_turns(servers, ask, rounds=rounds)


# Tables


def median(rounds: Sequence[Measured], what: str) -> float:
    values: list[float] = [getattr(each, what) for each in rounds]
    return statistics.median(values)


def ratio(found: Rounds, one: str, other: str, what: str = "per_second") -> str:
    """Return the median of the rounds' ratios, and their range."""
    pairs = zip(found[one], found[other], strict=True)
    ratios = sorted(getattr(a, what) / getattr(b, what) for a, b in pairs)
    return f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"


def table(found: Rounds) -> str:
    rows = [
        f"| {name} | {median(rounds, 'per_second'):,.0f} | {median(rounds, 'p50') / 1000:.2f} | "
        f"{median(rounds, 'p99') / 1000:.2f} | {median(rounds, 'cpu'):.0f} |"
        for name, rounds in found.items()
    ]
    return "\n".join(["| | requests/s | p50, ms | p99, ms | CPU, µs a request |", "|---|---|---|---|---|", *rows])


# Scenarios


def checks(rounds: int) -> str:
    """/auth with valid sessions, few and many."""
    parts, per_sessions = [], {}
    rows = [(WXLOGIN, each) for each in (STOCK_FLASK, EXPRESS, CEILING, BARE, AT_ONCE)]
    rows += [(WITHOUT_CACHE, EXPRESS)]
    for users in SESSIONS:
        with all_serving(ALL, users=users) as servers:
            found = compare(servers, lambda server: server.cookies, rounds=rounds)
            memory = servers[0].megabytes()
        per_sessions[f"{users:,}"] = {name: median(each, "per_second") for name, each in found.items()}
        parts.append(
            f"## `/auth` with a valid session, {users:,} in the mix\n\n{table(found)}\n\n{ratios(found, rows)}\n"
        )
        parts.append(f"Resident memory of wxlogin's worker afterwards: {memory:.0f} MB\n")
    from bench import plots  # which needs what only the measurements need

    plots.bars(HERE / "checks.svg", per_sessions, title="/auth, requests a second, by sessions in the mix")
    return "\n".join([*parts, "![Requests a second](checks.svg)\n"])


def ratios(found: Rounds, rows: Sequence[tuple[Contender, Contender]]) -> str:
    lines = [f"| {one.name} | {other.name} | {ratio(found, one.name, other.name)} |" for one, other in rows]
    late = f"| {WXLOGIN.name}, p99 | {CEILING.name}, p99 | {ratio(found, WXLOGIN.name, CEILING.name, 'p99')} |"
    return "\n".join(["| | against | ratio (of the rounds) |", "|---|---|---|", *lines, late])


def nginx(rounds: int) -> str:
    """/auth as nginx asks it, about requests that it then answers by itself."""
    contenders = (WXLOGIN, WITHOUT_CACHE, STOCK_FLASK, EXPRESS, CEILING)
    with all_serving(contenders, users=1_000) as servers, contextlib.ExitStack() as stack:
        fronts = [stack.enter_context(behind_nginx(server)) for server in servers]
        found = compare(fronts, lambda server: server.cookies, rounds=rounds)
    rows = [(WXLOGIN, each) for each in (STOCK_FLASK, EXPRESS, CEILING)] + [(WITHOUT_CACHE, EXPRESS)]
    return f"## `/auth` through nginx, 1,000 sessions in the mix\n\n{table(found)}\n\n{ratios(found, rows)}\n"


def refused(rounds: int) -> str:
    """/auth without a session, and with a wrong id."""
    parts = []
    with all_serving((WXLOGIN, WITHOUT_CACHE, STOCK_FLASK, EXPRESS), users=1) as servers:
        for what, lines in (
            ("no session", ["other=1"]),
            ("a wrong id", [f"sessionid={'x' * 59}; session={'x' * 43}"]),
        ):
            found = compare(servers, lambda _server, lines=lines: lines, rounds=rounds, is_refused=True)  # type: ignore[misc]
            parts.append(f"## `/auth` with {what}\n\n{table(found)}\n")
    return "\n".join(parts)


def logins(rounds: int) -> str:
    """Logins while WeChat takes 50 ms."""
    with (
        wechat(seconds=WECHAT_SECONDS) as sandbox,
        redis_server() as redis,
        serving(WXLOGIN, redis, WXLOGIN_WECHAT_API_URL=sandbox) as server,
    ):
        found = []
        for _ in range(rounds + 1):
            codes = [requests.post(f"{sandbox}/_sandbox/codes", timeout=5).json()["code"] for _ in range(LOGINS)]
            with written(codes) as lines:
                found.append(load(server, lines, "/login", kind="login", seconds=2))
        own = time_of_wechat(sandbox)
    bound = 8 / WECHAT_SECONDS
    shares = sorted(each.per_second / bound for each in found[1:])
    return (
        f"## Logins while WeChat takes 50 ms\n\n{median(found[1:], 'per_second'):.0f} a second, "
        f"{median(found[1:], 'cpu') / 1000:.1f} ms of a processor each.\n"
        f"Of the {bound:.0f} that 8 threads can wait for: {statistics.median(shares):.2f} "
        f"({shares[0]:.2f} to {shares[-1]:.2f}). A call of the sandbox alone: {own * 1000:.1f} ms.\n"
    )


def start(rounds: int) -> str:
    """From nothing to ready."""
    times = []
    with redis_server() as redis:
        for _ in range(rounds):
            began = time.perf_counter()
            with serving(WXLOGIN, redis) as server:
                wait_until(lambda server=server: requests.get(f"{server.url}/readyz", timeout=5).ok)  # type: ignore[misc]
                times.append(time.perf_counter() - began)
                memory = server.megabytes()
    return (
        f"## Start\n\nFrom the command to a 200 of `/readyz`, on one core: {statistics.median(times):.2f} s "
        f"({min(times):.2f} to {max(times):.2f}).\n"
        f"Resident memory of a worker that has just started: {memory:.0f} MB\n"
    )


def growth(rounds: int) -> str:
    """What a million sessions change."""
    sizes = (1_000, MANY)
    with contextlib.ExitStack() as stack:
        servers, creations, dice = [], {}, random.Random(1)  # noqa: S311  # no secret
        for size in sizes:
            redis = stack.enter_context(redis_server())
            cookies = WITHOUT_CACHE.fill(redis, range(size))
            sample = dice.sample(cookies, 1_000)
            contender = Contender(
                f"{size:,} sessions",
                WITHOUT_CACHE.command,
                WITHOUT_CACHE.fill,
                environment=WITHOUT_CACHE.environment,
            )
            servers.append(stack.enter_context(serving(contender, redis, cookies=sample)))
            creations[size] = cost_of_logins(redis, size)
        found = compare(servers, lambda server: server.cookies, rounds=rounds)
        endings = {count: cost_of_ending(servers[-1].redis, count) for count in (1, 20, 200)}
    one, other = (server.name for server in servers)
    ends = ", ".join(f"{count} sessions {micros:.0f} µs" for count, micros in endings.items())
    return (
        f"## A million sessions against a thousand, near cache off\n\n{table(found)}\n\n"
        f"p50 of `/auth`: {ratio(found, other, one, 'p50')} of what it is with a thousand.\n"
        f"Storing a login: {creations[sizes[1]]:.0f} µs, with a thousand {creations[sizes[0]]:.0f} µs.\n"
        f"Logging out everywhere, of a user with {ends}.\n"
    )


def cost_of_logins(redis: Redis, offset: int, *, count: int = 2_000) -> float:
    store = store_on(RedisGateway(lambda: redis))
    records = [record_of(MANY * 2 + offset + number, store.now()) for number in range(count)]
    began = time.perf_counter()
    for record in records:
        store.create(record)
    return (time.perf_counter() - began) / count * 1e6


def cost_of_ending(redis: Redis, count: int, *, times: int = 50) -> float:
    store, spent = store_on(RedisGateway(lambda: redis)), []
    for number in range(times):
        record = record_of(MANY * 3 + number, store.now())
        for _ in range(count):
            store.create(record)
        began = time.perf_counter()
        store.delete_all(hash_of(User(record.user.appid, record.user.openid)))
        spent.append(time.perf_counter() - began)
    return statistics.median(spent) * 1e6


def memory(_rounds: int) -> str:
    """What a session takes in Redis."""
    values = redis_memory.LISTPACK_VALUES
    rows = [redis_memory.measure(name, value) for value in values for name in redis_memory.FILLS]
    return (
        f"## Redis's `used_memory` for each of {redis_memory.USERS:,} users with one session\n\n"
        "| bytes a user | `hash-max-listpack-value` | without unionid | with | half of them |\n"
        "|---|---|---|---|---|\n" + "".join(rows)
    )


def news(_rounds: int) -> str:
    """How soon one worker knows what another has ended."""
    with redis_server() as redis, serving(WXLOGIN, redis) as one, serving(WXLOGIN, redis) as other:
        cookies = WXLOGIN.fill(redis, range(TRIALS))
        with requests.Session() as here, requests.Session() as there:
            wait_until(lambda: is_remembered(there, other, cookies[0]))
            times = sorted(delay_of_news(here, there, one, other, cookie) for cookie in cookies)
    p50, p99, most = (times[int(len(times) * share) - 1] * 1000 for share in (0.5, 0.99, 1))
    return (
        "## News of an ended session\n\nFrom the answer to the logout at one worker to the first refusal\n"
        f"by another that had it in memory, {TRIALS:,} times: p50 {p50:.1f} ms, p99 {p99:.1f} ms, at the most "
        f"{most:.1f} ms.\nAsking takes about a millisecond itself.\n"
    )


def is_remembered(session: requests.Session, server: Running, cookie: str) -> bool:
    """Say whether a check is answered without Redis."""
    session.get(f"{server.url}/auth", headers={"Cookie": cookie}, timeout=5)
    before = server.redis.info("commandstats")["cmdstat_hget"]["calls"]
    session.get(f"{server.url}/auth", headers={"Cookie": cookie}, timeout=5)
    return bool(server.redis.info("commandstats")["cmdstat_hget"]["calls"] == before)


def delay_of_news(
    here: requests.Session, there: requests.Session, one: Running, other: Running, cookie: str
) -> float:
    headers = {"Cookie": cookie}
    for _ in range(2):
        there.get(f"{other.url}/auth", headers=headers, timeout=5)
    here.delete(f"{one.url}/session", headers=headers, timeout=5).raise_for_status()
    ended = time.perf_counter()
    while there.get(f"{other.url}/auth", headers=headers, timeout=5).status_code != 401:
        pass
    return time.perf_counter() - ended


SCENARIOS: dict[str, Callable[[int], str]] = {
    "checks": checks,
    "nginx": nginx,
    "refused": refused,
    "logins": logins,
    "memory": memory,
    "start": start,
    "growth": growth,
    "news": news,
}

if __name__ == "__main__":
    sys.exit(main())
