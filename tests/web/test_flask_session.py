"""``flask.session`` on our store: what Flask-Session's stock class gets wrong, and what else a login needs.

The first part runs against both classes; where the stock one is marked as failing, that it fails is tested too.
"""

from __future__ import annotations

import contextlib
import dataclasses
import pickle
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any, cast

import pytest
from flask import Flask, flash, request, session
from flask_session.redis import RedisSessionInterface
from redis import Redis, RedisError
from werkzeug.test import TestResponse

from tests.conftest import SECRET_KEY, Clock
from tests.servers import RedisServer, connected, free_port, gateway_of, monitored, redis_server
from wxlogin.sessions.record import SessionRecord, User
from wxlogin.sessions.session_id import SessionId, hash_of
from wxlogin.sessions.store import Lifetimes, NotLoggedIn, SessionStore, StoredSession
from wxlogin.storage.encryption import RecordCipher
from wxlogin.storage.gateway import StoreUnavailable
from wxlogin.web.flask_session import Session, SessionInterface

OPENID, SOMEBODYS_OPENID = "oOpenidOfTheFirstUser", "oOpenidOfTheOtherUser"
APPID = "wx4f4bc4dec97d474b"
SESSION_KEY = "tiihtNczf5v6AKRyjwEUhQ=="
IDLE, LONGEST = 1000, 3000
USER = User(APPID, OPENID)


@dataclasses.dataclass(frozen=True)
class Kind:
    """A class of session, and how an application that uses it logs a user in."""

    install: Callable[[Flask, Redis, Clock], None]
    log_in: Callable[[str], object]


def install_stock(app: Flask, redis: Redis, _: Clock) -> None:
    app.session_interface = RedisSessionInterface(app, client=redis)


def install_ours(app: Flask, redis: Redis, clock: Clock) -> None:
    app.session_interface = SessionInterface(app, store_on(redis, clock))


def store_on(redis: Redis, clock: Clock) -> SessionStore:
    return SessionStore(
        gateway_of(redis),
        RecordCipher([SECRET_KEY]),
        lifetimes=Lifetimes(idle=IDLE, absolute=LONGEST),
        clock=clock,
    )


STOCK = Kind(install_stock, lambda openid: session.update(openid=openid))
OURS = Kind(
    install_ours,
    lambda openid: log_in_ours(openid),
)


def log_in_ours(openid: str) -> StoredSession:
    """Store a session, and make it the request's, as the login service and the web layer do."""
    store, asking = current()._store, current().session_id
    user, now = User(APPID, openid), store.now()
    record = SessionRecord(
        user=user, session_key=SESSION_KEY, created_at=now, last_seen_at=now, user_agent="agent"
    )
    stored = store.create(record, replaced=asking)
    current().start(stored)
    return stored


def current() -> Session:
    return cast(Session, session)


def unlike_stock(reason: str) -> pytest.MarkDecorator:
    """Run a test with both classes; the stock one has to fail an assertion of it."""
    fails = pytest.mark.xfail(strict=True, raises=AssertionError, reason=f"Flask-Session 0.8.0: {reason}")
    return pytest.mark.parametrize(
        "kind", [pytest.param(STOCK, marks=fails, id="stock"), pytest.param(OURS, id="ours")]
    )


