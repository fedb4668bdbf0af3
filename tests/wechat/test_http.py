"""The way to WeChat: what is tried again and what is not, the breaker, the time, and many threads."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any

import pytest

from tests.conftest import Clock
from tests.drivers import Sandbox
from tests.servers import free_port, wait_until
from tests.wechat.conftest import ApiOf, ClientOf
from tests.wechat.drivers import (
    APPID,
    CODE,
    ENDPOINTS,
    LOGIN,
    NO_ANSWERS,
    PATIENT,
    TIMEOUTS,
    TLS_FAILURES,
    UNUSABLE_ANSWERS,
    BadDay,
    Certificates,
    Endpoint,
    debug_log,
    in_turn,
    leaks_in,
    refusal,
    success,
)
from tests.wechat.upstream import (
    Behaviour,
    Peer,
    Upstream,
    answer,
    closes_after_request,
    plays,
    resets_after_request,
    stalls,
    upstream,
)
from wxlogin.resilience.deadline import NEVER, Deadline
from wxlogin.wechat.api import attempts
from wxlogin.wechat.api.client import WeChatClient
from wxlogin.wechat.api.errors import (
    CircuitOpen,
    CodeUsed,
    ConnectionFailed,
    InvalidCode,
    InvalidResponse,
    InvalidSessionKey,
    NoTimeLeft,
    ResponseLost,
    SystemBusy,
    WeChatAPIError,
    WeChatError,
)
from wxlogin.wechat.api.http import Timeouts, WeChatApi
from wxlogin.wechat.api.transport import Call

BUSY = answer(refusal(-1))
FINE = answer(b"{}")
REFUSED = answer(refusal(40029))
BROKEN = answer(b"<html>", status="502 Bad Gateway")
PATH = "/sns/jscode2session"
all_endpoints = pytest.mark.parametrize("endpoint", ENDPOINTS.values(), ids=ENDPOINTS)


def ask(
    api: WeChatApi, *, path: str = PATH, times: int = 1, deadline: Deadline = NEVER
) -> list[type[WeChatError] | None]:
    """Make some calls and return what each raised."""
    return [_raised_by(api, path, deadline) for _ in range(times)]


def _raised_by(api: WeChatApi, path: str, deadline: Deadline) -> type[WeChatError] | None:
    try:
        api.call(Call(path, {}), deadline=deadline)
    except WeChatError as error:
        return type(error)
    return None


class Switch:
    """A WeChat whose next answers are those it is set to."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __call__(self, peer: Peer) -> None:
        """Answer all requests of a connection."""
        while peer.read_request():
            peer.send(self.data)


# What is tried again


@all_endpoints
def test_a_busy_wechat_is_asked_once_more(endpoint: Endpoint, client_of: ClientOf) -> None:
    with upstream(plays(BUSY, answer(endpoint.body))) as seen:
        value = endpoint.call(client_of(seen.url))

    assert value == endpoint.value
    assert len(seen.requests) == 2
    assert seen.requests[0] == seen.requests[1]


@all_endpoints
def test_a_wechat_that_stays_busy_is_asked_no_third_time(endpoint: Endpoint, client_of: ClientOf) -> None:
    with upstream(plays(BUSY)) as seen, pytest.raises(SystemBusy):
        endpoint.call(client_of(seen.url))

    assert len(seen.requests) == 2


@contextlib.contextmanager
def opened_late(data: bytes) -> Iterator[tuple[str, Callable[[float], None], list[bytes]]]:
    """Give the address of a WeChat that listens only when the second value is called, as a pause."""
    port, ends, requests = free_port(), contextlib.ExitStack(), list[bytes]()
    answered = threading.Thread(target=lambda: None)

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            requests.append(connection.recv(65536))
            connection.sendall(data)

    def listen(_: float) -> None:
        nonlocal answered
        listener = ends.enter_context(socket.create_server(("127.0.0.1", port)))
        answered = threading.Thread(target=serve, args=(listener,))
        answered.start()
        ends.callback(answered.join, 10)

    with ends:
        yield f"http://127.0.0.1:{port}", listen, requests


