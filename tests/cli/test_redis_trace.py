"""What the simulator of ``wxlogin dev`` is told of Redis."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.retry import Retry

from tests.servers import free_port, wait_until
from wxlogin.cli.dev.redis_trace import Message, Reporter, traced

Told = list[Message]
SEALED = bytes(range(128, 228))


@pytest.fixture
def told() -> Told:
    return []


@pytest.fixture
def client(real_redis: Redis, told: Told) -> Redis:
    assert traced(real_redis, told.append) is real_redis
    return real_redis


def ways(told: Told) -> list[tuple[object, object, object]]:
    return [(each["from"], each["to"], each["title"]) for each in told]


def test_a_command_and_its_answer_are_told(client: Redis, told: Told) -> None:
    client.set("key", "value")
    client.get("key")

    assert ways(told) == [
        ("service", "redis", "SET key"),
        ("redis", "service", "True"),
        ("service", "redis", "GET key"),
        ("redis", "service", "value"),
    ]
    assert told[0] == {**told[0], "kind": "question", "content": {"arguments": ["key", "value"]}, "stays": []}
    assert told[3] == {**told[3], "kind": "answer", "content": {"answer": "value"}, "stays": []}


def test_what_is_not_there_is_told_as_nothing(client: Redis, told: Told) -> None:
    client.get("key")
    client.keys("*")

    assert [each["title"] for each in told[1::2]] == ["nothing", "nothing"]


def test_the_commands_of_a_pipeline_are_told_and_then_their_answers(client: Redis, told: Told) -> None:
    with client.pipeline(transaction=False) as pipeline:
        pipeline.incr("key")
        pipeline.incr("key")
        answers = pipeline.execute()

    assert answers == [1, 2]
    assert [title for _, _, title in ways(told)] == ["INCRBY key", "INCRBY key", "1", "2"]


def test_a_script_is_told_with_its_keys_and_what_it_says(client: Redis, told: Told) -> None:
    client.eval("\nreturn {KEYS[1], ARGV[1]}\n", 1, "key", "argument")

    question, answer = told
    assert question["title"] == "EVAL key"
    assert question["content"] == {"arguments": ["key", "argument"], "script": "return {KEYS[1], ARGV[1]}"}
    assert (answer["title"], answer["content"]) == ("key, argument", {"answer": ["key", "argument"]})


def test_of_what_is_sealed_only_the_length_is_told_and_that_it_stays(client: Redis, told: Told) -> None:
    client.hset("key", "field", SEALED)
    client.hgetall("key")

    assert told[0] == {**told[0], "stays": ["sealed record"]}
    assert told[0]["content"] == {"arguments": ["key", "field", "<100 bytes>"]}
    assert told[3] == {**told[3], "title": "field, <100 bytes>", "stays": ["sealed record"]}
    assert told[3]["content"] == {"answer": ["field", "<100 bytes>"]}


@pytest.mark.parametrize("value", [b"\x80\x81", b"a" * 200])
def test_what_is_short_or_readable_is_no_sealed_record(client: Redis, told: Told, value: bytes) -> None:
    client.set("key", value)

    assert told[0]["stays"] == []


def test_a_command_that_fails_fails_as_before(client: Redis, told: Told) -> None:
    client.set("key", "value")

    with pytest.raises(ResponseError):
        client.incr("key")

    assert ways(told)[-2:] == [("service", "redis", "INCRBY key"), ("redis", "service", "ResponseError")]
    assert told[-1]["kind"] == "refusal"


def test_a_pipeline_that_is_not_answered_is_told(told: Told) -> None:
    away: Any = traced(Redis(port=free_port(), retry=Retry(NoBackoff(), 0)), told.append)

    with away.pipeline(transaction=False) as pipeline, pytest.raises(RedisConnectionError):
        pipeline.incr("key").execute()

    assert ways(told) == [("service", "redis", "INCRBY key"), ("redis", "service", "ConnectionError")]


def test_a_long_answer_is_shortened_in_the_title(client: Redis, told: Told) -> None:
    client.set("key", "x" * 100)
    client.get("key")

    assert told[3]["title"] == "x" * 60


class Received(ThreadingHTTPServer):
    """A simulator that keeps what it is told."""

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.messages: list[Any] = []
        self.posts = 0
        self.busy = threading.Event()
        self.may_go_on = threading.Event()
        self.may_go_on.set()


class Handler(BaseHTTPRequestHandler):
    server: Received

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.busy.set()
        self.server.may_go_on.wait(20)
        self.server.posts += 1
        self.server.messages += body["messages"]
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def receiving(port: int) -> Iterator[Received]:
    server = Received(port)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_messages_are_sent_in_their_order_many_at_once() -> None:
    port = free_port()
    with receiving(port) as simulator:
        simulator.may_go_on.clear()
        reporter = Reporter(f"http://127.0.0.1:{port}")
        reporter.enqueue({"n": 0})
        assert simulator.busy.wait(20)
        for number in range(1, 21):
            reporter.enqueue({"n": number})
        simulator.may_go_on.set()
        wait_until(lambda: len(simulator.messages) == 21, what="all messages are there")

    assert [each["n"] for each in simulator.messages] == [*range(21)]
    assert simulator.posts == 2


def test_a_simulator_that_was_away_is_told_what_comes_next() -> None:
    port = free_port()
    reporter = Reporter(f"http://127.0.0.1:{port}")
    reporter.enqueue({"lost": True})

    with receiving(port) as simulator:

        def is_told() -> bool:
            reporter.enqueue({"kept": True})
            return {"kept": True} in simulator.messages

        wait_until(is_told, what="it is told again")


def test_of_a_stuck_simulator_nobody_waits_and_what_is_too_much_is_not_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as stuck:  # it accepts, and says nothing
        reporter = Reporter(f"http://127.0.0.1:{stuck.getsockname()[1]}")
        reporter.enqueue({"n": 0})
        start = threading.Barrier(32)

        def tell_much(_: int) -> None:
            start.wait()
            for number in range(100):
                reporter.enqueue({"n": number})

        with ThreadPoolExecutor(32) as threads:
            telling = [threads.submit(tell_much, number) for number in range(32)]
            done, _ = wait(telling, timeout=20)

    assert len(done) == 32


def test_no_proxy_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    port = free_port()
    with receiving(port) as simulator:
        Reporter(f"http://127.0.0.1:{port}").enqueue({"n": 0})

        wait_until(lambda: simulator.messages == [{"n": 0}], what="the message is there")