class Service:
    """A small application; a client of it sends its session id as a cookie, and keeps none."""

    def __init__(self, kind: Kind, redis: Redis, clock: Clock, **config: Any) -> None:
        self.app = Flask("service")
        self.app.config.update({"SESSION_COOKIE_NAME": "sessionid", "SECRET_KEY": "for flash()", **config})
        self.view: Callable[[], object] = lambda: None  # what /view does
        kind.install(self.app, redis, clock)
        self._add_routes(kind)
        self._add_errors()

    def _add_routes(self, kind: Kind) -> None:
        self._route("/log-in", lambda: kind.log_in(request.args["openid"]))
        self._route("/log-out", lambda: session.clear())
        self._route("/who", lambda: session.get("openid") or ("nobody", 401))
        self._route("/healthz", lambda: "alive")
        self._route("/visit", lambda: flash("welcome"))
        self._route("/regenerate", lambda: interface_of(self).regenerate(current()))
        self._route("/view", lambda: self.view())

    def _add_errors(self) -> None:
        for error, status in {NotLoggedIn: 401, StoreUnavailable: 503, RedisError: 503}.items():
            self.app.register_error_handler(error, lambda _, status=status: ("no", status))

    def _route(self, path: str, view: Callable[[], object]) -> None:
        def answer() -> Any:
            result = view()
            return result if isinstance(result, str | tuple) else "done"

        self.app.add_url_rule(path, endpoint=path, view_func=answer)

    def get(self, path: str, session_id: str = "", **headers: str) -> TestResponse:
        cookie = {"Cookie": f"sessionid={session_id}"} if session_id else {}
        return self.app.test_client(use_cookies=False).get(path, headers=cookie | headers)

    def log_in(self, openid: str = OPENID, *, holding: str = "") -> str:
        """Log in and return the new id."""
        answer = self.get(f"/log-in?openid={openid}", holding)
        assert answer.status_code == 200, answer.text
        return session_id_of(answer)

    def who(self, session_id: str) -> str:
        return self.get("/who", session_id).text


def session_id_of(answer: TestResponse) -> str:
    cookie = SimpleCookie(answer.headers.get("Set-Cookie", ""))
    return cookie["sessionid"].value if cookie else ""


@pytest.fixture
def service(kind: Kind, one_redis: Redis, clock: Clock) -> Service:
    """An application with the class that the test is about, on each kind of store."""
    return Service(kind, one_redis, clock)


@pytest.fixture
def ours(one_redis: Redis, clock: Clock) -> Service:
    """The application with our class, on each kind of store."""
    return Service(OURS, one_redis, clock)


# both classes: the table in the design


@unlike_stock("the cookie's value is the Redis key")
def test_redis_does_not_have_what_opens_a_session(service: Service, one_redis: Redis) -> None:
    session_id = service.log_in()

    everything = everything_in(one_redis)

    assert everything
    assert session_id.encode() not in everything


@unlike_stock("falls back to pickle.loads")
def test_a_pickle_planted_in_redis_is_not_run(service: Service, one_redis: Redis, tmp_path: Path) -> None:
    session_id = service.log_in()
    plant(one_redis, pickle.dumps(MakesFolder(tmp_path / "code ran")))

    answer = service.get("/who", session_id)

    assert list(tmp_path.iterdir()) == []
    assert answer.status_code == 401


@unlike_stock("the id stays the same at login")
def test_logging_in_again_gives_another_id_and_ends_the_old_one(service: Service) -> None:
    old = service.log_in()

    new = service.log_in(holding=old)

    assert new != old
    assert [service.who(old), service.who(new)] == ["nobody", OPENID]


@unlike_stock("the id stays the same at login")
def test_an_id_that_somebody_knew_before_the_login_opens_nothing_after_it(service: Service) -> None:
    attackers = service.log_in(SOMEBODYS_OPENID)

    service.get(f"/log-in?openid={OPENID}", attackers)

    assert service.who(attackers) == "nobody"


@pytest.mark.parametrize("kind", [STOCK, OURS], ids=["stock", "ours"])
def test_an_unknown_id_is_never_adopted(service: Service) -> None:
    chosen = hash_of(USER).ljust(59, "x")

    new = service.log_in(holding=chosen)

    assert new != chosen
    assert [service.who(chosen), service.who(new)] == ["nobody", OPENID]


@unlike_stock("writes at every request")
def test_reading_a_session_writes_nothing(
    kind: Kind, the_redis_server: RedisServer, real_redis: Redis, clock: Clock
) -> None:
    service = Service(kind, real_redis, clock)
    session_id = service.log_in()

    with watching(the_redis_server) as commands:
        answer = service.get("/who", session_id)

    assert answer.text == OPENID
    assert [command.split()[0] for command in commands] in (["HGET"], ["GET"])


