"""Redis as it is run in production, on this machine: with TLS and ACLs, under Sentinel, as a Cluster, and unwell.

Every server is a process of its own, bound to 127.0.0.1, with its files in a folder that the caller gives.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import ipaddress
import secrets
import statistics
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.retry import Retry

from tests.servers import RedisServer, free_port, program, wait_until

SLOTS = 16384
MIGRATED_AT_ONCE = 1000
DEFAULT_PING_PERIOD_MS = 1000
FAILOVER_TIMEOUT_MS = 3000  # a second failover of a group, or one after a split vote, waits twice as long
UNDISTURBED = ["sentinel", "sentinel", "slave", "slave"]  # flags, without "disconnected" or "s_down"
FILLING_KEYS = 3000
SESSION_STORE_RULES = (
    "~wxlogin:* resetchannels -@all +hget +hset +hdel +hgetall +hlen +hexists +eval +evalsha +expireat +pexpireat "
    "+exists +set +get +del +unlink +type +time +ping +script|load -client"
)


class Node(RedisServer):
    """A redis-server with a configuration file, so that Sentinel and Cluster can write down what they change."""

    def __init__(self, folder: Path, config: Iterable[str] = (), *, port: int | None = None) -> None:
        super().__init__(folder, port=port)
        self.is_frozen = False
        self._config_file = folder / "redis.conf"
        self._arguments: tuple[str, ...] = ()
        folder.mkdir(parents=True, exist_ok=True)
        self._config_file.write_text("\n".join([*self._listening(), f'dir "{folder}"', *config, ""]))

    def __repr__(self) -> str:
        """Return a name for messages of failed tests."""
        return f"<{type(self).__name__} on {self.port}>"

    @property
    def is_up(self) -> bool:
        """Whether it is a process that does something."""
        return self._process is not None and self._process.poll() is None and not self.is_frozen

    def start(self) -> None:
        """Start it, with what its files have, and wait until it answers."""
        self.launch()
        wait_until(self._answers, what=f"{self} answers")

    def launch(self) -> None:
        """Start it."""
        server = program("redis-server", package="redis-server")
        command = [server, str(self._config_file), *self._arguments]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def client(self) -> redis.Redis:
        """Return a client for looking at what is stored; it says at once what is wrong."""
        return redis.Redis(port=self.port, protocol=2, retry=no_retries(), socket_timeout=5)

    def call(self, *command: str | int) -> Any:
        """Send one command on a connection of its own."""
        with self.client() as client:
            return client.execute_command(*command)

    def stop(self) -> None:
        """Kill it without a goodbye."""
        super().stop()
        self.is_frozen = False

    def freeze(self) -> None:
        """Let it accept connections and say nothing."""
        super().freeze()
        self.is_frozen = True

    def thaw(self) -> None:
        """Let it go on."""
        super().thaw()
        self.is_frozen = False

    def _listening(self) -> list[str]:
        return ["bind 127.0.0.1", f"port {self.port}"]


class DataNode(Node):
    """A redis-server that keeps data, and gets a replica in sync without delay."""

    def __init__(self, folder: Path, config: Iterable[str] = (), *, port: int | None = None) -> None:
        persistence = ('save ""', "appendonly yes", "appendfsync no")
        replication = ("repl-diskless-sync-delay 0", "repl-ping-replica-period 1")
        super().__init__(folder, [*persistence, *replication, *config], port=port)

    def replication(self) -> dict[str, Any]:
        """Return what it says about its master or its replicas."""
        with self.client() as client:
            return dict(client.info("replication"))

    @property
    def is_master(self) -> bool:
        """Whether it thinks so."""
        return bool(self.replication()["role"] == "master")


def no_retries() -> Retry:
    """Return what makes a client report the first failure."""
    return Retry(NoBackoff(), 0)


def free_ports(count: int) -> list[int]:
    """Return so many different ports that nobody listens on."""
    ports: set[int] = set()
    while len(ports) < count:
        ports.add(free_port())
    return list(ports)


def wait_until_seen(condition: Callable[[], bool], *, what: str) -> None:
    """Wait for a condition that servers are asked about; an error of theirs says that it does not hold yet."""

    def holds() -> bool:
        with contextlib.suppress(redis.RedisError):
            return condition()
        return False

    wait_until(holds, what=what)


@contextlib.contextmanager
def running(*nodes: Node) -> Iterator[None]:
    """Run servers for as long as the context lasts; they start at the same time."""
    try:
        for node in nodes:
            node.launch()
        for node in nodes:
            wait_until(node._answers, what=f"{node} answers")
        yield
    finally:
        for node in nodes:
            node.stop()


def are_in_sync(nodes: Iterable[DataNode]) -> bool:
    """Say whether every replica that is up has its master's data, and the masters agree."""
    reports = [node.replication() for node in nodes if node.is_up]
    replicas = [report for report in reports if report["role"] == "slave"]
    online = [value for report in reports for value in report.values() if is_online(value)]
    return all(report["master_link_status"] == "up" for report in replicas) and len(online) == len(replicas)