@all_endpoints
def test_a_wechat_that_was_not_reached_is_asked_once_more(endpoint: Endpoint, client_of: ClientOf) -> None:
    with opened_late(answer(endpoint.body)) as (url, listen, requests):
        value = endpoint.call(client_of(url, sleep=listen))

    assert value == endpoint.value
    assert len(requests) == 1


def test_a_wechat_that_is_never_reached_is_tried_twice(client_of: ClientOf) -> None:
    pauses: list[float] = []

    with pytest.raises(ConnectionFailed) as raised:
        LOGIN.call(client_of(f"http://127.0.0.1:{free_port()}", sleep=pauses.append))

    assert type(raised.value) is ConnectionFailed
    assert len(pauses) == 1


NEVER_TWICE = {
    "no connection to the name on the certificate": TLS_FAILURES["of another name"],
    "an expired certificate": TLS_FAILURES["expired"],
    "no TLS": TLS_FAILURES["no TLS"],
    "reset": NO_ANSWERS["a reset after the request was read"],
    "closed": NO_ANSWERS["closed after the request was read"],
    "cut off": NO_ANSWERS["a truncated body"],
    "HTML": UNUSABLE_ANSWERS["body: HTML"],
    "429": UNUSABLE_ANSWERS["status 429 Slow"],
    "500": UNUSABLE_ANSWERS["status 500 Oh"],
    "503": UNUSABLE_ANSWERS["status 503 Oh"],
    "503 with Retry-After": BadDay(plays(answer(b"", status="503 Oh", headers="Retry-After: 0"))),
    **{f"errcode {errcode}": BadDay(plays(answer(refusal(errcode)))) for errcode in (-2, 1, 40029, 45011, 99999)},
}


@pytest.mark.parametrize("day", NEVER_TWICE.values(), ids=NEVER_TWICE)
@pytest.mark.parametrize("method", ["get", "post"])
def test_what_may_have_arrived_is_not_sent_again(
    day: BadDay, method: str, api_of: ApiOf, certificates: Certificates
) -> None:
    pauses: list[float] = []
    with day.begin(certificates) as seen:
        api = api_of(seen.url, sleep=pauses.append)

        with pytest.raises(WeChatError):
            api.call(Call(PATH, {}, None if method == "get" else {}))

    assert (seen.connections, pauses) == (1, [])


def test_what_met_no_answer_in_time_is_not_sent_again(api_of: ApiOf, certificates: Certificates) -> None:
    pauses: list[float] = []
    with TIMEOUTS["no byte"].begin(certificates) as seen:
        api = api_of(seen.url, timeouts=Timeouts(connect=5, read=0.1, total=10), sleep=pauses.append)

        assert ask(api) == [ResponseLost]

    assert (seen.connections, pauses) == (1, [])


def test_what_broke_off_after_a_busy_is_not_sent_a_third_time(api_of: ApiOf) -> None:
    def is_busy_and_gone(peer: Peer) -> None:
        peer.read_request()
        peer.send(BUSY)
        peer.read_request()
        peer.reset()

    with upstream(is_busy_and_gone) as seen:
        assert ask(api_of(seen.url)) == [ResponseLost]

    assert len(seen.requests) == 2


# What the second answer says about the first


@pytest.mark.parametrize(
    ("name", "errcode"),
    [
        ("code2session", 40163),
        ("getuserphonenumber", 40029),
        ("getuserphonenumber", 40163),
        ("resetusersessionkey", 87009),
        ("resetusersessionkey", 87007),
    ],
)
def test_a_second_try_that_finds_the_work_done_has_lost_the_answer(
    name: str, errcode: int, client_of: ClientOf
) -> None:
    with upstream(plays(BUSY, answer(refusal(errcode)))) as seen, pytest.raises(ResponseLost) as raised:
        ENDPOINTS[name].call(client_of(seen.url))

    assert (raised.value.__cause__, raised.value.__context__) == (None, None)


@pytest.mark.parametrize(
    ("name", "errcode", "kind"),
    [
        ("code2session", 40163, CodeUsed),
        ("getuserphonenumber", 40029, InvalidCode),
        ("resetusersessionkey", 87009, InvalidSessionKey),
    ],
)
def test_a_first_answer_counts_as_it_is(
    name: str, errcode: int, kind: type[WeChatError], client_of: ClientOf
) -> None:
    with upstream(plays(answer(refusal(errcode)))) as seen, pytest.raises(kind):
        ENDPOINTS[name].call(client_of(seen.url))

    assert len(seen.requests) == 1