@unlike_stock("a request that overlaps a logout writes the session again")
def test_a_slow_request_does_not_bring_back_a_session_that_is_logged_out_meanwhile(service: Service) -> None:
    session_id = service.log_in()

    with slow_request(service, session_id):
        service.get("/log-out", session_id)

    assert service.who(session_id) == "nobody"


@unlike_stock("whoever puts something into flask.session gets one")
def test_an_anonymous_request_makes_no_session(service: Service, one_redis: Redis) -> None:
    answers = [service.get(path) for path in ("/healthz", "/who", "/visit", "/log-out")]

    assert one_redis.keys() == []
    assert not any(session_id_of(answer) for answer in answers)


@unlike_stock("the session is read before anybody asks for it")
def test_what_needs_no_session_is_answered_without_redis(kind: Kind, no_redis: Redis, clock: Clock) -> None:
    answer = Service(kind, no_redis, clock).get("/healthz", SessionId.new(USER).text)

    assert (answer.status_code, answer.text) == (200, "alive")
    assert "Set-Cookie" not in answer.headers


@unlike_stock("what goes wrong while a session is opened passes by the error handlers")
def test_what_needs_the_session_is_told_that_the_store_is_unavailable(
    kind: Kind, no_redis: Redis, clock: Clock
) -> None:
    answer = Service(kind, no_redis, clock).get("/who", SessionId.new(USER).text)

    assert answer.status_code == 503
    assert "Set-Cookie" not in answer.headers


