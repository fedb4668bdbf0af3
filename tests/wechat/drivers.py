"""What WeChat's answers and WeChat's bad days look like, for tests that are to see all of them."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import datetime as dt
import gzip
import hashlib
import hmac
import io
import ipaddress
import itertools
import json
import logging
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.redis_topologies import usage
from tests.servers import TIMEOUT_SECONDS, free_port
from tests.stopwatch import stopwatch
from tests.wechat.upstream import (
    Behaviour,
    Upstream,
    answer,
    chunked,
    closes_after_hello,
    closes_after_request,
    drips,
    floods,
    plays,
    plays_and_closes,
    resets_after_hello,
    resets_after_request,
    resets_unread,
    resets_within,
    stalls,
    talks_no_tls,
    upstream,
)
from wxlogin.wechat.api.client import WeChatClient
from wxlogin.wechat.api.errors import WeChatError
from wxlogin.wechat.api.http import Timeouts, WeChatApi
from wxlogin.wechat.api.models import AccessToken, CodeSession, PhoneNumber

APPID = "wx4f4bc4dec97d474b"
# With characters whose URL encoding differs, so that a leak shows in each of its forms.
SECRET = "the/app+secret 7b1e"
CODE = "the/code+of wx.login 0a3f"
OPENID = "oGZUI0egBJY1zhBYw2KhdUfwVJJE"
UNIONID = "ocMvos6NjeKLIBqg5Mr9QjxrP1FA"
SESSION_KEY = "tiihtNczf5v6AKRyjwEUhQ=="
NEW_SESSION_KEY = "HyVFkGl5F5OQWJZZaNzBBg=="
ACCESS_TOKEN = "61_the/access+token=9d2c"
PHONE_CODE = "the/phone+code c4e8"
PHONE_NUMBER = "+852 9876 5432"
SIGNATURE = hmac.new(SESSION_KEY.encode(), b"", hashlib.sha256).hexdigest()
SECRETS = (
    SECRET,
    CODE,
    OPENID,
    UNIONID,
    SESSION_KEY,
    NEW_SESSION_KEY,
    ACCESS_TOKEN,
    PHONE_CODE,
    PHONE_NUMBER,
    SIGNATURE,
)
RID = "66c69111-4157f271-729ca238"

PATIENT = Timeouts(connect=5, read=5, total=10)
# A busy machine takes a while for a TLS handshake.
HASTY = Timeouts(connect=1, read=0.3, total=1.3)
MAX_SECONDS = 3
"""What no such call may take, on the slowest of machines."""


def success(**changes: Any) -> bytes:
    """Return the body of a real success; a field changed to None is left out."""
    fields = {"session_key": SESSION_KEY, "openid": OPENID} | changes
    return json.dumps({name: value for name, value in fields.items() if value is not None}).encode()


def refusal(errcode: int | str, errmsg: str = f"invalid code, rid: {RID}") -> bytes:
    """Return the body of a real refusal."""
    return json.dumps({"errcode": errcode, "errmsg": errmsg}).encode()


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """An endpoint of WeChat's: how it is called, what WeChat answers on a good day, and what becomes of that."""

    path: str
    call: Callable[[WeChatClient], object]
    answer: dict[str, Any]
    value: object

    @property
    def body(self) -> bytes:
        """WeChat's answer as it is sent."""
        return json.dumps(self.answer).encode()


OK = {"errcode": 0, "errmsg": "ok"}
PHONE_INFO = {
    "phoneNumber": PHONE_NUMBER,
    "purePhoneNumber": "9876 5432",
    "countryCode": "852",
    "watermark": {"timestamp": 1637744274, "appid": APPID},
}
_A_TOKEN = {"access_token": ACCESS_TOKEN, "expires_in": 7200}
_THE_TOKEN = AccessToken(ACCESS_TOKEN, 7200)

