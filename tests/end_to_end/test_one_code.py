"""One code, one exchange, on two workers; and WeChat's bad days stay the logins' own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.conftest import environment
from tests.drivers import Answer, MiniProgram, Sandbox, Send, over_http
from tests.servers import (
    PATIENT,
    ROOMY,
    RedisServer,
    Service,
    clean_environment,
    free_port,
    gunicorn,
    is_up,
    keys_in,
    wait_until,
)


@pytest.fixture(scope="module")
def service(
    store: RedisServer, the_sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    settings = environment(redis_url=store.url, wechat_api_url=the_sandbox.url) | ROOMY
    with gunicorn(tmp_path_factory.mktemp("service"), settings, options=PATIENT) as running:
        yield running


def _exchanges(sandbox: Sandbox) -> int:
    return len([call for call in sandbox.calls() if call["path"] == "/sns/jscode2session"])


def _post_at_once(send: Send, code: str, times: int) -> list[Answer]:
    with ThreadPoolExecutor(times) as threads:
        return [*threads.map(lambda _: send("POST", "/login", json={"code": code}), range(times))]


def _told(answers: list[Answer]) -> set[tuple[int, str, str]]:
    return {(answer.status, answer.text, answer.set_cookie) for answer in answers}


@pytest.mark.parametrize("wechat", ["quick", "slow"])
def test_twenty_posts_of_one_code_are_one_call_one_session_and_one_answer(
    send: Send, sandbox: Sandbox, wechat: str
) -> None:
    user = MiniProgram(send, sandbox, openid=f"oTwenty-{wechat}")
    code = sandbox.issue_code(openid=user.openid)
    if wechat == "slow":
        sandbox.arm(delay_seconds=0.3)

    answers = _post_at_once(send, code, 20)

    [(status, _, user.stored)] = _told(answers)
    assert status == 200
    assert _exchanges(sandbox) == 1
    assert len(user.get("/sessions").json["sessions"]) == 1


def test_no_race_of_two_posts_makes_two_calls(send: Send, sandbox: Sandbox) -> None:
    codes = [sandbox.issue_code(openid="oRacer") for _ in range(50)]

    told = [_told(_post_at_once(send, code, 2)) for code in codes]

    assert [each for each in told if len(each) != 1] == []
    assert _exchanges(sandbox) == 50


def test_a_retry_after_the_answer_was_lost_is_logged_in(send: Send, sandbox: Sandbox, service: Service) -> None:
    code = sandbox.issue_code(openid="oLost")
    sandbox.arm(delay_seconds=0.3)
    _post_and_hang_up(service.url, code)
    wait_until(lambda: _exchanges(sandbox) == 1, what="WeChat does its work for nobody")

    answer = send("POST", "/login", json={"code": code})

    assert answer.status == 200
    assert send("GET", "/session", headers={"sessionid": answer.set_cookie}).status == 200
    assert _exchanges(sandbox) == 1


def _post_and_hang_up(url: str, code: str) -> None:
    body = f'{{"code":"{code}"}}'
    with socket.create_connection(("127.0.0.1", urlsplit(url).port or 0)) as connection:
        head = [
            "POST /login HTTP/1.1",
            "Host: x",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
        ]
        connection.sendall("\r\n".join([*head, "", body]).encode())


def test_a_worker_killed_in_the_middle_of_an_exchange_spends_the_code_and_the_next_one_works(
    store: RedisServer, sandbox: Sandbox, tmp_path: Path
) -> None:
    settings = environment(redis_url=store.url, wechat_api_url=sandbox.url)
    settings["WXLOGIN_WECHAT_TOTAL_TIMEOUT_SECONDS"] = "1"
    with gunicorn(tmp_path, settings, workers=1) as service, store.client() as redis:
        redis.flushall()
        user = MiniProgram(over_http(service.url), sandbox, openid="oKilled")
        sandbox.arm(delay_seconds=20)
        code = sandbox.issue_code(openid=user.openid)
        _post_and_hang_up(service.url, code)
        wait_until(lambda: len(keys_in(redis)) == 1, what="the code is claimed")

        _kill_the_worker(service)

        answer = user.log_in_with(code)
        sandbox.reset()
        assert (answer.status, answer.error["code"]) == (504, "wechat_timeout")
        assert [key for key in keys_in(redis) if key.startswith(b"wxlogin:user:")] == []
        assert user.log_in().status == 200


def _kill_the_worker(service: Service) -> None:
    [worker] = _children_of(service.process.pid)
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: _children_of(service.process.pid) not in ([], [worker]), what="a new worker is there")


def _children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@contextmanager
def sandbox_process() -> Iterator[tuple[Sandbox, subprocess.Popen[bytes]]]:
    """Run the sandbox as a process of its own, which can be frozen."""
    command = [sys.executable, "-m", "wxlogin", "sandbox", "--port", str(port := free_port())]
    process = subprocess.Popen(command, env=clean_environment({}), stdout=subprocess.DEVNULL)
    sandbox = Sandbox(f"http://127.0.0.1:{port}")
    try:
        wait_until(lambda: is_up(sandbox.url), what="the sandbox answers")
        yield sandbox, process
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        process.wait()


def test_a_frozen_wechat_stops_logins_only_and_all_recovers_by_itself(store: RedisServer, tmp_path: Path) -> None:
    with sandbox_process() as (sandbox, process):
        settings = environment(redis_url=store.url, wechat_api_url=sandbox.url)
        settings["WXLOGIN_WECHAT_TOTAL_TIMEOUT_SECONDS"] = "4"  # for so long each login waits for the frozen one
        with gunicorn(tmp_path, settings, workers=1) as service:
            user = MiniProgram(over_http(service.url), sandbox)
            user.log_in()
            codes = [sandbox.issue_code() for _ in range(40)]
            process.send_signal(signal.SIGSTOP)

            with ThreadPoolExecutor(40) as threads:
                logins = [threads.submit(user.send, "POST", "/login", json={"code": code}) for code in codes]
                checks = [user.get("/auth").status for _ in range(50)]
                refused = {(login.result().status, login.result().error["code"]) for login in logins}

            assert checks == [204] * 50
            assert refused <= {(503, "wechat_unavailable"), (504, "wechat_timeout")}
            assert (503, "wechat_unavailable") in refused
            process.send_signal(signal.SIGCONT)
            wait_until(lambda: user.log_in().status == 200, what="a login works again")