@pytest.mark.parametrize(
    ("name", "errcode", "kind"),
    [("code2session", 40163, CodeUsed), ("getuserphonenumber", 40029, InvalidCode)],
)
def test_the_first_answer_counts_as_it_is_even_after_no_connection(
    name: str, errcode: int, kind: type[WeChatError], client_of: ClientOf
) -> None:
    with opened_late(answer(refusal(errcode))) as (url, listen, _), pytest.raises(kind):
        ENDPOINTS[name].call(client_of(url, sleep=listen))


def test_another_no_after_a_busy_counts_as_it_is(client_of: ClientOf) -> None:
    with upstream(plays(BUSY, answer(refusal(40029)))) as seen, pytest.raises(InvalidCode):
        client_of(seen.url).code2session(CODE)


def test_that_the_second_try_was_not_sent_does_not_mean_that_nothing_was(api_of: ApiOf) -> None:
    closed: list[float] = []

    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as thread:

        def is_busy_once() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                listener.close()
                connection.sendall(BUSY.replace(b"keep-alive", b"close"))

        thread.submit(is_busy_once)
        api = api_of(f"http://127.0.0.1:{listener.getsockname()[1]}", sleep=closed.append)

        assert ask(api) == [SystemBusy]

    assert len(closed) == 1


# The pause, and the time


def test_the_pause_before_a_retry_is_short_and_never_the_same() -> None:
    pauses = {attempts.pause_before_retry() for _ in range(1000)}

    assert len(pauses) > 900
    assert 0.05 <= min(pauses) < 0.1
    assert 0.2 < max(pauses) <= 0.25


def test_a_retry_waits_for_the_pause_that_was_drawn(api_of: ApiOf) -> None:
    pauses: list[float] = []
    with upstream(plays(BUSY, FINE)) as seen:
        api = api_of(seen.url, pause_seconds=lambda: 0.125, sleep=pauses.append)

        assert ask(api) == [None]

    assert pauses == [0.125]


def test_nothing_is_tried_again_without_time_for_it(api_of: ApiOf) -> None:
    pauses: list[float] = []
    with upstream(plays(BUSY)) as seen:
        api = api_of(seen.url, pause_seconds=lambda: PATIENT.total - 0.5, sleep=pauses.append)

        assert ask(api) == [SystemBusy]

    assert (len(seen.requests), pauses) == (1, [])


def test_a_callers_limit_leaves_no_time_for_a_retry(api_of: ApiOf) -> None:
    with upstream(plays(BUSY)) as seen:
        api = api_of(seen.url, pause_seconds=lambda: 0.1)

        assert ask(api, deadline=Deadline.after(0.6)) == [SystemBusy]

    assert len(seen.requests) == 1


def test_a_call_ends_with_the_callers_limit(api_of: ApiOf, certificates: Certificates) -> None:
    with TIMEOUTS["a body byte by byte"].begin(certificates) as seen:
        assert ask(api_of(seen.url), deadline=Deadline.after(0.6)) == [ResponseLost]

    assert len(seen.requests) == 1


def test_a_call_that_can_not_end_in_time_is_not_made(api_of: ApiOf) -> None:
    with upstream(plays(FINE)) as seen:
        assert ask(api_of(seen.url), deadline=Deadline.after(0.4)) == [NoTimeLeft]

    assert seen.connections == 0


def test_hasty_calls_are_made_all_the_same(api_of: ApiOf) -> None:
    with upstream(plays(FINE)) as seen:
        api = api_of(seen.url, timeouts=Timeouts(connect=5, read=5, total=0.4))

        assert ask(api) == [None]


# The budget


def says_the_path(peer: Peer) -> None:
    """Be busy at /busy…, broken at /broken… and so on."""
    answers = {"busy": BUSY, "broken": BROKEN, "refused": REFUSED, "fine": FINE}
    while request := peer.read_request():
        path = request.decode().split(" ")[1]
        peer.send(answers[path.strip("/0123456789")])