class MakesFolder:
    """Run code when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.mkdir, (self._path,)


def plant(redis: Redis, value: bytes) -> None:
    """Overwrite all that is stored."""
    for key in redis.scan_iter():
        if redis.type(key) == b"hash":
            redis.hset(key, mapping=dict.fromkeys(redis.hkeys(key), value))
        else:
            redis.set(key, value)


def everything_in(redis: Redis) -> bytes:
    """Return all keys, fields and values."""
    pieces: list[bytes] = []
    for key in redis.scan_iter():
        content = redis.hgetall(key) if redis.type(key) == b"hash" else {b"": redis.get(key)}
        pieces += [key, *content.keys(), *content.values()]
    return b"\n".join(pieces)


@contextlib.contextmanager
def slow_request(service: Service, session_id: str) -> Iterator[None]:
    """Have a request read its session, and be answered when the context ends."""
    has_read, may_answer = threading.Event(), threading.Event()

    def view() -> str:
        openid: str = session.get("openid", "nobody")
        has_read.set()
        assert may_answer.wait(20)
        return openid

    service.view = view
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(service.get, "/view", session_id)
        try:
            assert has_read.wait(20)
            yield
        finally:
            may_answer.set()
        assert answer.result(20).text == OPENID


@contextlib.contextmanager
def watching(server: RedisServer) -> Iterator[list[str]]:
    """Collect what the others ask Redis meanwhile."""
    with server.client() as watcher, monitored(watcher) as commands:
        yield commands


@pytest.fixture
def no_redis() -> Iterator[Redis]:
    url = f"redis://127.0.0.1:{free_port()}/0"
    with connected(url, timeout_seconds=1) as client:
        yield client


# the cookie


def test_a_login_sets_one_cookie_that_lives_as_long_as_the_session_may(ours: Service) -> None:
    answer = ours.get(f"/log-in?openid={OPENID}")

    [cookie] = answer.headers.getlist("Set-Cookie")
    session_id, *attributes = cookie.split("; ")
    assert SessionId.parse(session_id.removeprefix("sessionid="))
    assert sorted(attributes) == ["HttpOnly", f"Max-Age={LONGEST}", "Path=/"]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"SESSION_COOKIE_SECURE": True}, {"HttpOnly", "Path=/", "Secure"}),
        ({"SESSION_COOKIE_HTTPONLY": False}, {"Path=/"}),
        ({"SESSION_COOKIE_SAMESITE": "Lax"}, {"HttpOnly", "Path=/", "SameSite=Lax"}),
        ({"SESSION_COOKIE_SAMESITE": "Strict"}, {"HttpOnly", "Path=/", "SameSite=Strict"}),
        ({"SESSION_COOKIE_PATH": "/api"}, {"HttpOnly", "Path=/api"}),
        ({"APPLICATION_ROOT": "/root"}, {"HttpOnly", "Path=/root"}),
    ],
)
@pytest.mark.parametrize("path", [f"/log-in?openid={OPENID}", "/log-out"])
def test_the_cookies_attributes_are_as_configured(
    one_redis: Redis, clock: Clock, config: dict[str, object], expected: set[str], path: str
) -> None:
    answer = Service(OURS, one_redis, clock, **config).get(path)

    [cookie] = answer.headers.getlist("Set-Cookie")
    attributes = {attribute for attribute in cookie.split("; ")[1:] if not attribute.startswith("Max-Age")}
    assert attributes == expected


@pytest.mark.parametrize("holding", ["a session", "an ended session", "an unknown id", "junk", ""])
def test_a_logout_clears_the_cookie_whatever_it_was(ours: Service, holding: str) -> None:
    session_id = ours.log_in()
    unknown = SessionId.new(USER).text
    held = {"a session": session_id, "an ended session": session_id, "an unknown id": unknown}.get(
        holding, holding
    )
    if holding == "an ended session":
        ours.get("/log-out", session_id)

    answer = ours.get("/log-out", held)

    assert answer.status_code == 200
    assert answer.headers.getlist("Set-Cookie") == ["sessionid=; Max-Age=0; HttpOnly; Path=/"]


def test_a_logout_ends_the_session(ours: Service) -> None:
    session_id, untouched = ours.log_in(), ours.log_in()

    ours.get("/log-out", session_id)

    assert [ours.who(session_id), ours.who(untouched)] == ["nobody", OPENID]


@pytest.mark.parametrize("path", ["/who", "/healthz"])
def test_no_other_request_sets_a_cookie(ours: Service, path: str) -> None:
    session_id = ours.log_in()

    answers = [ours.get(path, held) for held in (session_id, SessionId.new(USER).text, "junk", "")]

    assert not any("Set-Cookie" in answer.headers for answer in answers)


def test_a_login_after_a_logout_in_one_request_sets_the_login(ours: Service) -> None:
    def view() -> None:
        session.clear()
        OURS.log_in(OPENID)

    ours.view = view

    answer = ours.get("/view", ours.log_in())

    assert len(answer.headers.getlist("Set-Cookie")) == 1
    assert ours.who(session_id_of(answer)) == OPENID


def test_a_logout_after_a_login_in_one_request_clears_the_cookie_and_ends_it(
    ours: Service, one_redis: Redis
) -> None:
    def view() -> None:
        OURS.log_in(OPENID)
        session.clear()

    ours.view = view

    answer = ours.get("/view")

    assert answer.headers.getlist("Set-Cookie") == ["sessionid=; Max-Age=0; HttpOnly; Path=/"]
    assert one_redis.keys() == []


def test_only_the_last_of_two_logins_in_one_request_is_kept(ours: Service, one_redis: Redis) -> None:
    ours.view = lambda: [OURS.log_in(SOMEBODYS_OPENID), OURS.log_in(OPENID)]

    answer = ours.get("/view")

    assert ours.who(session_id_of(answer)) == OPENID
    assert len(one_redis.keys()) == 1


def test_a_login_is_the_only_cookie_of_its_answer(ours: Service) -> None:
    def view() -> tuple[str, dict[str, str]]:
        OURS.log_in(OPENID)
        return "welcome", {"Set-Cookie": "lang=zh_CN"}

    ours.view = view

    [cookie] = ours.get("/view").headers.getlist("Set-Cookie")

    assert cookie.startswith("sessionid=")


def test_a_login_is_seen_in_its_own_request(ours: Service) -> None:
    ours.view = lambda: OURS.log_in(OPENID) and session["openid"]

    assert ours.get("/view").text == OPENID


@pytest.mark.parametrize("path", [f"/log-in?openid={OPENID}", "/log-out"])
def test_what_redis_did_not_do_is_not_answered_as_done(no_redis: Redis, clock: Clock, path: str) -> None:
    answer = Service(OURS, no_redis, clock).get(path, SessionId.new(USER).text)

    assert answer.status_code == 503
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize("fail", [RedisServer.stop, RedisServer.freeze])
def test_an_outage_logs_nobody_out(tmp_path: Path, clock: Clock, fail: Callable[[RedisServer], None]) -> None:
    with (
        redis_server(tmp_path) as server,
        connected(server.url, timeout_seconds=1) as redis,
    ):
        service = Service(OURS, redis, clock)
        session_id = service.log_in()

        fail(server)
        during = service.get("/who", session_id)
        server.stop()
        server.start()

        assert (during.status_code, during.headers.getlist("Set-Cookie")) == (503, [])
        assert service.who(session_id) == OPENID


# the carriers


@pytest.mark.parametrize(
    "headers",
    [
        {"Cookie": "{}"},
        {"Cookie": "sessionid={}; Path=/; HttpOnly"},
        {"sessionid": "sessionid={}; HttpOnly; Max-Age=3000; Path=/"},
        {"Authorization": "Bearer {}"},
    ],
    ids=str,
)
def test_every_carrier_brings_the_session(ours: Service, headers: dict[str, str]) -> None:
    session_id = ours.log_in()

    answer = ours.get("/who", **{name: value.format(session_id) for name, value in headers.items()})

    assert answer.text == OPENID


def test_an_answer_that_depends_on_the_session_says_on_what_it_depends(ours: Service) -> None:
    answers = [ours.get("/who", held) for held in (ours.log_in(), "junk", "")]

    named = [{name.lower() for name in answer.vary} for answer in answers]
    assert named == [{"cookie", "authorization", "sessionid"}] * 3


def test_an_answer_that_does_not_depend_on_the_session_says_nothing_of_it(ours: Service) -> None:
    assert "Vary" not in ours.get("/healthz", ours.log_in()).headers


# how often Redis is asked


@pytest.mark.parametrize("held", ["", "undefined", "A" * 60, "a session"])
@pytest.mark.parametrize("path", ["/healthz", "/missing"])
def test_what_needs_no_session_asks_redis_nothing(
    the_redis_server: RedisServer, real_redis: Redis, clock: Clock, path: str, held: str
) -> None:
    service = Service(OURS, real_redis, clock)
    session_id = service.log_in()
    clock.advance(100)

    with watching(the_redis_server) as commands:
        service.get(path, session_id if held == "a session" else held)

    assert commands == []


@pytest.mark.parametrize("held", ["", "undefined", "A" * 60, "*"])
def test_junk_costs_redis_nothing(
    the_redis_server: RedisServer, real_redis: Redis, clock: Clock, held: str
) -> None:
    service = Service(OURS, real_redis, clock)

    with watching(the_redis_server) as commands:
        answers = [service.get(path, held) for path in ("/who", "/log-out")]

    assert [answer.status_code for answer in answers] == [401, 200]
    assert commands == []


def test_a_request_that_looks_often_reads_once(
    the_redis_server: RedisServer, real_redis: Redis, clock: Clock
) -> None:
    service = Service(OURS, real_redis, clock)
    session_id = service.log_in()
    service.view = lambda: [session["openid"], dict(session), current().record, len(session)]

    with watching(the_redis_server) as commands:
        service.get("/view", session_id)

    assert len(commands) == 1


# the idle clock


def last_seen(redis: Redis, clock: Clock, session_id: str) -> int:
    parsed = SessionId.parse(session_id)
    assert parsed
    return store_on(redis, clock).get(parsed).record.last_seen_at


def test_the_idle_clock_is_moved_at_most_once_a_minute(ours: Service, one_redis: Redis, clock: Clock) -> None:
    start, session_id = int(clock()), ours.log_in()
    seen = []

    for seconds in (59, 1, 59, 1):
        clock.advance(seconds)
        ours.get("/who", session_id)
        seen.append(last_seen(one_redis, clock, session_id) - start)

    assert seen == [0, 60, 60, 120]


def test_a_session_in_use_outlives_the_idle_clock_and_not_the_other(ours: Service, clock: Clock) -> None:
    session_id = ours.log_in()

    answers = []
    for _ in range(LONGEST // 500):
        clock.advance(500)
        answers.append(ours.who(session_id))

    assert answers == [OPENID] * (LONGEST // 500 - 1) + ["nobody"]


def test_a_request_that_did_not_look_at_the_session_does_not_move_its_clock(
    ours: Service, one_redis: Redis, clock: Clock
) -> None:
    start, session_id = int(clock()), ours.log_in()
    clock.advance(100)

    ours.get("/healthz", session_id)

    assert last_seen(one_redis, clock, session_id) == start


def test_a_slow_request_that_has_to_move_the_clock_does_not_bring_back_what_is_logged_out(
    ours: Service, one_redis: Redis, clock: Clock
) -> None:
    session_id = ours.log_in()
    clock.advance(100)

    with slow_request(ours, session_id):
        ours.get("/log-out", session_id)

    assert ours.who(session_id) == "nobody"
    assert one_redis.keys() == []


def test_a_slow_request_that_has_to_move_the_clock_does_not_move_it_back(
    ours: Service, one_redis: Redis, clock: Clock
) -> None:
    session_id = ours.log_in()
    clock.advance(100)

    with slow_request(ours, session_id):
        ours.get("/who", session_id)
        seen = last_seen(one_redis, clock, session_id)

    assert last_seen(one_redis, clock, session_id) == seen == int(clock())


@pytest.fixture
def read_only_redis(real_redis: Redis) -> Iterator[Redis]:
    """Return a function's worth of trouble: call `refuse_writes` on it when all is prepared."""
    yield real_redis
    real_redis.config_set("min-replicas-to-write", 0)