ENDPOINTS = {
    "code2session": Endpoint(
        "/sns/jscode2session",
        lambda client: client.code2session(CODE),
        {"session_key": SESSION_KEY, "openid": OPENID},
        CodeSession(OPENID, SESSION_KEY),
    ),
    "token": Endpoint("/cgi-bin/token", lambda client: client.token(), _A_TOKEN, _THE_TOKEN),
    "stable_token": Endpoint("/cgi-bin/stable_token", lambda client: client.stable_token(), _A_TOKEN, _THE_TOKEN),
    "getuserphonenumber": Endpoint(
        "/wxa/business/getuserphonenumber",
        lambda client: client.getuserphonenumber(ACCESS_TOKEN, PHONE_CODE, openid=OPENID),
        OK | {"phone_info": PHONE_INFO},
        PhoneNumber(PHONE_NUMBER, "9876 5432", "852"),
    ),
    "checkencryptedmsg": Endpoint(
        "/wxa/business/checkencryptedmsg",
        lambda client: client.checkencryptedmsg(ACCESS_TOKEN, "0" * 64),
        OK | {"vaild": True, "create_time": 1629121902},
        True,
    ),
    "checksession": Endpoint(
        "/wxa/checksession",
        lambda client: client.checksession(ACCESS_TOKEN, openid=OPENID, session_key=SESSION_KEY),
        OK,
        True,
    ),
    "resetusersessionkey": Endpoint(
        "/wxa/resetusersessionkey",
        lambda client: client.resetusersessionkey(ACCESS_TOKEN, openid=OPENID, session_key=SESSION_KEY),
        OK | {"openid": OPENID, "session_key": NEW_SESSION_KEY},
        NEW_SESSION_KEY,
    ),
}
LOGIN = ENDPOINTS["code2session"]


UNUSABLE_IDS = {
    "absent": None,
    "empty": "",
    "with a line break": "o\r\nX-Admin: 1",
    "with a line break at the end": f"{OPENID}\n",
    "not ASCII": "o中",
    "with a NUL": "o\x00",
    "10 kB long": "o" * 10_000,
    "a number": 1,
    "a list": [OPENID],
    "an object": {"openid": OPENID},
    "true": True,
}

UNUSABLE_BODIES = {
    "HTML": b"<html><body>502 Bad Gateway</body></html>",
    "nothing": b"",
    "an empty object": b"{}",
    "an array": b"[]",
    "an array of an object": b"[" + success() + b"]",
    "null": b"null",
    "a number": b"1",
    "a string": b'"ok"',
    "a success cut off": success()[:-1],
    "a success and more": success() + b"}",
    "errcode NaN": b'{"errcode": NaN}',
    "errcode Infinity": b'{"errcode": Infinity}',
    "errcode of 5,000 digits": b'{"errcode": ' + b"9" * 5_000 + b"}",
    "errcode a list": b'{"errcode": [40029]}',
    "errcode a word": b'{"errcode": "invalid code"}',
    "10,000 brackets": b"[" * 10_000 + b"]" * 10_000,
    "10,000 levels in an object": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "a byte order mark": b"\xef\xbb\xbf" + success(),
    "UTF-16": success().decode().encode("utf-16"),
    "bytes": bytes(range(256)),
    "openid twice, the last one empty": success()[:-1] + b', "openid": ""}',
}

_HEAD = b"HTTP/1.1 200 OK\r\n"
_GZIP = "Content-Type: text/plain\r\nContent-Encoding: gzip"
_LONG = 64 * 1024 + 1


@dataclasses.dataclass(frozen=True)
class BadDay:
    """One way in which WeChat, or the way to it, may fail."""

    behaviour: Behaviour | None = None
    _: dataclasses.KW_ONLY
    certificate: str = ""
    scheme: str = ""
    url: str = ""

    @contextlib.contextmanager
    def begin(self, certificates: Certificates) -> Iterator[Upstream]:
        """Let it be such a day until the context ends."""
        if self.behaviour is None:
            yield _nobody(self.url)
            return
        tls = certificates.server(self.certificate) if self.certificate else None
        with upstream(self.behaviour, tls=tls, scheme=self.scheme) as seen:
            yield seen