def requests_for(api: WeChatApi, seen: Upstream, *, path: str) -> int:
    """Return how many requests one call leads to."""
    before = len(seen.requests)
    ask(api, path=path)
    return len(seen.requests) - before


def test_in_a_row_of_failures_few_are_tried_again(api_of: ApiOf) -> None:
    with upstream(says_the_path) as seen:
        api = api_of(seen.url)

        requests = [requests_for(api, seen, path=f"/busy{number}") for number in range(20)]

    assert requests == [2, 2, *[1] * 18]


def test_failures_that_are_not_tried_again_count_too(api_of: ApiOf) -> None:
    with upstream(says_the_path) as seen:
        api = api_of(seen.url)
        for number in range(4):
            ask(api, path=f"/broken{number}")

        assert requests_for(api, seen, path="/busy") == 1


@pytest.mark.parametrize("path", ["/fine", "/refused"])
@pytest.mark.parametrize(("answers", "expected"), [(0, 1), (9, 1), (10, 1), (11, 2), (12, 2)])
def test_answers_earn_retries(answers: int, expected: int, path: str, api_of: ApiOf) -> None:
    with upstream(says_the_path) as seen:
        api = api_of(seen.url)
        for number in range(5):
            ask(api, path=f"/broken{number}")  # half of the ten tokens are left
        ask(api, path=path, times=answers)

        assert requests_for(api, seen, path="/busy") == expected


def test_answers_earn_no_more_than_the_budget_was(api_of: ApiOf) -> None:
    with upstream(says_the_path) as seen:
        api = api_of(seen.url)
        ask(api, path="/fine", times=200)

        requests = [requests_for(api, seen, path=f"/busy{number}") for number in range(5)]

    assert requests == [2, 2, 1, 1, 1]


def test_a_long_outage_takes_no_more_than_the_budget(api_of: ApiOf) -> None:
    with upstream(says_the_path) as seen:
        api = api_of(seen.url)
        for number in range(50):
            ask(api, path=f"/broken{number}")
        ask(api, path="/fine", times=61)  # from nothing to more than half, and the next failure takes one

        assert requests_for(api, seen, path="/busy") == 2


# The breaker


FAILURES: dict[str, tuple[Behaviour, type[WeChatError]]] = {
    "busy": (plays(BUSY), SystemBusy),
    "502": (plays(BROKEN), InvalidResponse),
    "HTML": (plays(answer(b"<html>")), InvalidResponse),
    "reset": (resets_after_request, ResponseLost),
    "closed": (closes_after_request, ResponseLost),
}


def in_vain() -> float:
    """Return a pause that no call has the time for: each is one request."""
    return 1000


@pytest.mark.parametrize(("behaviour", "kind"), FAILURES.values(), ids=FAILURES)
def test_after_five_failures_in_a_row_callers_are_turned_away(
    behaviour: Behaviour, kind: type[WeChatError], api_of: ApiOf, clock: Clock
) -> None:
    with upstream(behaviour) as seen:
        raised = ask(api_of(seen.url, clock=clock, pause_seconds=in_vain), times=20)

    assert raised == [kind] * 5 + [CircuitOpen] * 15
    assert len(seen.requests) == 5


def test_a_wechat_that_is_not_reached_turns_callers_away(api_of: ApiOf, clock: Clock) -> None:
    api = api_of(f"http://127.0.0.1:{free_port()}", clock=clock, pause_seconds=in_vain)

    assert ask(api, times=7) == [ConnectionFailed] * 5 + [CircuitOpen] * 2


def test_a_wechat_that_is_not_wechat_turns_callers_away(
    api_of: ApiOf, certificates: Certificates, clock: Clock
) -> None:
    with TLS_FAILURES["expired"].begin(certificates) as seen:
        assert ask(api_of(seen.url, clock=clock), times=7) == [InvalidResponse] * 5 + [CircuitOpen] * 2

    assert seen.connections == 5


def ask_hastily(api: WeChatApi) -> list[Any]:
    """Make a call with little time."""
    return ask(api, path="/slow", deadline=Deadline.after(1.1))