def is_online(value: Any) -> bool:
    """Say whether a line of a master's report is a replica in sync."""
    return isinstance(value, dict) and value.get("state") == "online"


# TLS and ACLs

THIS_MACHINE = (x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost"))


@dataclasses.dataclass(frozen=True, slots=True)
class Identity:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def write_to(self, folder: Path, name: str) -> None:
        """Write ``name.crt`` and ``name.key``."""
        unprotected = serialization.NoEncryption()
        pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        (folder / f"{name}.crt").write_bytes(self.certificate.public_bytes(pem))
        (folder / f"{name}.key").write_bytes(self.key.private_bytes(pem, form, unprotected))


def write_certificates(folder: Path) -> None:
    """Write a private authority, ``ca``, and what it signed, ``server`` and ``client``: each a .crt and a .key."""
    folder.mkdir(parents=True, exist_ok=True)
    authority = new_authority()
    authority.write_to(folder, "ca")
    signed_by(authority, "redis", ExtendedKeyUsageOID.SERVER_AUTH).write_to(folder, "server")
    signed_by(authority, "wxlogin", ExtendedKeyUsageOID.CLIENT_AUTH).write_to(folder, "client")


def new_authority() -> Identity:
    """Return an authority that signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = common_name("Certificate authority of a test")
    builder = certificate_of(key, name, issuer=name, issuer_key=key)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    return Identity(
        builder.add_extension(usage(key_cert_sign=True), critical=True).sign(key, hashes.SHA256()), key
    )


def signed_by(
    authority: Identity,
    name: str,
    purpose: x509.ObjectIdentifier,
    *,
    hosts: Sequence[x509.GeneralName] = THIS_MACHINE,
) -> Identity:
    """Return a certificate for these hosts."""
    key, issuer = ec.generate_private_key(ec.SECP256R1()), authority.certificate.subject
    builder = certificate_of(key, common_name(name), issuer=issuer, issuer_key=authority.key)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(usage(key_cert_sign=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    builder = builder.add_extension(x509.SubjectAlternativeName(hosts), critical=False)
    return Identity(builder.sign(authority.key, hashes.SHA256()), key)


def common_name(name: str) -> x509.Name:
    """Return the name of a subject."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def certificate_of(
    key: ec.EllipticCurvePrivateKey,
    subject: x509.Name,
    *,
    issuer: x509.Name,
    issuer_key: ec.EllipticCurvePrivateKey,
) -> x509.CertificateBuilder:
    """Return what both kinds of certificate have; Python 3.13 insists on the identifiers of keys."""
    now, day = dt.datetime.now(dt.UTC), dt.timedelta(days=1)
    builder = x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - day).not_valid_after(now + day)
    issuer_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    return builder.add_extension(issuer_id, critical=False)