def test_a_clock_that_can_not_be_moved_harms_nothing(
    read_only_redis: Redis, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    service = Service(OURS, read_only_redis, clock)
    start, session_id = int(clock()), service.log_in()
    clock.advance(100)
    read_only_redis.config_set("min-replicas-to-write", 1)

    answer = service.get("/who", session_id)

    assert (answer.status_code, answer.text) == (200, OPENID)
    assert "a session's idle clock was not moved" in caplog.messages
    assert last_seen(read_only_redis, clock, session_id) == start


# flask.session as a mapping


def view_of(service: Service, view: Callable[[], Any], session_id: str = "") -> Any:
    """Run the view in a request and return what it returns."""
    results = []
    service.view = lambda: results.append(view())
    assert service.get("/view", session_id).status_code == 200
    return results[0]


def test_the_fields_of_the_session_can_be_read(ours: Service, clock: Clock) -> None:
    fields = view_of(ours, lambda: dict(session), ours.log_in())

    assert fields == {
        "appid": APPID,
        "openid": OPENID,
        "unionid": None,
        "session_key": SESSION_KEY,
        "created_at": int(clock()),
        "last_seen_at": int(clock()),
        "user_agent": "agent",
    }


def test_a_session_is_like_a_dictionary_to_read(ours: Service) -> None:
    looks = view_of(
        ours,
        lambda: [
            session["openid"],
            session.get("x"),
            "openid" in session,
            "x" in session,
            bool(session),
            len(session),
        ],
        ours.log_in(),
    )

    assert looks == [OPENID, None, True, False, True, 7]


@pytest.mark.parametrize("held", ["", "junk", hash_of(USER).ljust(59, "x"), "0" * 59, "A" * 59])
def test_without_a_login_the_session_is_empty(ours: Service, held: str) -> None:
    looks = view_of(ours, lambda: [dict(session), bool(session), session.get("openid"), list(session)], held)

    assert looks == [{}, False, None, []]


def test_an_expired_session_is_empty(ours: Service, clock: Clock) -> None:
    session_id = ours.log_in()
    clock.advance(IDLE)

    assert view_of(ours, lambda: dict(session), session_id) == {}


def test_a_field_that_there_is_not_is_a_key_error(ours: Service) -> None:
    def view() -> str:
        with pytest.raises(KeyError):
            session["cart"]
        return "checked"

    assert view_of(ours, view, ours.log_in()) == "checked"


CHANGES: dict[str, Callable[[], object]] = {
    "assigning": lambda: session.__setitem__("openid", SOMEBODYS_OPENID),
    "assigning something new": lambda: session.__setitem__("cart", []),
    "updating": lambda: session.update(openid=SOMEBODYS_OPENID),
    "setting a default": lambda: session.setdefault("cart", []),
    "deleting": lambda: session.__delitem__("openid"),
    "popping": lambda: session.pop("openid"),
    "making it permanent": lambda: setattr(session, "permanent", True),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_session_can_not_be_changed_by_hand(ours: Service, change: Callable[[], object]) -> None:
    session_id = ours.log_in()

    def view() -> str:
        with pytest.raises(TypeError, match=r"a session (remembers|is ended)"):
            change()
        return "checked"

    assert view_of(ours, view, session_id) == "checked"
    assert ours.who(session_id) == OPENID


def test_after_clear_the_session_is_empty_at_once(ours: Service) -> None:
    def view() -> dict[str, Any]:
        session.clear()
        return dict(session)

    assert view_of(ours, view, ours.log_in()) == {}


# Flask-Session's own methods


def test_regenerating_gives_the_user_another_id_and_ends_the_old_one(ours: Service) -> None:
    old = ours.log_in()

    new = session_id_of(ours.get("/regenerate", old))

    assert new != old
    assert [ours.who(old), ours.who(new)] == ["nobody", OPENID]


def test_regenerating_does_not_make_a_session_live_longer(ours: Service, clock: Clock) -> None:
    session_id = ours.log_in()

    for _ in range(LONGEST // 500 - 1):
        clock.advance(500)
        session_id = session_id_of(ours.get("/regenerate", session_id))

    assert ours.who(session_id) == OPENID
    clock.advance(500)
    assert ours.who(session_id) == "nobody"


def test_nobodys_session_is_not_regenerated(ours: Service, one_redis: Redis) -> None:

    answer = ours.get("/regenerate", SessionId.new(USER).text)

    assert answer.status_code == 401
    assert one_redis.keys() == []


def interface_of(service: Service) -> SessionInterface:
    return cast(SessionInterface, service.app.session_interface)


def test_what_flask_session_reads_by_id_is_the_session(ours: Service) -> None:
    interface = interface_of(ours)
    session_id = ours.log_in()

    found = [interface._retrieve_session_data(text) for text in (session_id, SessionId.new(USER).text, "junk")]

    assert found[0]
    assert found[0]["openid"] == OPENID
    assert found[1:] == [None, None]


def test_what_flask_session_deletes_by_id_is_over(ours: Service) -> None:
    session_id = ours.log_in()

    interface_of(ours)._delete_session(session_id)
    interface_of(ours)._delete_session("junk")

    assert ours.who(session_id) == "nobody"


def test_what_flask_session_writes_by_id_is_the_idle_clock(ours: Service, one_redis: Redis, clock: Clock) -> None:
    session_id = ours.log_in()
    clock.advance(100)
    opened = Session(store_on(one_redis, clock), SessionId.parse(session_id))
    assert opened["openid"] == OPENID

    interface_of(ours)._upsert_session(timedelta(days=1), opened, session_id)

    assert last_seen(one_redis, clock, session_id) == int(clock())
