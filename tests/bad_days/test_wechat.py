"""Rows F-23 to F-38: what WeChat, or the way to it, does to a login, and what a login must not do in return."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import socket
import time
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from tests.bad_days.bench import EXCHANGE, HASTY, Bench, Told, asking, bench, told
from tests.conftest import environment
from tests.drivers import Answer, MiniProgram, Sandbox, over_http
from tests.fault_proxy import fault_proxy
from tests.servers import PATIENT, ROOMY, RedisServer, Service, gunicorn, keys_in, wait_until
from tests.wechat.drivers import (
    NOT_REACHED,
    TLS_FAILURES,
    UNUSABLE_ANSWERS,
    UNUSABLE_BODIES,
    Certificates,
    refusal,
    success,
)
from tests.wechat.upstream import Behaviour, Peer, answer, plays, resets_after_request, upstream

UNUSABLE: Told = (502, "wechat_error")
UNAVAILABLE: Told = (503, "wechat_unavailable")
TIMED_OUT: Told = (504, "wechat_timeout")
CODE = "canary-code-0a3f"


def log_in(day: Bench) -> Answer:
    """Post a code of which no other text is made."""
    return day.user().log_in_with(CODE)


def check_nothing_leaks(day: Bench, refused: Answer) -> None:
    assert day.leaks([refused], CODE, "sandbox-secret") == []
    assert day.sessions() == 0
    assert day.user().log_in().status == 200  # at the real sandbox


@pytest.mark.parametrize(
    "status", ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"], ids="F-23-{}".format
)
def test_a_redirect_is_not_followed(day: Bench, certificates: Certificates, status: str) -> None:
    with contextlib.ExitStack() as days:
        elsewhere = days.enter_context(upstream(plays(answer(success()))))
        head = f"Location: {elsewhere.url}/sns/jscode2session"
        seen = days.enter_context(upstream(plays(answer(b"", status=status, headers=head))))
        refused = log_in(days.enter_context(asking(day, seen.url, certificates)))

    assert told(refused) == UNUSABLE
    assert (len(seen.requests), elsewhere.connections) == (1, 0)
    check_nothing_leaks(day, refused)


@pytest.mark.parametrize("name", NOT_REACHED, ids="F-24-{}".format)
def test_without_a_connection_the_code_is_not_spent(day: Bench, certificates: Certificates, name: str) -> None:
    with (
        NOT_REACHED[name].begin(certificates) as seen,
        asking(day, seen.url, certificates, timeouts=HASTY) as hurt,
    ):
        refused = log_in(hurt)

    assert told(refused) == UNAVAILABLE
    assert (refused.error["retryable"], refused.headers["Retry-After"]) == (True, "1")
    assert CODE.encode() not in seen.received
    assert seen.connections <= 2
    check_nothing_leaks(day, refused)


def test_f_24_black_holed_connections_end_in_time(day: Bench, certificates: Certificates) -> None:
    with full_listener() as url, asking(day, url, certificates, timeouts=HASTY) as hurt:
        refused = log_in(hurt)

    assert told(refused) == UNAVAILABLE
    check_nothing_leaks(day, refused)


@contextlib.contextmanager
def full_listener() -> Iterator[str]:
    """Listen, but let no more connections come about: the kernel drops what asks for one."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(address)
        try:
            yield f"http://127.0.0.1:{address[1]}"
        finally:
            for each in waiting:
                each.close()


@pytest.mark.parametrize("name", TLS_FAILURES, ids="F-25-{}".format)
def test_bad_tls_gets_no_request_and_no_second_chance(day: Bench, certificates: Certificates, name: str) -> None:
    with TLS_FAILURES[name].begin(certificates) as seen, asking(day, seen.url, certificates) as hurt:
        refused = log_in(hurt)

    assert told(refused) == UNUSABLE
    assert (seen.connections, seen.requests) == (1, [])
    assert b"sandbox-secret" not in seen.received
    check_nothing_leaks(day, refused)


