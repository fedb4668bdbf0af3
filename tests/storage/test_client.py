"""Redis wherever it is: what an address says, and that it leads to a client that works, or to a clear refusal."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fakeredis import FakeRedis
from hypothesis import example, given
from hypothesis import strategies as st
from redis import Redis
from redis.sentinel import SentinelManagedSSLConnection

from tests.drivers import Answer, MiniProgram, Sandbox, in_process
from tests.redis_topologies import TlsRedisServer, tls_redis, write_certificates
from tests.servers import RedisServer, free_port, redis_server
from wxlogin.config.settings import Settings
from wxlogin.services import Services
from wxlogin.sessions.session_id import SessionId, key_of
from wxlogin.storage.client import connect
from wxlogin.storage.connection import ConnectionOptions
from wxlogin.storage.gateway import RedisGateway, StoreUnavailable
from wxlogin.storage.url import RedisAddress, parse_url
from wxlogin.web.app import create_app

OPTIONS = ConnectionOptions(connect_timeout_seconds=5, read_timeout_seconds=5)  # on a busy machine
PASSWORD = "planted-password"
COMMANDS = (
    "+get",
    "+incrby",
    "+pttl",
    "+expire",
    "+hget",
    "+hgetall",
    "+eval",
    "+set",
    "+exists",
    "+type",
    "+del",
    "+hset",
    "+hdel",
    "+time",
    "+expireat",
)

server_at = functools.partial(RedisAddress, topology="server")
sentinel_at = functools.partial(RedisAddress, topology="sentinel", service="mymaster")
cluster_at = functools.partial(RedisAddress, topology="cluster")


# what an address says


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://redis", server_at(nodes=(("redis", 6379),))),
        ("redis://redis/", server_at(nodes=(("redis", 6379),))),
        ("redis://127.0.0.1:7000/15", server_at(nodes=(("127.0.0.1", 7000),), number=15)),
        ("redis://my_redis.example-1.com:65535", server_at(nodes=(("my_redis.example-1.com", 65535),))),
        ("redis://[::1]", server_at(nodes=(("::1", 6379),))),
        ("redis://[2001:db8::7]:7000/1", server_at(nodes=(("2001:db8::7", 7000),), number=1)),
        ("rediss://redis", server_at(nodes=(("redis", 6379),), is_encrypted=True)),
        ("unix:///run/redis.sock", RedisAddress(topology="socket", path="/run/redis.sock")),
        ("unix:///run/a%20folder/s", RedisAddress(topology="socket", path="/run/a folder/s")),
        ("redis+sentinel://one/mymaster", sentinel_at(nodes=(("one", 26379),))),
        ("redis+sentinel://one/mymaster/", sentinel_at(nodes=(("one", 26379),))),
        (
            "redis+sentinel://one:1,two,[::1]:3/mymaster/2",
            sentinel_at(nodes=(("one", 1), ("two", 26379), ("::1", 3)), number=2),
        ),
        ("rediss+sentinel://one/mymaster", sentinel_at(nodes=(("one", 26379),), is_encrypted=True)),
        ("redis+cluster://one", cluster_at(nodes=(("one", 6379),))),
        ("redis+cluster://one:7000,two:7001/0", cluster_at(nodes=(("one", 7000), ("two", 7001)))),
        ("rediss+cluster://one/", cluster_at(nodes=(("one", 6379),), is_encrypted=True)),
        ("memory://", RedisAddress(topology="memory")),
    ],
)
def test_an_address_is_understood(url: str, address: RedisAddress) -> None:
    assert parse_url(url) == address


@pytest.mark.parametrize(
    "form",
    [
        "redis://{}redis",
        "rediss://{}redis:6380/1",
        "unix://{}/run/redis.sock",
        "redis+sentinel://{}one,two/mymaster",
        "redis+cluster://{}one,two",
    ],
)
@pytest.mark.parametrize(
    ("user", "login"),
    [
        ("", (None, None)),
        (":word@", (None, "word")),
        ("ann@", ("ann", None)),
        ("ann:@", ("ann", None)),
        ("ann:word@", ("ann", "word")),
        ("ann:a:b?c#d@", ("ann", "a:b?c#d")),
        ("a%40nn:%2F%3A%40%25%C3%A9+@", ("a@nn", "/:@%é+")),
    ],
)
def test_whoever_logs_in_is_named_in_front(form: str, user: str, login: tuple[str | None, str | None]) -> None:
    address = parse_url(form.format(user))

    assert (address.username, address.password) == login


@pytest.mark.parametrize(
    "url",
    [
        "",
        "planted",
        "planted:6379",
        "http://planted",
        "REDIS://planted",
        "redis:/planted",
        "redis://",
        "redis:///7",
        "redis://planted,planted2",
        "redis://planted:",
        "redis://planted:0",
        "redis://planted:65536",
        "redis://planted:123456",
        "redis://planted:-1",
        "redis://planted:٣",
        "redis://pl anted",
        "redis://planted\n",
        "redis://::1",
        "redis://[planted]",
        "redis://planted/one",
        "redis://planted/-1",
        "redis://planted/0/1",
        "redis://planted/0\n",
        "redis://planted/0?planted=1",
        "redis://planted#planted",
        "redis://ann:plan/ted@host",
        "redis://ann:plan@ted@host",
        "unix://",
        "unix:///",
        "unix://planted/run/redis.sock",
        "unix:///planted?db=1",
        "unixs:///planted",
        "redis+sentinel://planted",
        "redis+sentinel://planted/",
        "redis+sentinel:///planted",
        "redis+sentinel://planted,/planted",
        "redis+sentinel://planted/planted/planted",
        "redis+cluster://",
        "redis+cluster://planted,",
        "redis+cluster://planted/1",
        "memory://planted",
        "memory:///planted",
        "memorys://",
    ],
)
def test_what_is_no_address_is_refused_without_quoting_it(url: str) -> None:
    with pytest.raises(ValueError, match=r"^(Not|Nothing|The|A) [A-Za-z' /:]+\.$") as refused:
        parse_url(url)

    assert "planted" not in str(refused.value)


SCHEMES = ["redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "memory", "http"]
parts = st.text(st.sampled_from("a0:/@?#%[],.+ \n\0é４") | st.characters(exclude_categories=["Cs"]))


@given(st.text() | st.builds("{}://{}".format, st.sampled_from(SCHEMES), parts))
@example("redis://%ff:%ff@h")
@example("redis://h:00000")
def test_any_text_is_an_address_or_refused(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert all(host and 0 < port < 65536 for host, port in parse_url(text).nodes)


@pytest.mark.parametrize(
    "form",
    [
        "redis://ann:{}@redis",
        "unix://ann:{}@/run/redis.sock",
        "redis+sentinel://ann:{}@one/mymaster",
        "redis+cluster://ann:{}@one",
    ],
)
def test_a_password_is_not_shown(form: str) -> None:
    address = parse_url(form.format(PASSWORD))

    assert address.password == PASSWORD
    assert PASSWORD not in f"{address!r} {address}"


@pytest.mark.parametrize("form", ["redis://:{}@redis", "unix://:{}@/s", "rediss+sentinel://:{}@one/mymaster"])
def test_a_client_does_not_show_its_password(form: str) -> None:
    client = connect(parse_url(form.format(PASSWORD)), OPTIONS)

    assert PASSWORD not in f"{client!r} {client}"


# connecting


@pytest.mark.parametrize("form", ["redis://{}", "rediss://{}", "redis+sentinel://{}/mymaster"])
def test_nothing_is_connected_before_it_is_needed(form: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0)

        connect(parse_url(form.format(f"127.0.0.1:{listener.getsockname()[1]}")), OPTIONS)

        with pytest.raises(BlockingIOError):
            listener.accept()


def test_a_socket_need_not_be_there_before_it_is_needed(tmp_path: Path) -> None:
    assert isinstance(connect(parse_url(f"unix://{tmp_path}/none"), OPTIONS), Redis)


@pytest.mark.parametrize("scheme", ["redis+cluster", "rediss+cluster"])
def test_a_cluster_is_asked_at_once_and_is_unavailable_if_nobody_answers(scheme: str) -> None:
    gateway = gateway_for(f"{scheme}://127.0.0.1:{free_port()}")

    assert not serves(gateway)


def test_memory_is_a_redis_of_ones_own() -> None:
    client = connect(parse_url("memory://"), OPTIONS)

    assert isinstance(client, FakeRedis)


def test_sentinels_and_their_master_are_asked_under_tls_if_the_address_says_so(tls: TlsRedisServer) -> None:
    client = connect(parse_url("rediss+sentinel://one/mymaster"), with_certificates(tls))

    assert isinstance(client, Redis)
    pool: Any = client.connection_pool
    sentinel = pool.sentinel_manager.sentinels[0].connection_pool
    assert issubclass(pool.connection_class, SentinelManagedSSLConnection)
    for options in (pool.connection_kwargs, sentinel.connection_kwargs):
        assert options["ssl_ca_certs"] == str(tls.ca_file)
        assert options["ssl_certfile"] == str(tls.cert_file)


def gateway_for(url: str, options: ConnectionOptions = OPTIONS) -> RedisGateway:
    return RedisGateway(functools.partial(connect, parse_url(url), options))


def serves(gateway: RedisGateway) -> bool:
    """Say whether a session can be looked up."""
    try:
        gateway.call(lambda client: client.hget("wxlogin:user:planted", "field"), key="key", retry_safe=True)
    except StoreUnavailable:
        return False
    return True


# TLS and ACLs


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsRedisServer]:
    with tls_redis(tmp_path_factory.mktemp("tls")) as server:
        yield server


def with_certificates(server: TlsRedisServer) -> ConnectionOptions:
    return ConnectionOptions(
        connect_timeout_seconds=5,  # a handshake on a busy machine
        read_timeout_seconds=5,
        ca_file=str(server.ca_file),
        cert_file=str(server.cert_file),
        key_file=str(server.key_file),
    )


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_with_the_right_certificates_redis_serves(tls: TlsRedisServer, host: str) -> None:
    assert serves(gateway_for(tls.url.replace("127.0.0.1", host), with_certificates(tls)))


def test_a_certificate_and_its_key_may_be_in_one_file(tls: TlsRedisServer, tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(tls.cert_file.read_bytes() + tls.key_file.read_bytes())
    options = dataclasses.replace(with_certificates(tls), cert_file=str(both), key_file="")

    assert serves(gateway_for(tls.url, options))


Case = Callable[[TlsRedisServer, Path], tuple[str, ConnectionOptions]]


def no_authority(server: TlsRedisServer, _: Path) -> tuple[str, ConnectionOptions]:
    return server.url, dataclasses.replace(with_certificates(server), ca_file="")


def another_authority(server: TlsRedisServer, folder: Path) -> tuple[str, ConnectionOptions]:
    write_certificates(folder)
    return server.url, dataclasses.replace(with_certificates(server), ca_file=str(folder / "ca.crt"))


def a_name_that_is_not_certified(server: TlsRedisServer, _: Path) -> tuple[str, ConnectionOptions]:
    return server.url.replace("127.0.0.1", "127.1"), with_certificates(server)  # leads to the same server


def no_certificate(server: TlsRedisServer, _: Path) -> tuple[str, ConnectionOptions]:
    return server.url, dataclasses.replace(with_certificates(server), cert_file="", key_file="")


def a_strangers_certificate(server: TlsRedisServer, folder: Path) -> tuple[str, ConnectionOptions]:
    write_certificates(folder)
    certificate, key = str(folder / "client.crt"), str(folder / "client.key")
    return server.url, dataclasses.replace(with_certificates(server), cert_file=certificate, key_file=key)


def a_certificate_that_went(server: TlsRedisServer, folder: Path) -> tuple[str, ConnectionOptions]:
    return server.url, dataclasses.replace(with_certificates(server), cert_file=str(folder / "none"))


def a_wrong_password(server: TlsRedisServer, _: Path) -> tuple[str, ConnectionOptions]:
    return server.url.replace(server.password, PASSWORD), with_certificates(server)


def no_password(server: TlsRedisServer, _: Path) -> tuple[str, ConnectionOptions]:
    return server.url.replace(f"{server.username}:{server.password}@", ""), with_certificates(server)


def no_tls(server: TlsRedisServer, _: Path) -> tuple[str, ConnectionOptions]:
    return server.url.replace("rediss", "redis"), with_certificates(server)


@pytest.mark.parametrize(
    "case",
    [
        no_authority,
        another_authority,
        a_name_that_is_not_certified,
        no_certificate,
        a_strangers_certificate,
        a_certificate_that_went,
        a_wrong_password,
        no_password,
        no_tls,
    ],
)
def test_otherwise_redis_is_unavailable_and_no_password_is_logged(
    tls: TlsRedisServer, tmp_path: Path, case: Case, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    assert not serves(gateway_for(*case(tls, tmp_path)))

    assert "the store does not serve us" in caplog.text
    assert tls.password not in caplog.text
    assert PASSWORD not in caplog.text


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A redis-server on a socket as well as on a port."""
    socket_options = ("--unixsocket", str(tmp_path / "s"), "--unixsocketperm", "700")
    with redis_server(tmp_path, options=socket_options) as server:
        yield server


