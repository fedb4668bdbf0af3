"""What a logged-in user costs in Redis, beside stock Flask-Session: ``.venv/bin/python bench/redis_memory.py``.

Needs redis-server on the PATH and takes about a minute. Every fill gets a redis-server of its own, on loopback and
without a file, which is gone afterwards. Told is how much Redis's ``used_memory`` grows per user, each of whom has
one session: for users without a unionid, for users with one, and for as many of both.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import shutil
import socket
import subprocess
import sys
import time
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Iterator

from flask import Flask, Request, Response
from flask_session.redis.redis import RedisSessionInterface
from redis import Redis, RedisError

from wxlogin.sessions.record import SessionRecord, User
from wxlogin.sessions.store import Lifetimes, SessionStore
from wxlogin.storage.encryption import RecordCipher
from wxlogin.storage.gateway import RedisGateway

USERS = 100_000
HALF = USERS // 2
LISTPACK_VALUES = (64, 512)  # as Redis comes, and as docs/operations.md advises
APPID = "wx4f4bc4dec97d474b"
PIPELINED = 500
TIMEOUT_SECONDS = 20

# WeChat's user agents, about 170 and 320 characters; what differs between phones and releases is filled in.
IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 1{digit}_{hour} like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Mobile/15E148 MicroMessenger/8.0.{release}(0x1800{build:04x}) NetType/{net} Language/zh_CN"
)
ANDROID = (
    "Mozilla/5.0 (Linux; Android 1{digit}; {model} Build/UKQ1.2{build:05}.001; wv) AppleWebKit/537.36 "
    "(KHTML, like Gecko) Version/4.0 Chrome/1{release}.0.{build}.{hour} Mobile Safari/537.36 XWEB/1{build} "
    "MMWEBSDK/20240{digit}01 MMWEBID/{build} MicroMessenger/8.0.{release}.2{hour}00(0x2800{build:04X}) "
    "WeChat/arm64 Weixin NetType/{net} Language/zh_CN ABI/arm64 MiniProgramEnv/android"
)
MODELS = ("V2309A", "23127PN0CC", "PGT-AN00", "SM-S9180", "PHZ110", "ALN-AL80", "V2241A", "2211133C")
NETS = ("WIFI", "WIFI", "4G", "5G")


def main() -> int:
    """Measure, and print the table."""
    if not shutil.which("redis-server"):
        sys.stderr.write("this needs redis-server: apt-get install redis-server\n")
        return 1
    started_at = time.monotonic()
    rows = [measure(name, listpack_value) for listpack_value in LISTPACK_VALUES for name in FILLS]
    version = subprocess.run(["redis-server", "--version"], capture_output=True, check=True, text=True)  # noqa: S607
    today, seconds = dt.datetime.now(dt.UTC).date(), time.monotonic() - started_at
    sys.stdout.write(
        f"{today}, {version.stdout.strip()}\n{USERS} users with one session each, {seconds:.0f} s\n\n"
    )
    sys.stdout.write("| bytes a user | `hash-max-listpack-value` | without unionid | with | half of them |\n")
    sys.stdout.writelines(["|---|---|---|---|---|\n", *rows])
    return 0


def measure(name: str, listpack_value: int) -> str:
    """Fill a fresh redis-server, and return a row of the table."""
    fill = FILLS[name]
    with redis_server(listpack_value) as redis:
        empty = settled_memory(redis)
        fill(redis, range(HALF))
        half_full = settled_memory(redis)
        fill(redis, range(HALF, USERS))
        full = settled_memory(redis)
    # The halves compare: Redis doubles its tables between them, at 65,536 keys, and at no other count near them.
    sizes = ((half_full - empty) / HALF, (full - half_full) / HALF, (full - empty) / USERS)
    return f"| {name} | {listpack_value} | {' | '.join(f'{size:.0f}' for size in sizes)} |\n"


def log_in_here(redis: Redis, users: range) -> None:
    """Store logins as the service does; users of the second half have a unionid."""
    store = SessionStore(
        RedisGateway(lambda: redis),
        RecordCipher(["a secret key of no importance"]),
        lifetimes=Lifetimes(idle=7 * 86400, absolute=30 * 86400),
        max_per_user=20,
    )
    for number in users:
        now = store.now()
        record = SessionRecord(
            user=User(APPID, openid_of(number), unionid_of(number) if number >= HALF else None),
            session_key=session_key_of(number),
            created_at=now,
            last_seen_at=now,
            user_agent=user_agent_of(number),
        )
        store.create(record)


def log_in_there(redis: Redis, users: range) -> None:
    """Store the same logins as Flask-Session does, with an openid and a session_key and nothing else."""
    app = Flask(__name__)
    pipeline = redis.pipeline(transaction=False)
    interface = RedisSessionInterface(app, client=pipeline)
    for number in users:
        session = interface.open_session(app, Request({}))
        session["openid"], session["session_key"] = openid_of(number), session_key_of(number)
        interface.save_session(app, session, Response())
        if len(pipeline) >= PIPELINED:
            pipeline.execute()
    pipeline.execute()


FILLS: dict[str, Callable[[Redis, range], None]] = {"wxlogin": log_in_here, "Flask-Session": log_in_there}


@contextlib.contextmanager
def redis_server(listpack_value: int) -> Iterator[Redis]:
    """Run a redis-server that keeps nothing, and give a client of it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
    command = ["redis-server", "--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no"]
    command += ["--hash-max-listpack-value", str(listpack_value)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: S603  # our own words
    try:
        with Redis(port=int(port), protocol=2) as redis:
            wait_for(redis)
            yield redis
    finally:
        server.kill()
        server.wait()


def wait_for(redis: Redis) -> None:
    """Return when the server answers; raises redis-py's error if it never does."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while True:
        try:
            redis.ping()
        except RedisError:
            if time.monotonic() > deadline:
                raise
        else:
            return


def settled_memory(redis: Redis) -> int:
    """Return Redis's ``used_memory`` when it no longer changes: it moves its tables while idle."""
    before, now = -1, used_memory(redis)
    while now != before:
        time.sleep(0.5)
        before, now = now, used_memory(redis)
    return now


def used_memory(redis: Redis) -> int:
    """Return how much memory Redis has given to data, tables, connections and itself."""
    return int(redis.info("memory")["used_memory"])


def openid_of(number: int) -> str:
    """Return 28 characters, as WeChat's are."""
    return f"o{urlsafe_b64encode(digest('openid', number)).decode()[:27]}"


def unionid_of(number: int) -> str:
    """Return 28 characters, as WeChat's are."""
    return f"o{urlsafe_b64encode(digest('unionid', number)).decode()[:27]}"


def session_key_of(number: int) -> str:
    """Return 24 characters, as WeChat's are: 16 bytes."""
    return b64encode(digest("session_key", number)[:16]).decode()


def user_agent_of(number: int) -> str:
    """Return an iPhone's user agent or, of every other user, an Android phone's."""
    dice = digest("user agent", number)
    return (ANDROID if number % 2 else IPHONE).format(
        digit=dice[0] % 6,
        hour=dice[1] % 8,
        release=40 + dice[2] % 20,
        build=1000 + int.from_bytes(dice[3:5], "big") % 9000,
        model=MODELS[dice[5] % len(MODELS)],
        net=NETS[dice[6] % len(NETS)],
    )


def digest(what: str, number: int) -> bytes:
    """Return 32 bytes that are the same in every run."""
    return hashlib.sha256(f"{what} {number}".encode()).digest()


if __name__ == "__main__":
    sys.exit(main())