def test_f_25_good_tls_of_our_authority_is_trusted(day: Bench, certificates: Certificates) -> None:
    with (
        upstream(plays(answer(success())), tls=certificates.server("good")) as seen,
        asking(day, seen.url, certificates) as well,
    ):
        assert log_in(well).status == 200


STATUSES = [
    (status, head)
    for status in ("429 Slow down", "500 Oh", "502 Oh", "503 Oh")
    for head in ("Content-Type: text/plain", "Retry-After: 1")
]


@pytest.mark.parametrize(
    ("status", "head"), [pytest.param(*each, id=f"F-26-{each[0][:3]}-{each[1][:5]}") for each in STATUSES]
)
def test_what_may_have_spent_the_code_is_asked_once(
    day: Bench, certificates: Certificates, status: str, head: str
) -> None:
    with (
        upstream(plays(answer(success(), status=status, headers=head))) as seen,
        asking(day, seen.url, certificates) as hurt,
    ):
        refused = log_in(hurt)

    assert told(refused) == UNUSABLE
    assert len(seen.requests) == 1
    check_nothing_leaks(day, refused)


@pytest.mark.parametrize("name", UNUSABLE_BODIES, ids="F-27-{}".format)
def test_a_body_that_is_not_wechats_makes_no_session(day: Bench, certificates: Certificates, name: str) -> None:
    with upstream(plays(answer(UNUSABLE_BODIES[name]))) as seen, asking(day, seen.url, certificates) as hurt:
        refused = log_in(hurt)

    assert told(refused) == UNUSABLE
    assert len(seen.requests) == 1
    check_nothing_leaks(day, refused)


@pytest.mark.parametrize("label", ["text/plain", "text/html", "application/octet-stream"], ids="F-27-{}".format)
def test_the_body_counts_and_not_what_it_is_labelled(day: Bench, certificates: Certificates, label: str) -> None:
    with (
        upstream(plays(answer(success(), headers=f"Content-Type: {label}"))) as seen,
        asking(day, seen.url, certificates) as well,
    ):
        assert log_in(well).status == 200


LONG = ("gzip", "a gzip bomb", "a long body", "a long chunked body", "an endless body", "an endless chunked body")


@pytest.mark.parametrize("name", LONG, ids="F-29-{}".format)
def test_a_huge_body_is_left_alone(day: Bench, certificates: Certificates, name: str) -> None:
    with UNUSABLE_ANSWERS[name].begin(certificates) as seen, asking(day, seen.url, certificates) as hurt:
        tracemalloc.start()
        refused = log_in(hurt)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()

    assert told(refused) == UNUSABLE
    assert peak < 5_000_000
    check_nothing_leaks(day, refused)


def test_f_30_a_code_whose_answer_was_lost_is_not_sent_again(day: Bench) -> None:
    day.sandbox.arm(reset=True)
    code = day.sandbox.issue_code()

    refused = day.user().log_in_with(code)

    assert told(refused) == TIMED_OUT
    assert refused.error["retryable"] is False
    assert "new code" in refused.error["message"]
    assert (day.exchanges(), day.sessions()) == (1, 0)
    assert day.leaks([refused], code) == []


def test_f_30_a_client_that_sends_it_again_all_the_same_is_not_logged_in(day: Bench) -> None:
    day.sandbox.arm(reset=True)
    code = day.sandbox.issue_code()
    day.user().log_in_with(code)

    again = day.user().log_in_with(code)

    assert told(again) == (400, "code_used")
    assert day.sessions() == 0


def _busy_and_lost(peer: Peer) -> None:
    peer.read_request()
    peer.send(answer(refusal(-1)))
    resets_after_request(peer)


@pytest.mark.parametrize(
    "second",
    [
        pytest.param(plays(answer(refusal(-1)), answer(refusal(40163))), id="F-30-used"),
        pytest.param(_busy_and_lost, id="F-30-lost"),
    ],
)
def test_a_second_try_that_finds_the_code_spent_is_no_success(
    day: Bench, certificates: Certificates, second: Behaviour
) -> None:
    with upstream(second) as seen, asking(day, seen.url, certificates) as hurt:
        refused = log_in(hurt)

    assert told(refused) == TIMED_OUT
    assert len(seen.requests) == 2
    check_nothing_leaks(day, refused)


