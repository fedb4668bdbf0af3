"""Makes what a fresh Compose stack needs and nobody should commit: keys, passwords, Redis's users, a certificate.

It runs as root, with no network, before all else. What is secret is made once and kept in volumes, each of which
only those containers get who need it; what follows from it is written anew.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import ipaddress
import os
import secrets
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

WXLOGIN_UID, REDIS_UID, NGINX_UID = 10001, 999, 101
PREPARED = Path("/prepared")
CERTIFICATE_DAYS = 365

# docs/operations.md says what each is for, and a test that both say the same.
SERVICE_COMMANDS = (
    "+eval +incrby +pttl +expire +get +hget +hgetall +hset +hdel +type +del +time +expireat +exists +set +info"
    " +ping +client|tracking"
)
CLUSTER_COMMANDS = "+command +cluster|slots +asking"
REPLICA_COMMANDS = "+psync +replconf +ping"
SENTINEL_COMMANDS = (
    "+multi +slaveof +ping +exec +subscribe +config|rewrite +role +publish +info"
    " +client|setname +client|kill +script|kill"
)
USERS = {
    "wxlogin": f"resetkeys resetchannels ~wxlogin:* -@all {SERVICE_COMMANDS}",
    "replica": f"resetkeys resetchannels -@all {REPLICA_COMMANDS}",
    "sentinel": f"resetkeys allchannels -@all {SENTINEL_COMMANDS}",
    "admin": "allkeys allchannels +@all",
}


def main() -> None:
    """Make what is missing."""
    for name, rights in USERS.items():
        _make_once(_password_of(name), secrets.token_urlsafe(32), uid=REDIS_UID)
        USERS[name] = f"{rights} {CLUSTER_COMMANDS}" if name == "wxlogin" and _is_cluster() else rights
    _write(PREPARED / "redis/users.acl", _acl(), uid=REDIS_UID)
    _write(PREPARED / "redis/replica.conf", _replica_conf(), uid=REDIS_UID)
    _write(PREPARED / "redis/sentinel.conf", _sentinel_conf(), uid=REDIS_UID)
    _make_once(PREPARED / "wxlogin/secret_keys", secrets.token_urlsafe(32), uid=WXLOGIN_UID)
    _write(PREPARED / "wxlogin/redis_url", _redis_url(), uid=WXLOGIN_UID)
    _make_certificate(PREPARED / "nginx/tls.crt", PREPARED / "nginx/tls.key")
    for folder in (PREPARED / "data").glob("*"):
        os.chown(folder, REDIS_UID, REDIS_UID)


def _password_of(user: str) -> Path:
    return PREPARED / f"redis/{user}_password"


def _is_cluster() -> bool:
    return os.environ["REDIS_URL"].startswith("redis+cluster:")


def _redis_url() -> str:
    return os.environ["REDIS_URL"].replace("PASSWORD", _password_of("wxlogin").read_text())


def _acl() -> str:
    lines = [f"user {name} on #{_hash_of_password(name)} {rights}" for name, rights in USERS.items()]
    # For health checks: a user who may do nothing else needs no password.
    lines.append("user health on nopass resetkeys resetchannels -@all +ping +role")
    # Nobody can be `default`, but Redis itself is when it reads its append-only file: without these rights it
    # leaves out what scripts wrote, without a word.
    lines.append("user default off allkeys allchannels +@all")
    return "\n".join([*lines, ""])


def _hash_of_password(user: str) -> str:
    return hashlib.sha256(_password_of(user).read_bytes()).hexdigest()


def _replica_conf() -> str:
    return f"masteruser replica\nmasterauth {_password_of('replica').read_text()}\n"


def _sentinel_conf() -> str:
    password = _password_of("sentinel").read_text()
    return f"sentinel auth-user mymaster sentinel\nsentinel auth-pass mymaster {password}\n"


def _make_certificate(certificate: Path, key: Path) -> None:
    """Make a certificate for development, unless there is one that is good for another month."""
    if certificate.exists() and _ends(certificate) > _now() + dt.timedelta(days=30):
        return
    private = ec.generate_private_key(ec.SECP256R1())
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    _write(key, pem.decode(), uid=NGINX_UID)
    _write(certificate, _self_signed(private).public_bytes(Encoding.PEM).decode(), uid=NGINX_UID)


def _self_signed(private: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = x509.Name.from_rfc4514_string("CN=wxlogin development")
    loopback = [x509.IPAddress(ipaddress.ip_address(address)) for address in ("127.0.0.1", "::1")]
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), *loopback])
    builder = x509.CertificateBuilder(name, name, private.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(_now() - dt.timedelta(hours=1))
    builder = builder.not_valid_after(_now() + dt.timedelta(days=CERTIFICATE_DAYS))
    return builder.add_extension(names, critical=False).sign(private, hashes.SHA256())


def _ends(certificate: Path) -> dt.datetime:
    return x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _make_once(path: Path, text: str, *, uid: int) -> None:
    if not path.exists():
        _write(path, text, uid=uid)


def _write(path: Path, text: str, *, uid: int) -> None:
    """Put a file in place, for one user to read, and for us: root without capabilities reads by its group."""
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    new.touch(mode=0o600)
    new.write_text(text)
    new.chmod(0o440)
    os.chown(new, uid, 0)
    new.rename(path)


if __name__ == "__main__":
    main()
