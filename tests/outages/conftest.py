"""Users before, during and after an outage, and what holds for every answer that they get."""

from __future__ import annotations

import dataclasses
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.drivers import Answer, MiniProgram, Sandbox, Send, in_process
from tests.fault_proxy import FaultProxy, fault_proxy
from tests.servers import RedisServer, redis_server, wait_until
from tests.stopwatch import stopwatch
from wxlogin.config.settings import Settings
from wxlogin.services import Services
from wxlogin.web.app import create_app

BOUND_SECONDS = 1.0
REDIS_SECONDS = 0.2  # as in production
IMPATIENT = {
    "WXLOGIN_REDIS_CONNECT_TIMEOUT_SECONDS": str(REDIS_SECONDS),
    "WXLOGIN_REDIS_READ_TIMEOUT_SECONDS": str(REDIS_SECONDS),
}
CLIENTS = 20
THINKING_SECONDS = 0.02  # of a user, between two requests
NEEDING_REDIS = ("/auth", "/session", "/sessions", "/readyz")
SERVED, UNSERVED = [204, 200, 200, 200], [503, 503, 503, 503]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is in this folder: how long an answer takes is part of what it tests."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker("alone")


def careful(send: Send) -> Send:
    """Send requests; whatever happens to Redis, every answer comes in time, and does no harm."""

    def send_and_look(method: str, path: str, **request: Any) -> Answer:
        with stopwatch() as seconds:
            answer = send(method, path, **request)
        assert seconds() < BOUND_SECONDS
        assert answer.status in {200, 204, 401, 503}, answer.text
        if answer.status == 503:
            assert (answer.error["code"], answer.headers["Retry-After"]) == ("store_unavailable", "1")
            assert answer.set_cookie == ""
        return answer

    return send_and_look


NewService = Callable[[str], Send]


@pytest.fixture(params=[0.0, 2.0], ids=["asks Redis each time", "remembers"])
def new_service(request: pytest.FixtureRequest, settings: Settings) -> Iterator[NewService]:
    """Start a service for a Redis at some address, as one more process would; return how to send it requests."""
    started: list[Services] = []

    def start(redis_url: str) -> Send:
        chosen = dataclasses.replace(
            settings,
            redis_url=redis_url,
            redis_connect_timeout_seconds=REDIS_SECONDS,
            redis_read_timeout_seconds=REDIS_SECONDS,
            near_cache_seconds=request.param,
        )
        started.append(Services.build(chosen))
        return careful(in_process(create_app(started[-1])))

    yield start
    for services in started:
        stop(services)


def stop(services: Services) -> None:
    """Close what a process would close by ending."""
    if services.verifier._listener:
        services.verifier._listener.stop()
    client = services.sessions._redis._client
    if client:
        client.close()