def is_slow(peer: Peer) -> None:
    """Answer after more than two seconds."""
    while peer.read_request():
        peer.wait(2.2)
        peer.send(FINE)


def test_callers_who_wait_too_briefly_turn_nobody_away(api_of: ApiOf, clock: Clock) -> None:
    with upstream(is_slow) as seen, ThreadPoolExecutor(10) as threads:
        api = api_of(seen.url, clock=clock)

        assert list(threads.map(ask_hastily, [api] * 10)) == [[ResponseLost]] * 10
        assert ask(api, path="/slow") == [None]


def test_callers_who_wait_too_briefly_take_nothing_from_the_budget(api_of: ApiOf) -> None:
    def is_slow_or_busy(peer: Peer) -> None:
        if b"/slow" in peer.read_request():
            return peer.wait_until_left()
        peer.send(BUSY)
        peer.read_request()
        return peer.send(FINE)

    with upstream(is_slow_or_busy) as seen, ThreadPoolExecutor(10) as threads:
        api = api_of(seen.url)
        assert list(threads.map(ask_hastily, [api] * 10)) == [[ResponseLost]] * 10

        assert ask(api, path="/busy") == [None]


def test_callers_who_wait_in_vain_for_all_of_a_calls_time_do(api_of: ApiOf, clock: Clock) -> None:
    with upstream(stalls) as seen, ThreadPoolExecutor(5) as threads:
        api = api_of(seen.url, timeouts=Timeouts(connect=5, read=5, total=0.5), clock=clock)
        assert list(threads.map(ask, [api] * 5)) == [[ResponseLost]] * 5

        assert ask(api) == [CircuitOpen]


def test_retries_count_as_the_failures_they_are(api_of: ApiOf, clock: Clock) -> None:
    with upstream(plays(BUSY)) as seen:
        raised = ask(api_of(seen.url, clock=clock), times=10)

    assert raised == [SystemBusy] * 3 + [CircuitOpen] * 7
    assert len(seen.requests) == 5


@pytest.mark.parametrize("errcode", [40029, 40163, 40226, 45011, 45009, 40013, 40125, 40164, 42001, 87009, 99999])
def test_no_refusal_turns_callers_away(errcode: int, api_of: ApiOf, clock: Clock) -> None:
    with upstream(plays(answer(refusal(errcode)))) as seen:
        raised = ask(api_of(seen.url, clock=clock), times=20)

    assert CircuitOpen not in raised
    assert len(seen.requests) == 20


@pytest.mark.parametrize("data", [FINE, REFUSED], ids=["an answer", "a refusal"])
def test_an_answer_between_failures_starts_the_count_anew(data: bytes, api_of: ApiOf, clock: Clock) -> None:
    switch = Switch(BROKEN)
    with upstream(switch) as seen:
        api = api_of(seen.url, clock=clock)
        ask(api, times=4)
        switch.data = data
        ask(api)
        switch.data = BROKEN

        assert ask(api, times=5) == [InvalidResponse] * 5
        assert ask(api) == [CircuitOpen]


def test_other_paths_are_asked_on(api_of: ApiOf, clock: Clock) -> None:
    with upstream(says_the_path) as seen:
        api = api_of(seen.url, clock=clock)
        ask(api, path="/broken", times=6)

        assert ask(api, path="/fine", times=3) == [None] * 3


def test_one_caller_a_second_is_let_through(api_of: ApiOf, clock: Clock) -> None:
    with upstream(plays(BROKEN)) as seen:
        api = api_of(seen.url, clock=clock)
        ask(api, times=5)

        raised = []
        for _ in range(3):
            clock.advance(0.5)
            raised.append(ask(api, times=2))

    assert raised == [[CircuitOpen] * 2, [InvalidResponse, CircuitOpen], [CircuitOpen] * 2]


def test_a_probe_is_not_tried_again(api_of: ApiOf, clock: Clock) -> None:
    with upstream(says_the_path) as seen:
        api = api_of(seen.url, clock=clock)
        ask(api, path="/busy", times=5)
        ask(api, path="/fine", times=100)  # the budget is full
        clock.advance(1)

        assert requests_for(api, seen, path="/busy") == 1