def _nobody(url: str) -> Upstream:
    seen = Upstream(free_port(), scheme="http")
    seen.url = url or seen.url
    return seen


def _unusable(data: bytes) -> BadDay:
    return BadDay(plays(data))


UNUSABLE_ANSWERS = {
    **{f"body: {name}": _unusable(answer(body)) for name, body in UNUSABLE_BODIES.items()},
    **{f"openid: {name}": _unusable(answer(success(openid=value))) for name, value in UNUSABLE_IDS.items()},
    **{
        f"session_key: {name}": _unusable(answer(success(session_key=value)))
        for name, value in UNUSABLE_IDS.items()
    },
    **{
        f"unionid: {name}": _unusable(answer(success(unionid=value)))
        for name, value in UNUSABLE_IDS.items()
        if name not in {"absent", "empty"}  # these are usual
    },
    **{
        f"status {status}": _unusable(answer(success(), status=status))
        for status in ("201 Created", "206 Partial", "404 Gone", "429 Slow", "500 Oh", "502 Oh", "503 Oh")
    },
    "a malformed header": BadDay(plays(answer(b"", headers="no colon in this line"))),
    "a head cut off before the length": BadDay(plays_and_closes(_HEAD + b"Content-Ty")),
    "status 204": _unusable(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "status 304": _unusable(b"HTTP/1.1 304 Not Modified\r\n\r\n"),
    "status 101": _unusable(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n\r\n"),
    "status 503, and an endless body": BadDay(floods(b"x" * 8192, after=b"HTTP/1.1 503 Oh\r\n\r\n")),
    "a redirect with an endless body": BadDay(
        drips(b"x", after=b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 999999\r\n\r\n"),
    ),
    "a redirect to no address": _unusable(answer(b"", status="302 Found", headers="Location: http://[x")),
    "a redirect to no text": _unusable(answer(b"", status="302 Found", headers="Location: /\xff")),
    "gzip": _unusable(answer(gzip.compress(success()), headers=_GZIP)),
    "a gzip bomb": _unusable(answer(gzip.compress(b" " * 50_000_000), headers=_GZIP)),
    "a long body": _unusable(answer(success() + b" " * _LONG)),
    "a long chunked body": _unusable(chunked(success(), b" " * _LONG, b"")),
    "an endless body": BadDay(floods(b" " * 8192, after=_HEAD + b"\r\n")),
    "an endless chunked body": BadDay(
        floods(b"2000\r\n" + b" " * 8192 + b"\r\n", after=_HEAD + b"Transfer-Encoding: chunked\r\n\r\n"),
    ),
}

NO_ANSWERS = {
    "a reset before the request was read": BadDay(resets_unread),
    "a reset after the request was read": BadDay(resets_after_request),
    "closed after the request was read": BadDay(closes_after_request),
    "a truncated body": BadDay(plays_and_closes(answer(success())[:-5])),
    "a reset within the body": BadDay(resets_within(answer(success())[:-5])),
    "a truncated chunk": BadDay(plays_and_closes(chunked(success())[:-5])),
    "no last chunk": BadDay(plays_and_closes(chunked(success()))),
    "a chunk of no length": BadDay(plays_and_closes(chunked() + b"xyz\r\n")),
    "a chunk of a negative length": BadDay(plays_and_closes(chunked() + b"-5\r\nx")),
    "a truncated head": BadDay(plays_and_closes(_HEAD + b"Content-Length: 9\r\nContent-Ty")),
    "a truncated status line": BadDay(plays_and_closes(_HEAD[:5])),
    "garbage": BadDay(plays_and_closes(b"\x00\xff" * 100 + b"\r\n\r\n")),
    "a body without a head": BadDay(plays_and_closes(success() + b"\r\n")),
    "another protocol": BadDay(plays_and_closes(b"220 smtp.example.com ESMTP\r\n")),
    "a head of 1,000 lines": BadDay(plays_and_closes(_HEAD + b"X-Filler: x\r\n" * 1_000 + b"\r\n")),
    "a line of 1 MB": BadDay(plays_and_closes(_HEAD + b"X-Filler: " + b"x" * 1_000_000)),
    "two lengths": BadDay(plays_and_closes(_HEAD + b"Content-Length: 2\r\nContent-Length: 4\r\n\r\n" + success())),
    "a truncated body over TLS": BadDay(plays_and_closes(answer(success())[:-5]), certificate="good"),
    "a reset over TLS": BadDay(resets_after_request, certificate="good"),
}

TIMEOUTS = {
    "no byte": BadDay(stalls),
    "a head byte by byte": BadDay(drips(b"X-Filler: x\r\n", after=_HEAD)),
    "a status line byte by byte": BadDay(drips(b"H")),
    "a body byte by byte": BadDay(drips(b" ", after=_HEAD + b"Content-Length: 60000\r\n\r\n")),
    "chunks byte by byte": BadDay(drips(b"1\r\n \r\n", after=_HEAD + b"Transfer-Encoding: chunked\r\n\r\n")),
    "slow 100 Continues": BadDay(drips(b"HTTP/1.1 100 Continue\r\n\r\n")),
    "a flood of 100 Continues": BadDay(floods(b"HTTP/1.1 100 Continue\r\n\r\n" * 200_000)),
    "no byte over TLS": BadDay(stalls, certificate="good"),
    "a body byte by byte over TLS": BadDay(
        drips(b" ", after=_HEAD + b"Content-Length: 60000\r\n\r\n"), certificate="good"
    ),
    "a flood of 100 Continues over TLS": BadDay(
        floods(b"HTTP/1.1 100 Continue\r\n\r\n" * 200_000), certificate="good"
    ),
}

NOT_REACHED = {
    "connection refused": BadDay(),
    "a TLS handshake that stalls": BadDay(stalls, scheme="https"),
    "a name that does not resolve": BadDay(url="http://nonexistent.invalid"),
}

TLS_FAILURES = {
    "self-signed": BadDay(plays(answer(success())), certificate="self-signed"),
    "expired": BadDay(plays(answer(success())), certificate="expired"),
    "of another name": BadDay(plays(answer(success())), certificate="of another name"),
    "of an unknown authority": BadDay(plays(answer(success())), certificate="of an unknown authority"),
    "closed in the handshake": BadDay(closes_after_hello, scheme="https"),
    "a reset in the handshake": BadDay(resets_after_hello, scheme="https"),
    "no TLS": BadDay(talks_no_tls, scheme="https"),
}

REFUSALS = {
    f"errcode {errcode}": BadDay(plays(answer(refusal(errcode, f"{' '.join(SECRETS)}, rid: {RID}"))))
    for errcode in (-1, 40029, 40125, 42001, 99999)
}

# With a whole answer, the connection may be kept: how many are open says nothing.
_KEEPING_DAYS = {*UNUSABLE_ANSWERS.values(), *REFUSALS.values()}
# Without an end in sight, the call is not to wait for it; elsewhere, a slow machine shall not look like a bad day.
_LONG_DAYS = {*TIMEOUTS.values(), *NOT_REACHED.values()}
BAD_DAYS = UNUSABLE_ANSWERS | NO_ANSWERS | TIMEOUTS | NOT_REACHED | TLS_FAILURES | REFUSALS


_LOOPBACK = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of one call on a bad day."""

    error: WeChatError
    upstream: Upstream
    seconds: float
    open_connections: int
    log: str


def live_through(day: BadDay, certificates: Certificates, endpoint: Endpoint = LOGIN) -> Outcome:
    """Make one call on such a day, with all logging on; fail if it succeeds."""
    timeouts = HASTY if day in _LONG_DAYS else PATIENT
    with (
        day.begin(certificates) as seen,
        debug_log() as log,
        contextlib.closing(api_at(seen.url, certificates, timeouts=timeouts, most=1)) as api,
    ):
        client = WeChatClient(APPID, SECRET, api=api)
        with stopwatch() as seconds, pytest.raises(WeChatError) as raised:
            endpoint.call(client)
        still_open = 0 if day in _KEEPING_DAYS else _still_open(seen)
        return Outcome(raised.value, seen, seconds(), still_open, log.getvalue())


def _still_open(seen: Upstream) -> int:
    """Return how many connections are open, when the stand-in has had the time to see them end."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while seen.open and time.monotonic() < deadline:
        seen.stopped.wait(0.01)
    return seen.open


def in_turn() -> Callable[[], float]:
    """Return a clock by which so much time passes between two calls that a breaker lets each through."""
    return itertools.count(0, 1000).__next__


def forms_of(text: str) -> set[str]:
    """Return how a text may look in a log."""
    data = text.encode()
    encoded = {quote(text), quote(text, safe=""), quote_plus(text), json.dumps(text)[1:-1], repr(text)[1:-1]}
    return {text, *encoded, base64.b64encode(data).decode(), base64.urlsafe_b64encode(data).decode()}


def leaks_in(text: str) -> set[str]:
    """Return which secrets are in a text."""
    return {leak for leak in LEAKS if leak in text}


LEAKS = set().union(*map(forms_of, SECRETS))


@contextlib.contextmanager
def debug_log() -> Iterator[io.StringIO]:
    """Collect what is logged, down to each library's debugging, as formatted lines."""
    log = io.StringIO()
    handler = logging.StreamHandler(log)
    loggers = [logging.getLogger(name) for name in (None, "urllib3", "requests", "wxlogin")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
    loggers[0].addHandler(handler)
    try:
        yield log
    finally:
        loggers[0].removeHandler(handler)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


class Certificates:
    """A certificate authority of our own, and servers' certificates of all kinds, in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        good, other = _authority("good"), _authority("other")
        self.authority = folder / "authority.pem"
        self.authority.write_bytes(_pem(good[0]))
        self._write("good", good)
        self._write("expired", good, days=(-2, -1))
        self._write("of another name", good, name=x509.DNSName("api.weixin.qq.com"))
        self._write("of an unknown authority", other)
        self._write("self-signed", None)

    def server(self, name: str) -> ssl.SSLContext:
        """Return what a server needs for TLS with one of the certificates."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._folder / f"{name}.pem")
        return context

    def _write(
        self,
        file_name: str,
        issuer: Issuer | None,
        *,
        days: tuple[int, int] = (-1, 1),
        name: x509.GeneralName = _LOOPBACK,
    ) -> None:
        certificate, key = _certificate("server", issuer, days=days, extension=x509.SubjectAlternativeName([name]))
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (self._folder / f"{file_name}.pem").write_bytes(_pem(certificate) + private)


def api_at(
    url: str, certificates: Certificates, *, timeouts: Timeouts = PATIENT, most: int = 4, **more: Any
) -> WeChatApi:
    """Return a way to the stand-in at ``url`` that never pauses, and that the caller has to close."""
    return WeChatApi(
        url,
        timeouts=timeouts,
        max_connections=most,
        authorities_path=str(certificates.authority),
        **{"sleep": lambda _: None, **more},
    )


Issuer = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


def _authority(name: str) -> Issuer:
    constraints = x509.BasicConstraints(ca=True, path_length=None)
    return _certificate(f"the {name} authority", None, days=(-1, 1), extension=constraints)


def _certificate(
    subject: str, issuer: Issuer | None, *, days: tuple[int, int], extension: x509.ExtensionType
) -> Issuer:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    now = dt.datetime.now(dt.UTC)
    signer = issuer[1] if issuer else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer[0].subject if issuer else name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + dt.timedelta(days=days[0]))
        .not_valid_after(now + dt.timedelta(days=days[1]))
        .add_extension(extension, critical=True)
        # Python 3.13 checks as RFC 5280 wants, and that wants these.
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .add_extension(usage(key_cert_sign=issuer is None), critical=True)
    )
    return builder.sign(signer, hashes.SHA256()), key


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