@dataclasses.dataclass
class Witness:
    """A user, logged in on one device before an outage, who has a code for another device, good for one login."""

    user: MiniProgram
    code: str

    @classmethod
    def of(cls, send: Send, sandbox: Sandbox) -> Witness:
        """Log in."""
        (user,) = logged_in(send, sandbox, count=1)
        return cls(user, sandbox.issue_code(openid=user.openid))

    def sees_an_outage(self) -> None:
        """Find nothing that needs Redis working, and all else."""
        assert self.is_answered() == UNSERVED
        self.can_not_log_in()
        assert self.user.get("/healthz").status == 200
        assert self.user.send("GET", "/auth").status == 401  # without an id: nobody is asked

    def is_answered(self) -> list[int]:
        """Return the statuses of all that needs Redis and changes nothing."""
        return [self.user.get(path).status for path in NEEDING_REDIS]

    def can_not_log_in(self) -> None:
        """Try in vain, and be told to try again with the same code."""
        answer = self.user.send("POST", "/login", json={"code": self.code})
        assert (answer.status, answer.error["retryable"]) == (503, True)

    def sees_it_end(self) -> None:
        """Wait for the service, and find all as it was: the session, the code, and nothing else logged in."""
        wait_until(self._is_let_in, what="the service is back")
        assert self.is_answered() == SERVED
        assert self.count_of_sessions() == 1
        assert self.user.send("POST", "/login", json={"code": self.code}).status == 200
        assert self.user.get("/auth").status == 204
        assert self.count_of_sessions() == 2

    def count_of_sessions(self) -> int:
        """Return how many devices are listed."""
        return len(self.user.get("/sessions").json["sessions"])

    def _is_let_in(self) -> bool:
        answer = self.user.get("/auth")
        assert answer.status in {204, 503}
        return answer.status == 204


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A redis-server to ill-treat."""
    with redis_server(tmp_path) as server:
        yield server


@pytest.fixture
def proxy(server: RedisServer) -> Iterator[FaultProxy]:
    with fault_proxy(server.port) as proxy:
        yield proxy


@pytest.fixture
def witness(new_service: NewService, server: RedisServer, sandbox: Sandbox) -> Witness:
    return Witness.of(new_service(server.url), sandbox)


@pytest.fixture
def witness_behind_proxy(new_service: NewService, proxy: FaultProxy, sandbox: Sandbox) -> Witness:
    return Witness.of(new_service(proxy.url), sandbox)


# Many users


def openid_of(number: int) -> str:
    """Return the openid of one of many users."""
    return f"oUser-of-an-outage-{number:09}"


def logged_in(send: Send, sandbox: Sandbox, *, count: int = CLIENTS) -> list[MiniProgram]:
    """Return so many users who have logged in."""
    users = [MiniProgram(send, sandbox, openid=openid_of(number)) for number in range(count)]
    for user in users:
        _log_in(user)
    return users


def _log_in(user: MiniProgram) -> None:
    """Log in, and try again with the same code while the machine is too busy for Redis to answer in time."""
    code = user.sandbox.issue_code(openid=user.openid)
    wait_until(lambda: user.log_in_with(code).status == 200, what="the login is done")


class Traffic:
    """Users who ask all the time, each on a thread; ``statuses`` are what they were answered."""

    def __init__(self, users: Sequence[MiniProgram], *, path: str = "/auth") -> None:
        self.statuses: list[int] = []
        self._latest: dict[int, int] = {}
        self._over = threading.Event()
        self._failures: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._ask, args=(number, user, path)) for number, user in enumerate(users)
        ]

    def wait_until_all_are_let_in(self) -> None:
        """Wait until the next answer of each of them is that they are logged in."""
        self._latest.clear()
        wait_until(self._are_all_let_in, what="all are let in")

    def start(self) -> None:
        """Let them ask."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let them stop, and fail if something else went wrong for one of them."""
        self._over.set()
        for thread in self._threads:
            thread.join()
        if self._failures:
            raise self._failures[0]

    def _ask(self, number: int, user: MiniProgram, path: str) -> None:
        try:
            while not self._over.wait(THINKING_SECONDS):
                self._latest[number] = user.get(path).status
                self.statuses.append(self._latest[number])
        except BaseException as failure:  # noqa: BLE001  # told by the thread that waits for this one
            self._failures.append(failure)

    def _are_all_let_in(self) -> bool:
        return self._failures != [] or (
            len(self._latest) == len(self._threads) and not {*self._latest.values()} - {200, 204}
        )


@contextmanager
def traffic(*users: MiniProgram, path: str = "/auth") -> Iterator[Traffic]:
    """Let users ask for as long as the context lasts."""
    asking = Traffic(users, path=path)
    with ExitStack() as stack:
        stack.callback(asking.stop)
        asking.start()
        yield asking


def at_once(users: Sequence[MiniProgram], path: str) -> Counter[int]:
    """Let all users ask at the same time; return how often there was which status."""
    statuses: Counter[int] = Counter()
    start = threading.Barrier(len(users))

    def ask(user: MiniProgram) -> None:
        start.wait()
        statuses.update([user.get(path).status])

    threads = [threading.Thread(target=ask, args=[user]) for user in users]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return statuses