def test_redis_serves_on_a_socket_too(server: RedisServer) -> None:
    with server.client() as client:
        client.config_set("requirepass", PASSWORD)

    assert serves(gateway_for(f"unix://:{PASSWORD}@{server.folder}/s"))
    assert not serves(gateway_for(f"unix://{server.folder}/s"))
    assert not serves(gateway_for(f"unix://:{PASSWORD}@{server.folder}/none"))


def user_of(server: RedisServer, commands: tuple[str, ...], settings: Settings, sandbox: Sandbox) -> MiniProgram:
    """Return a user of a service that may give Redis these commands only, on its own keys only."""
    rules = " ".join(["~wxlogin:*", "resetchannels", "-@all", *commands])
    with server.client() as client:
        client.execute_command(f"ACL SETUSER wxlogin on >{PASSWORD} {rules}")
    url = f"redis://wxlogin:{PASSWORD}@127.0.0.1:{server.port}/0"
    chosen = dataclasses.replace(settings, redis_url=url, login_limit_per_address="4/hour")
    services = Services.build(chosen)
    user = MiniProgram(in_process(create_app(services)), sandbox)
    with server.client() as client:
        client.set(key_of(services.login.user_hash_of(user.openid, appid=None)), "a key of another type")
    return user


def lead_a_full_life(user: MiniProgram) -> list[int]:
    """Do all that needs Redis; return the statuses."""
    logins = [user.log_in(), user.log_in(), user.log_in()]
    looks = [user.get(path) for path in ("/auth", "/session", "/sessions", "/readyz")]
    other = SessionId.parse(logins[-2].session_id)
    one = f"/sessions/{other.field if other else 'none'}"
    phone_number = post(user, "/phone-number", {"code": user.sandbox.phone_code(openid=user.openid)})
    decrypted = post(user, "/user-data/decrypt", {"encryptedData": "A" * 22 + "==", "iv": "A" * 22 + "=="})
    ends = [end(user, path) for path in (one, "/sessions", "/session")]
    too_many = [user.log_in(), user.log_in()]
    return [answer.status for answer in (*logins, *looks, phone_number, decrypted, *ends, *too_many)]


WHOLE_LIFE = [200, 200, 200, 204, 200, 200, 200, 200, 409, 204, 204, 204, 200, 429]


def post(user: MiniProgram, path: str, body: dict[str, str]) -> Answer:
    return user.send("POST", path, headers={"sessionid": user.stored}, json=body)


def end(user: MiniProgram, path: str) -> Answer:
    return user.send("DELETE", path, headers={"sessionid": user.stored})


def test_a_user_with_a_few_commands_is_enough(server: RedisServer, settings: Settings, sandbox: Sandbox) -> None:
    user = user_of(server, COMMANDS, settings, sandbox)

    assert lead_a_full_life(user) == WHOLE_LIFE


@pytest.mark.parametrize("command", COMMANDS)
def test_a_user_with_fewer_is_not(server: RedisServer, settings: Settings, sandbox: Sandbox, command: str) -> None:
    user = user_of(server, tuple(other for other in COMMANDS if other != command), settings, sandbox)

    assert lead_a_full_life(user) != WHOLE_LIFE