def usage(*, key_cert_sign: bool) -> x509.KeyUsage:
    """Return what a key is for: to sign certificates, or connections."""
    return x509.KeyUsage(
        digital_signature=not key_cert_sign,
        key_cert_sign=key_cert_sign,
        crl_sign=key_cert_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


class TlsRedisServer(DataNode):
    """A redis-server that speaks only TLS, and only to our certificate; its user may run what a store needs."""

    def __init__(self, folder: Path) -> None:
        self.username, self.password = "wxlogin", secrets.token_urlsafe()
        self._admin_password = secrets.token_urlsafe()
        write_certificates(folder)
        self.ca_file, self.cert_file, self.key_file = (
            folder / name for name in ("ca.crt", "client.crt", "client.key")
        )
        super().__init__(folder, self._config(folder))
        self.url = f"rediss://{self.username}:{self.password}@127.0.0.1:{self.port}/0"

    def client(self) -> redis.Redis:
        """Return a client for looking at what is stored, as somebody who may do anything."""
        return self.client_of("admin", self._admin_password)

    def client_of(self, username: str | None, password: str | None) -> redis.Redis:
        """Return a client that shows our certificate."""
        return redis.Redis(
            port=self.port,
            username=username,
            password=password,
            ssl=True,
            ssl_ca_certs=str(self.ca_file),
            ssl_certfile=str(self.cert_file),
            ssl_keyfile=str(self.key_file),
            protocol=2,
            retry=no_retries(),
            socket_timeout=5,
        )

    def _listening(self) -> list[str]:
        return ["bind 127.0.0.1", "port 0", f"tls-port {self.port}"]

    def _config(self, folder: Path) -> list[str]:
        return [
            f'tls-ca-cert-file "{folder}/ca.crt"',
            f'tls-cert-file "{folder}/server.crt"',
            f'tls-key-file "{folder}/server.key"',
            "tls-auth-clients yes",
            "user default off",
            f"user admin on >{self._admin_password} ~* &* +@all",
            f"user {self.username} on >{self.password} {SESSION_STORE_RULES}",
        ]


@contextlib.contextmanager
def tls_redis(folder: Path) -> Iterator[TlsRedisServer]:
    """Run a redis-server with TLS, client certificates and a user that may do little."""
    server = TlsRedisServer(folder)
    with running(server):
        yield server


# Sentinel


class SentinelNode(Node):
    """A Sentinel that knows the others from the start, as one does that was restarted."""

    def __init__(self, folder: Path, config: Iterable[str], *, port: int) -> None:
        super().__init__(folder, config, port=port)
        self._arguments = ("--sentinel",)

    def view(self, name: str) -> int:
        """Return the port of the master that it would send a client to."""
        return int(self.call("SENTINEL GET-MASTER-ADDR-BY-NAME", name)[1])

    def peers(self, name: str) -> list[dict[str, Any]]:
        """Return what it knows of the other Sentinels and of the replicas."""
        with self.client() as client:
            return [*client.sentinel_sentinels(name), *client.sentinel_slaves(name)]


class SentinelGroup:
    """A master, two replicas and three Sentinels, two of which decide."""

    name = "mymaster"

    def __init__(self, folder: Path, *, down_after_ms: int) -> None:
        ports = free_ports(6)
        self.nodes = [DataNode(folder / f"data-{port}", port=port) for port in ports[:3]]
        self._ids = {port: secrets.token_hex(20) for port in ports[3:]}
        self.sentinel_nodes = [
            SentinelNode(folder / f"sentinel-{port}", self._config(port, down_after_ms), port=port)
            for port in self._ids
        ]
        self.sentinels = [("127.0.0.1", port) for port in self._ids]
        self.url = f"redis+sentinel://{','.join(f'{host}:{port}' for host, port in self.sentinels)}/{self.name}/0"

    def master(self) -> DataNode:
        """Return the server that most Sentinels send clients to."""
        port = statistics.mode(self._views())
        return next(node for node in self.nodes if node.port == port)

    def kill_master(self) -> DataNode:
        """Kill the master, and return it; ``start`` brings it back."""
        master = self.master()
        master.stop()
        return master

    def freeze_master(self) -> DataNode:
        """Let the master say nothing until `thaw`, and return it."""
        master = self.master()
        master.freeze()
        return master

    def thaw(self) -> None:
        """Let all go on that were frozen; one that was master thinks so for up to ten seconds more."""
        for node in self.nodes:
            if node.is_frozen:
                node.thaw()

    def fail_over(self) -> DataNode:
        """Have a replica promoted although the master is well, which loses writes; return the old master."""
        old = self.master()
        next(node for node in self.sentinel_nodes if node.is_up).call("SENTINEL FAILOVER", self.name)
        return old

    def planned_failover(self) -> DataNode:
        """Have a replica promoted without losing writes, which wait meanwhile; return the old master, at once."""
        self.master().call("CLIENT PAUSE", 15000, "WRITE")
        return self.fail_over()

    def wait_for_new_master(self, old: DataNode) -> DataNode:
        """Wait until all Sentinels send clients to another master, that is one; return it."""
        wait_until_seen(lambda: self._agree_on_another_than(old), what=f"the Sentinels replace {old}")
        return self.master()

    def wait_until_follows(self, old: DataNode) -> None:
        """Wait until a former master is a replica in sync; the Sentinels take ten seconds or more for it."""
        wait_until_seen(lambda: not old.is_master and are_in_sync(self.nodes), what=f"{old} is a replica")

    def wait_until_ready(self) -> None:
        """Wait until the Sentinels are connected to each other and to replicas in sync."""
        self._look_each(100)  # a Sentinel that another found not yet started would be tried again in a second
        wait_until_seen(lambda: all(map(self._sees_all, self.sentinel_nodes)), what="the Sentinels know all")
        self._look_each(DEFAULT_PING_PERIOD_MS)

    def replicate(self) -> None:
        """Make all but the first server replicas of it, and wait until they are."""
        for replica in self.nodes[1:]:
            replica.call("REPLICAOF", "127.0.0.1", self.nodes[0].port)
            replica.call("CONFIG REWRITE")
        wait_until_seen(lambda: are_in_sync(self.nodes), what="replicas are in sync")

    def _look_each(self, milliseconds: int) -> None:
        for node in self.sentinel_nodes:
            node.call("SENTINEL DEBUG", "PING-PERIOD", milliseconds)

    def _views(self) -> list[int]:
        return [node.view(self.name) for node in self.sentinel_nodes if node.is_up]

    def _agree_on_another_than(self, old: DataNode) -> bool:
        master = self.master()
        return master is not old and len(set(self._views())) == 1 and master.is_up and master.is_master

    def _sees_all(self, sentinel: SentinelNode) -> bool:
        peers = sentinel.peers(self.name)
        in_sync = all(peer.get("master-link-status", "ok") == "ok" for peer in peers)
        return in_sync and [peer["flags"] for peer in peers] == UNDISTURBED

    def _config(self, port: int, down_after_ms: int) -> list[str]:
        others = [other for other in self._ids if other != port]
        master, *replicas = (node.port for node in self.nodes)
        return [
            f"sentinel myid {self._ids[port]}",
            f"sentinel monitor {self.name} 127.0.0.1 {master} 2",
            f"sentinel down-after-milliseconds {self.name} {down_after_ms}",
            f"sentinel failover-timeout {self.name} {FAILOVER_TIMEOUT_MS}",
            *(f"sentinel known-replica {self.name} 127.0.0.1 {replica}" for replica in replicas),
            *(f"sentinel known-sentinel {self.name} 127.0.0.1 {other} {self._ids[other]}" for other in others),
        ]


@contextlib.contextmanager
def sentinel(folder: Path, *, down_after_ms: int = 1000) -> Iterator[SentinelGroup]:
    """Run a master, two replicas in sync and three Sentinels that know each other."""
    group = SentinelGroup(folder, down_after_ms=down_after_ms)
    with running(*group.nodes):
        group.replicate()
        with running(*group.sentinel_nodes):
            group.wait_until_ready()
            yield group


# Cluster


class ClusterNode(DataNode):
    """A member of a Cluster."""

    def __init__(self, folder: Path, config: Iterable[str], *, port: int, bus_port: int) -> None:
        self.bus_port = bus_port  # not the default, 10000 more, which a port from `free_port` may have no room for
        super().__init__(folder, ["cluster-enabled yes", f"cluster-port {bus_port}", *config], port=port)

    def id(self) -> str:
        """Return its name within the Cluster."""
        return str(self.call("CLUSTER MYID").decode())

    def knows(self) -> int:
        """Return with how many members, itself included, it has shaken hands."""
        members = self.call("CLUSTER NODES").values()
        return sum("handshake" not in member["flags"] for member in members)

    def owners(self) -> list[int]:
        """Return, for each slot, the port of its master as this node sees it; 0 for none."""
        owners = [0] * SLOTS
        for first, last, master, *_ in self.call("CLUSTER SLOTS"):
            owners[first : last + 1] = [master[1]] * (last + 1 - first)
        return owners

    def says_ok(self) -> bool:
        """Say whether it would serve."""
        return bool(self.call("CLUSTER INFO")["cluster_state"] == "ok")


class Cluster:
    """Three masters with a third of the slots and one replica each."""

    def __init__(self, folder: Path, *, node_timeout_ms: int, options: tuple[str, ...]) -> None:
        ports = free_ports(12)
        config = [f"cluster-node-timeout {node_timeout_ms}", "cluster-announce-ip 127.0.0.1", *options]
        self.nodes = [
            ClusterNode(folder / f"node-{port}", config, port=port, bus_port=bus_port)
            for port, bus_port in zip(ports[:6], ports[6:], strict=True)
        ]
        self.url = f"redis+cluster://{','.join(f'127.0.0.1:{port}' for port in ports[:6])}"

    def master_of(self, key: str) -> ClusterNode:
        """Return the node that clients are sent to; after a fault, right from `wait_until_ok` on."""
        return self._node_on(self._live()[0].owners()[key_slot(key.encode())])

    def replica_of(self, master: ClusterNode) -> ClusterNode:
        """Return a replica of it."""
        return next(node for node in self._live() if node.replication().get("master_port") == master.port)

    def kill(self, node: ClusterNode) -> None:
        """Kill a node; its ``start`` brings it back."""
        node.stop()

    def freeze(self, node: ClusterNode) -> None:
        """Let a node say nothing until its ``thaw``."""
        node.freeze()

    def wait_until_ok(self) -> None:
        """Wait until the nodes that are up agree that all slots are with such nodes, and replicas are in sync."""
        wait_until_seen(self._is_ok, what="the Cluster is well")

    def move_slot_of(self, key: str) -> ClusterNode:
        """Move a key's slot, with all its keys, to another master; return that."""
        with self.moving_slot_of(key) as target:
            pass
        return target

    @contextlib.contextmanager
    def moving_slot_of(self, key: str) -> Iterator[ClusterNode]:
        """Move a key's slot; within the context its keys are with the new master, and the old one says ASK."""
        slot, source = key_slot(key.encode()), self.master_of(key)
        target = next(node for node in self._masters() if node is not source)
        target.call("CLUSTER SETSLOT", slot, "IMPORTING", source.id())
        source.call("CLUSTER SETSLOT", slot, "MIGRATING", target.id())
        migrate(slot, source, target)
        yield target
        self._assign(slot, source, target)

    def form(self) -> None:
        """Make a Cluster of the nodes, and wait until it is well."""
        masters, replicas = self.nodes[:3], self.nodes[3:]
        for epoch, node in enumerate(self.nodes, 1):
            node.call("CLUSTER SET-CONFIG-EPOCH", epoch)  # otherwise they would have to settle who has which
        for place, master in enumerate(masters):
            master.call("CLUSTER ADDSLOTSRANGE", SLOTS * place // 3, SLOTS * (place + 1) // 3 - 1)
        self._meet()
        for master, replica in zip(masters, replicas, strict=True):
            replica.call("CLUSTER REPLICATE", master.id())
        self.wait_until_ok()

    def _meet(self) -> None:
        for place, node in enumerate(self.nodes):
            for other in self.nodes[:place]:
                node.call("CLUSTER MEET", "127.0.0.1", other.port, other.bus_port)
        wait_until(lambda: all(node.knows() == len(self.nodes) for node in self.nodes), what="the nodes have met")

    def _assign(self, slot: int, source: ClusterNode, target: ClusterNode) -> None:
        target_id = target.id()
        others = [node for node in self._masters() if node is not source and node is not target]
        for node in (target, source, *others):  # the one that has the keys first
            node.call("CLUSTER SETSLOT", slot, "NODE", target_id)
        self.wait_until_ok()

    def _is_ok(self) -> bool:
        live = self._live()
        views = [node.owners() for node in live]
        agreed = all(view == views[0] for view in views)
        served = set(views[0]) <= {node.port for node in live}
        return agreed and served and all(node.says_ok() for node in live) and are_in_sync(live)

    def _live(self) -> list[ClusterNode]:
        return [node for node in self.nodes if node.is_up]

    def _masters(self) -> list[ClusterNode]:
        return [self._node_on(port) for port in sorted(set(self._live()[0].owners()))]

    def _node_on(self, port: int) -> ClusterNode:
        return next(node for node in self.nodes if node.port == port)


def migrate(slot: int, source: ClusterNode, target: ClusterNode) -> None:
    """Send the keys of a slot from one master to another."""
    while keys := source.call("CLUSTER GETKEYSINSLOT", slot, MIGRATED_AT_ONCE):
        source.call("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)


@contextlib.contextmanager
def cluster(folder: Path, *, node_timeout_ms: int = 2000, options: tuple[str, ...] = ()) -> Iterator[Cluster]:
    """Run a Cluster of six nodes; options are lines for their configuration files."""
    formed = Cluster(folder, node_timeout_ms=node_timeout_ms, options=options)
    with running(*formed.nodes):
        formed.form()
        yield formed


# Unwell


class LoadingRedisServer(DataNode):
    """A redis-server that has to load its data for a while after each start, and answers LOADING meanwhile."""

    def __init__(self, folder: Path, *, seconds: float) -> None:
        per_key = f"key-load-delay {int(seconds * 1_000_000 / FILLING_KEYS)}"
        often = ("rdbcompression no", "loading-process-events-interval-bytes 1024")  # to answer every ten keys
        super().__init__(folder, [per_key, *often])

    def fill(self) -> None:
        """Store many keys, and let its append-only file begin with them as a snapshot, which loads key by key."""
        with self.client() as client:
            client.mset({f"filling:{number}": "x" * 100 for number in range(FILLING_KEYS)})
        self.call("BGREWRITEAOF")
        wait_until(lambda: not self._persistence()["aof_rewrite_in_progress"], what="the snapshot is written")

    def load_again(self) -> None:
        """Kill it, and start it again; return when it answers LOADING."""
        self.stop()
        self.launch()
        wait_until(lambda: self.is_loading, what=f"{self} is loading")

    def wait_until_loaded(self) -> None:
        """Wait until it answers as it should."""
        wait_until(self._answers, what=f"{self} has loaded")

    @property
    def is_loading(self) -> bool:
        """Whether it answers LOADING."""
        try:
            self.call("PING")
        except redis.BusyLoadingError:
            return True
        except redis.ConnectionError:
            pass
        return False

    def _persistence(self) -> dict[str, Any]:
        with self.client() as client:
            return dict(client.info("persistence"))


@contextlib.contextmanager
def loading_redis(folder: Path, *, seconds: float = 3) -> Iterator[LoadingRedisServer]:
    """Run a redis-server that is loading, and will be for about so long."""
    server = LoadingRedisServer(folder, seconds=seconds)
    with running(server):
        server.fill()
        server.load_again()
        yield server


@contextlib.contextmanager
def read_only_replica(folder: Path) -> Iterator[DataNode]:
    """Run a redis-server that answers writes with READONLY."""
    server = DataNode(folder)
    with running(server):
        turn_read_only(server)
        yield server


def turn_read_only(server: RedisServer) -> None:
    """Make a running server the replica of an address where nobody is: it has its data, and takes no writes."""
    with server.client() as client:
        client.replicaof("127.0.0.1", "1")


def turn_writable(server: RedisServer) -> None:
    """Make it a master again."""
    with server.client() as client:
        client.replicaof("NO", "ONE")