@pytest.mark.parametrize("data", [FINE, REFUSED], ids=["an answer", "a refusal"])
def test_a_probe_that_is_answered_lets_all_through(data: bytes, api_of: ApiOf, clock: Clock) -> None:
    switch = Switch(BROKEN)
    with upstream(switch) as seen:
        api = api_of(seen.url, clock=clock)
        ask(api, times=6)
        switch.data = data
        clock.advance(1)

        assert CircuitOpen not in ask(api, times=10)


def test_probes_that_hang_do_not_put_off_the_next(api_of: ApiOf, clock: Clock) -> None:
    hanging, answered = threading.Event(), threading.Event()

    def hangs(peer: Peer) -> None:
        while b"/hang" in peer.read_request():
            hanging.set()
            answered.wait(10)
            peer.send(BROKEN)

    with upstream(hangs) as seen, ThreadPoolExecutor(1) as thread:
        api = api_of(seen.url, clock=clock)
        answered.set()
        ask(api, path="/hang", times=5)
        answered.clear()
        hanging.clear()
        clock.advance(1)
        probe = thread.submit(ask, api, path="/hang")
        assert hanging.wait(10)
        clock.advance(0.9)
        answered.set()
        assert probe.result(10) == [InvalidResponse]

        clock.advance(0.1)

        assert ask(api, path="/hang", times=2) == [InvalidResponse, CircuitOpen]


def test_callers_are_turned_away_by_the_time_that_passes(api_of: ApiOf) -> None:
    with upstream(plays(BROKEN)) as seen:
        api = api_of(seen.url)
        ask(api, times=6)

        wait_until(lambda: ask(api) == [InvalidResponse], what="a probe")

    assert len(seen.requests) == 6


def test_a_minute_of_busy_means_one_call_a_second_and_recovery_within_two(api_of: ApiOf, clock: Clock) -> None:
    switch = Switch(BUSY)
    with upstream(switch) as seen:
        api = api_of(seen.url, clock=clock)
        for _ in range(60 * 8):
            ask(api)
            clock.advance(1 / 8)
        while_busy = len(seen.requests)
        switch.data = FINE
        raised = []
        for _ in range(5 * 8):
            raised += ask(api)
            clock.advance(1 / 8)

    assert 60 <= while_busy <= 5 + 60
    assert raised.index(None) <= 8
    assert set(raised[raised.index(None) :]) == {None}