def test_f_30_a_reset_over_tls_is_no_reason_to_ask_again(day: Bench, certificates: Certificates) -> None:
    with (
        upstream(resets_after_request, tls=certificates.server("good")) as seen,
        asking(day, seen.url, certificates) as hurt,
    ):
        refused = log_in(hurt)

    assert told(refused) == TIMED_OUT
    assert len(seen.requests) == 1
    check_nothing_leaks(day, refused)


def children_of(service: Service) -> list[int]:
    pid = service.process.pid
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_f_31_a_worker_killed_between_wechats_answer_and_redis_leaves_nothing(
    the_redis_server: RedisServer, sandbox: Sandbox, roomy: object, tmp_path: Path
) -> None:
    workers: list[int] = []

    def kills_the_worker(peer: Peer) -> None:
        peer.read_request()
        if workers:
            os.kill(workers.pop(), signal.SIGKILL)
        peer.send(answer(success()))

    with upstream(kills_the_worker) as seen, the_redis_server.client() as redis:
        settings = environment(redis_url=the_redis_server.url, wechat_api_url=seen.url)
        with gunicorn(tmp_path, settings, workers=1) as service:
            workers += children_of(service)
            user = MiniProgram(over_http(service.url), sandbox)
            with pytest.raises(requests.ConnectionError):
                user.log_in_with(CODE)
            assert [key for key in keys_in(redis) if key.startswith(b"wxlogin:user:")] == []
            assert user.log_in_with("another-code").status == 200


def test_f_33_a_wechat_that_is_busy_for_long_is_asked_rarely_and_forgiven_soon(day: Bench) -> None:
    day.sandbox.arm(errcode=-1, times=1_000)
    started_at = time.monotonic()

    answers = [day.user().log_in_with(f"{CODE}-{number}") for number in range(200)]

    seconds = time.monotonic() - started_at
    calls = day.exchanges()
    day.sandbox.reset()
    assert {told(each) for each in answers} == {UNAVAILABLE}
    assert calls <= 6 + seconds  # five that fail, and a probe a second
    wait_until(lambda: day.user().log_in().status == 200, what="the breaker closes")