def test_the_log_says_once_when_callers_are_turned_away_and_once_when_not(
    api_of: ApiOf, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    switch = Switch(BROKEN)
    with upstream(switch) as seen:
        api = api_of(seen.url, clock=clock)
        for _ in range(20):
            ask(api)
            clock.advance(0.5)
        switch.data = FINE
        ask(api, times=5)

    assert [(record.levelname, record.getMessage()) for record in caplog.records if "WeChat" in record.msg] == [
        ("WARNING", "WeChat fails at /sns/jscode2session: calls are turned away, but for one a second"),
        ("WARNING", "WeChat works again at /sns/jscode2session"),
    ]


def test_the_log_of_a_breaker_has_no_secret(client_of: ClientOf) -> None:
    with upstream(plays(BROKEN)) as seen, debug_log() as log:
        client = client_of(seen.url)
        for endpoint in ENDPOINTS.values():
            for _ in range(6):
                with pytest.raises(WeChatError) as raised:
                    endpoint.call(client)
            assert type(raised.value) is CircuitOpen

    assert log.getvalue().count("WeChat fails at") == len(ENDPOINTS)
    assert leaks_in(log.getvalue()) == set()


@all_endpoints
def test_who_is_turned_away_is_told_without_a_secret(endpoint: Endpoint, client_of: ClientOf) -> None:
    with upstream(plays(BROKEN)) as seen:
        client = client_of(seen.url)
        for _ in range(6):
            with pytest.raises(WeChatError) as raised:
                endpoint.call(client)

    assert type(raised.value) is CircuitOpen
    assert (raised.value.__cause__, raised.value.__context__) == (None, None)
    assert leaks_in(repr(raised.value)) == set()


# The whole of a lost answer, with the sandbox


def test_an_answer_lost_after_the_work_is_not_asked_for_again(
    sandbox: Sandbox, client_of: ClientOf, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    client = WeChatClient(APPID, "sandbox-secret", api=client_of(sandbox.url)._api)
    code = sandbox.issue_code()
    sandbox.arm(reset=True)

    with pytest.raises(ResponseLost):
        client.code2session(code)

    assert len(sandbox.calls()) == 1
    with pytest.raises(CodeUsed):
        client.code2session(code)
    assert client.code2session(sandbox.issue_code()).openid


@pytest.mark.parametrize("errcode", [40029, 40163, 40226, 45011, 40013, 99999])
def test_a_refusal_leads_to_one_call_of_the_sandbox(errcode: int, sandbox: Sandbox, client_of: ClientOf) -> None:
    client = WeChatClient(APPID, "sandbox-secret", api=client_of(sandbox.url)._api)
    sandbox.arm(errcode=errcode)

    with pytest.raises(WeChatAPIError):
        client.code2session(sandbox.issue_code())

    assert len(sandbox.calls()) == 1


# Many threads


def test_fifty_threads_share_what_there_is(api_of: ApiOf) -> None:
    def echoes(peer: Peer) -> None:
        while request := peer.read_request():
            number = request.partition(b"number=")[2].split(b" ")[0]
            peer.send(answer(b'{"number": "' + number + b'"}'))

    with upstream(echoes) as seen, ThreadPoolExecutor(50) as threads:
        api = api_of(seen.url, most=50)

        answers = list(threads.map(lambda number: api.call(Call("/echo", {"number": str(number)})), range(1000)))

    assert [its_answer["number"] for its_answer in answers] == [str(number) for number in range(1000)]
    assert seen.connections <= 50


def test_of_fifty_threads_in_an_outage_no_more_get_through_than_were_at_once(api_of: ApiOf, clock: Clock) -> None:
    start = threading.Barrier(50)

    def ask_ten_times(api: WeChatApi) -> list[Any]:
        start.wait(20)
        return ask(api, times=10)

    with upstream(plays(BROKEN)) as seen, ThreadPoolExecutor(50) as threads:
        api = api_of(seen.url, most=50, clock=clock)

        raised = list(chain(*threads.map(ask_ten_times, [api] * 50)))

    assert raised.count(InvalidResponse) == len(seen.requests) <= 5 + 49
    assert raised.count(CircuitOpen) == 500 - len(seen.requests)


def test_of_fifty_threads_one_is_the_probe(api_of: ApiOf, clock: Clock) -> None:
    with upstream(plays(BROKEN)) as seen, ThreadPoolExecutor(50) as threads:
        api = api_of(seen.url, most=50, clock=clock)
        ask(api, times=6)
        clock.advance(1)

        raised = list(chain(*threads.map(ask, [api] * 50)))

    assert raised.count(InvalidResponse) == 1


def test_many_slow_calls_leave_no_more_than_the_connections_that_are_kept(api_of: ApiOf) -> None:
    def takes_its_time(peer: Peer) -> None:
        while peer.read_request():
            peer.wait(0.02)
            peer.send(FINE)

    with upstream(takes_its_time) as seen, ThreadPoolExecutor(20) as threads:
        api = api_of(seen.url, most=4)
        before = threading.active_count()

        raised = list(chain(*threads.map(ask, [api] * 400)))

        assert set(raised) == {None}
        wait_until(lambda: seen.open <= 4, what="all but the kept connections are closed")
        upstreams, helpers = seen.open, 8
        assert threading.active_count() <= before + 20 + upstreams + helpers


def test_calls_that_find_nobody_leave_no_threads_behind(api_of: ApiOf) -> None:
    api = api_of(f"http://127.0.0.1:{free_port()}", clock=in_turn())
    ask(api, times=20)
    before = threading.active_count()

    assert set(ask(api, times=200)) == {ConnectionFailed}

    assert threading.active_count() <= before


def test_a_closed_api_keeps_no_connection(certificates: Certificates) -> None:
    with upstream(plays(answer(success()))) as seen:
        api = WeChatApi(seen.url, timeouts=PATIENT, max_connections=4)
        ask(api)

        api.close()

        wait_until(lambda: seen.open == 0, what="the connections are closed")