@pytest.fixture(scope="module")
def slow_and_one_worker(
    the_redis_server: RedisServer, the_sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("one")
    settings = environment(redis_url=the_redis_server.url, wechat_api_url=the_sandbox.url)
    with gunicorn(folder, settings, workers=1) as service:
        yield service


@pytest.fixture
def user(slow_and_one_worker: Service, sandbox: Sandbox, roomy: object) -> MiniProgram:
    """Somebody who is logged in, at a service of one worker."""
    user = MiniProgram(over_http(slow_and_one_worker.url), sandbox)
    wait_until(lambda: user.log_in().status == 200, what="no breaker is open any more")
    return user


def test_f_35_five_hundred_logins_at_a_slow_wechat_leave_session_checks_alone(
    user: MiniProgram, sandbox: Sandbox
) -> None:
    before = len(sandbox.answers(EXCHANGE))
    sandbox.arm(delay_seconds=1.5, times=1_000)
    codes = [f"{CODE}-{number}" for number in range(500)]

    with ThreadPoolExecutor(100) as threads:
        logins = [threads.submit(user.send, "POST", "/login", json={"code": code}) for code in codes]
        checks = [user.get("/auth").status for _ in range(50)]
        refused = {told(login.result()) for login in logins}

    asked = len(sandbox.answers(EXCHANGE)) - before
    sandbox.reset()
    assert checks == [204] * 50
    assert refused <= {UNAVAILABLE, TIMED_OUT, (400, "invalid_code")}
    assert asked < 100


def test_f_35_sixty_waiters_for_a_dead_access_token_are_one_refresh(day: Bench) -> None:
    phone = day.user()
    phone.log_in()
    phone.post("/session-key/check")
    day.sandbox.end_tokens(expire=True)
    day.forget("wxlogin:token:")
    day.sandbox.arm(path="/cgi-bin/stable_token", delay_seconds=0.5)
    before = len(day.sandbox.answers("/cgi-bin/stable_token"))

    with ThreadPoolExecutor(60) as threads:
        answers = [*threads.map(lambda _: phone.post("/session-key/check"), range(60))]

    assert {answer.status for answer in answers} == {200}
    assert len(day.sandbox.answers("/cgi-bin/stable_token")) - before == 1


def test_f_36_fifty_submits_of_one_code_to_two_workers_of_whom_one_never_hears_of_its_claim(
    the_redis_server: RedisServer, sandbox: Sandbox, day: Bench, tmp_path: Path
) -> None:
    code = sandbox.issue_code()
    with (
        fault_proxy(the_redis_server.port) as proxy,
        gunicorn(
            tmp_path,
            environment(redis_url=proxy.url, wechat_api_url=sandbox.url) | ROOMY,
            options=PATIENT,
        ) as service,
        ThreadPoolExecutor(50) as threads,
    ):
        send = over_http(service.url)
        proxy.drop_reply_of("wxlogin:code:")
        answers = [*threads.map(lambda _: send("POST", "/login", json={"code": code}), range(50))]

    assert proxy.dropped_replies == 1
    assert {(answer.status, answer.set_cookie) for answer in answers} == {(200, answers[0].set_cookie)}
    assert (day.exchanges(), day.sessions()) == (1, 1)


def test_f_36_an_owner_who_never_heard_of_its_claim_knows_it_again(
    the_redis_server: RedisServer, day: Bench
) -> None:
    with fault_proxy(the_redis_server.port) as proxy:
        through = bench(dataclasses.replace(day.settings, redis_url=proxy.url), day.sandbox, day.redis, day.log)
        proxy.drop_reply_of("wxlogin:code:")

        assert through.user().log_in().status == 200

    assert proxy.dropped_replies == 1
    assert (day.exchanges(), day.sessions()) == (1, 1)


def test_f_37_twenty_logins_of_one_user_at_once_are_twenty_sessions(day: Bench) -> None:
    phones = [day.user() for _ in range(20)]
    codes = [day.sandbox.issue_code(openid=phone.openid) for phone in phones]

    with ThreadPoolExecutor(20) as threads:
        answers = [*threads.map(MiniProgram.log_in_with, phones, codes)]

    assert {answer.status for answer in answers} == {200}
    assert len({phone.stored for phone in phones}) == 20
    assert {len(phone.get("/sessions").json["sessions"]) for phone in phones} == {20}


def test_f_37_all_sessions_of_a_user_read_what_is_under_the_newest_key(day: Bench) -> None:
    phones = [day.user() for _ in range(5)]
    for phone in phones:
        phone.log_in()
    data = day.sandbox.user_data(openid=phones[0].openid)
    body = {name: data[name] for name in ("encryptedData", "iv")}

    assert {phone.post("/user-data/decrypt", json=body).status for phone in phones} == {200}


def _held_by(pid: int) -> tuple[int, int]:
    """Return how many threads and files a process has."""
    return len([*Path(f"/proc/{pid}/task").iterdir()]), len([*Path(f"/proc/{pid}/fd").iterdir()])


def test_f_38_a_slow_wechat_makes_nothing_grow(
    slow_and_one_worker: Service, user: MiniProgram, sandbox: Sandbox
) -> None:
    [worker] = children_of(slow_and_one_worker)
    sandbox.arm(delay_seconds=0.15, times=10_000)

    for round_ in range(4):
        codes = [f"{CODE}-{round_}-{number}" for number in range(40)]
        with ThreadPoolExecutor(20) as threads:
            logins = [threads.submit(user.send, "POST", "/login", json={"code": code}) for code in codes]
            checks = [user.get("/auth").status for _ in range(20)]
            refused = {told(login.result()) for login in logins}
        assert checks == [204] * 20
        assert refused <= {UNAVAILABLE, (400, "invalid_code")}

    sandbox.reset()
    threads_left, files_left = _held_by(worker)
    assert threads_left <= 20  # eight to serve, eight to connect
    assert files_left <= 60
