"""Ways to reach a protected back end as somebody else, or as nobody: the list, as data.

Each is a request, or what is sent in place of one, as it goes over the wire. ``{api}`` stands for the protected
prefix, ``{login}`` for that of the service's routes, ``{carrier}`` for where a real user's session goes; strangers
send nothing there. Beside it is what a stranger may be answered; 0 is a connection closed without an answer.
"""

from __future__ import annotations

import dataclasses

FORGED = "oForged-openid-of-somebody-el"


@dataclasses.dataclass(frozen=True, slots=True)
class Attack:
    """What is sent, and the statuses that a stranger may get for it."""

    name: str
    message: bytes
    statuses: frozenset[int]


def _request(line: str, *headers: str, body: str = "", host: str = "Host: localhost") -> bytes:
    lines = [line, *([host] if host else []), "{carrier}", "Connection: close", *headers, "", body]
    return "\r\n".join(lines).encode("latin-1")


def _attack(name: str, message: bytes, *statuses: int) -> Attack:
    return Attack(name, message, frozenset(statuses))


def _header(*lines: str) -> Attack:
    return _attack(f"header {' and '.join(lines)[:60]!r}", _request("GET {api} HTTP/1.1", *lines), 401)


def _bad_header(line: str, *statuses: int) -> Attack:
    return _attack(f"header {line[:60]!r}", _request("GET {api} HTTP/1.1", line), *statuses)


def _target(target: str, *statuses: int) -> Attack:
    return _attack(f"target {target[:60]!r}", _request(f"GET {target} HTTP/1.1"), *statuses)


def _method(method: str, *statuses: int) -> Attack:
    forged = f"X-WX-OPENID: {FORGED}"
    return _attack(f"method {method!r}", _request(f"{method} {{api}} HTTP/1.1", forged), *statuses)


_SMUGGLED = f"GET {{api}}smuggled HTTP/1.1\r\nHost: localhost\r\nX-WX-OPENID: {FORGED}\r\n\r\n"


def _smuggling(name: str, *headers: str, body: str, statuses: tuple[int, ...]) -> Attack:
    return _attack(f"smuggling {name}", _request("POST {api} HTTP/1.1", *headers, body=body), *statuses)


_FORGED_HEADERS = (
    # The identity itself, in all spellings
    _header(f"X-WX-OPENID: {FORGED}"),
    _header(f"x-wx-openid: {FORGED}"),
    _header(f"X-Wx-Openid: {FORGED}", f"X-WX-OPENID: {FORGED}"),
    _header(f"X_WX_OPENID: {FORGED}"),
    _header(f"X-WX_OPENID: {FORGED}"),
    _header(f"X_Wx-Openid: {FORGED}"),
    _header(f"X-WX-OPENID: {FORGED}", "X-WX-APPID: wx0123456789abcdef", "X-WX-SOURCE: wx_client"),
    _header(f"X-WX-UNIONID: {FORGED}"),
    _header("X-WX-APPID: wx0123456789abcdef"),
    _header("X-WX-SOURCE: wx_devtools"),
    _header(f"X-WX-FROM-OPENID: {FORGED}", f"X-WX-FROM-UNIONID: {FORGED}", "X-WX-FROM-APPID: wx0123456789abcdef"),
    _header("X-WX-ENV: prod", "X-WX-REGION: ap-shanghai", "X-WX-CALL-ID: 1", "X-WX-EXCLUDE-CREDENTIALS: 1"),
    _header(f"X-WX-OPENDATA-INFO: {FORGED}", "X-WX-CLOUDBASE-ACCESS-TOKEN: t", "X-WX-NOBODY-KNOWS: 1"),
    _header(f"XWXOPENID: {FORGED}", f"X--WX--OPENID: {FORGED}"),
    _header(f"X.WX.OPENID: {FORGED}"),
    # What is hardly a name
    _bad_header(f"X-WX-OPENID : {FORGED}", 400),
    _bad_header(f"X-WX-OPENID\t: {FORGED}", 400),
    _bad_header(f"X-W\xd8-OPENID: {FORGED}", 400, 401),
    _bad_header(f" X-WX-OPENID: {FORGED}", 400, 401),
    _bad_header(f"X-A: b\r\n X-WX-OPENID: {FORGED}", 400, 401),
    _bad_header(f"X-A: b\nX-WX-OPENID: {FORGED}", 400, 401),
    _bad_header(f"X-A: b\rX-WX-OPENID: {FORGED}", 400),
    _bad_header(f"X-A: b\0X-WX-OPENID: {FORGED}", 400),
    _bad_header(f"X-WX-OPENID\0: {FORGED}", 400),
    _bad_header(f": {FORGED}", 400, 401),
    _bad_header(f"X-WX-OPENID {FORGED}", 400, 401),
    # Whom a proxy would have believed
    _header("X-Forwarded-For: 127.0.0.1", "X-Real-IP: 127.0.0.1", "Forwarded: for=127.0.0.1;proto=http"),
    _header("X-Client-IP: 127.0.0.1", "CF-Connecting-IP: 127.0.0.1", "True-Client-IP: 127.0.0.1"),
    _header("X-Forwarded-Proto: http", "X-Forwarded-Ssl: off", "X-Forwarded-Protocol: ssl"),
    _header("X-Forwarded-Host: evil.example", "X-Host: evil.example", "X-Original-Host: evil.example"),
    _header("X-Original-URI: /healthz", "X-Forwarded-Uri: /healthz", "X-Forwarded-Method: OPTIONS"),
    _header("X-Original-URL: /healthz", "X-Rewrite-URL: /healthz", "X-Forwarded-Prefix: /public"),
    _header("X-Original-Method: OPTIONS", "X-HTTP-Method-Override: OPTIONS", "X-Auth-Request-Redirect: /"),
    _header("X-Accel-Redirect: @backend", "X-Accel-Internal: 1", "X-Sendfile: /etc/passwd"),
    _header("User-Agent: kube-probe/1.0"),
    _header("User-Agent: GoogleHC/1.0", "User-Agent: ELB-HealthChecker/2.0"),
    _header(f"Authorization: Bearer {FORGED}"),
    _header("Authorization: Basic YWRtaW46YWRtaW4="),
    _header("Remote-User: admin", "X-Remote-User: admin", "X-Forwarded-User: admin", "X-Auth-Request-User: admin"),
    _header(f"sessionid: {'A' * 59}"),
    _header(f"Cookie: sessionid={'A' * 59}; wxlogin_openid={FORGED}; X-WX-OPENID={FORGED}"),
    _header("Cookie: wxlogin_verdict=allowed", "wxlogin_verdict: allowed", "wxlogin-openid: x"),
    # Range and conditional headers could turn the service's answer into 206, 304 or 412
    _header("Range: bytes=0-0", "If-Range: x"),
    _header("If-None-Match: *", "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT"),
    _header("If-Match: x", "If-Unmodified-Since: Thu, 01 Jan 1970 00:00:00 GMT"),
    _header("Cache-Control: only-if-cached", "Pragma: no-cache"),
    # What is said about the connection
    _header("Connection: X-WX-OPENID", "Connection: sessionid, cookie, authorization"),
    _header("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: eA=="),
    _header("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"),
    _header("TE: trailers", f"Trailer: X-WX-OPENID, {FORGED}"),
    _header("Expect: 100-continue"),
    _header("Proxy-Connection: keep-alive", "Proxy: http://127.0.0.1/"),
)

_TARGETS = (
    # The same path to somebody, but not to all
    _target("{api}../api/", 400),
    _target("{api}%2e%2e/x", 400),
    _target("{api}.%2e/x", 400),
    _target("{api}%2E%2E/x", 400),
    _target("{api}./x", 400),
    _target("/.{api}x", 400, 404, 200),
    _target("/x/..{api}x", 400),
    _target("/x/%2e%2e{api}x", 400),
    _target("/x/..%2f{api}x", 400),
    _target("/{api}x", 400),
    _target("//localhost{api}x", 400),
    _target("{api}/x", 400),
    _target("/x//..{api}", 400),
    _target("/%2f{api}x", 400),
    _target("{api}..;/x", 400),
    _target("/x;/..{api}x", 400),
    _target("/;{api}x", 400),
    _target("/%3b{api}x", 400),
    _target("{api};x=/x", 400),
    # Separators and ends, hidden
    _target("{api}%5cx", 400),
    _target("{api}\\x", 400),
    _target("/x\\..\\{api}", 400),
    _target("{api}%00/x", 400),
    _target("/%00{api}", 400),
    _target("{api}%0d%0aX-WX-OPENID:%20" + FORGED, 400),
    _target("/x%0a{api}", 400),
    _target("{api}x%3fa=b", 400),
    _target("/%3f{api}", 400),
    _target("{api}%23/x", 400),
    _target("{api}%c0%ae%c0%ae/x", 400),
    _target("/%252e%252e{api}x", 400),
    _target("/%2561pi/x", 400),
    _target("{api}%u002e%u002e/x", 400),
    _target("{api}%zz", 400),
    _target("/%ef%bc%8f{api}", 404, 200, 401),
    # nginx is exact, and so is the back end
    _target("/API/x", 404, 200, 401),
    _target("/%41PI/x", 404, 200, 401),
    # Fragments
    _target("{api}x#/../y", 400),
    _target("/#/..{api}x", 400),
    _target("/x#{api}", 400),
    # What is no path, and what names a server
    _target("*", 400),
    _target("api/x", 400),
    _target("http://localhost{api}", 401),
    _target("http://evil.example{api}", 0, 401),
    _target("https://localhost/x/..{api}", 400),
    _target("http://localhost/{api}", 400),
    _target("http://localhost@evil.example{api}", 0, 400),
    _target("localhost:443", 400),
    _target("?{api}", 400),
    _target("{api} HTTP/1.1 extra", 400),
    _target("{api}\tHTTP/1.1", 400),
    # nginx's own places, and the service's
    _target("/_wxlogin/auth", 404),
    _target("/_wxlogin/auth?appid=", 404),
    _target("/_wxlogin/error", 404),
    _target("/x/../_wxlogin/error", 404),
    _target("{api}%2e%2e/%2e%2e/_wxlogin/error", 400, 404),
    _target("@backend", 400),
    _target("/@backend", 404, 200, 401),
    _target("/nothing", 404, 200, 401),
    _target("/@wxlogin_error", 404, 200, 401),
    _target("{login}auth", 404),
    _target("{login}auth/", 404),
    _target("{login}admin/users/x/sessions", 404),
    _target("{login}metrics", 404),
    # The site decides whose users may pass; the query is the client's
    _target("{api}?appid=wx0123456789abcdef", 401),
    _target("{api}?X-WX-OPENID=" + FORGED + "&openid=" + FORGED, 401),
    _target("{api}?%0d%0aX-WX-OPENID:%20" + FORGED, 401),
)

_METHODS = (
    _method("HEAD", 401),
    _method("OPTIONS", 401),
    _method("POST", 401),
    _method("PUT", 401),
    _method("DELETE", 401),
    _method("PROPFIND", 401),
    _method("PURGE", 401),
    _method("TRACE", 405),
    _method("CONNECT", 400, 405),
    _method("get", 400),
    _method("GET\0", 400),
    _method("X" * 40, 401),
)

_HOSTS = (
    _attack("host of somebody else", _request("GET {api} HTTP/1.1", host="Host: evil.example"), 0),
    _attack("host with more behind it", _request("GET {api} HTTP/1.1", host="Host: localhost@evil.example"), 0),
    _attack("host that is two", _request("GET {api} HTTP/1.1", host="Host: localhost,evil.example"), 0),
    _attack("host that is the upstream", _request("GET {api} HTTP/1.1", host="Host: backend"), 0),
    _attack("host that is the address", _request("GET {api} HTTP/1.1", host="Host: 127.0.0.1"), 0),
    _attack("host with a path", _request("GET {api} HTTP/1.1", host="Host: localhost/../x"), 400),
    _attack("host with a blank", _request("GET {api} HTTP/1.1", host="Host: localhost evil"), 0, 400),
    _attack("host with a NUL", _request("GET {api} HTTP/1.1", host="Host: localhost\0"), 400),
    _attack("host with no end", _request("GET {api} HTTP/1.1", host="Host: " + "a" * 300), 0, 400),
    _attack("host that is empty", _request("GET {api} HTTP/1.1", host="Host:"), 0, 400, 401),
    _attack("no host", _request("GET {api} HTTP/1.1", host=""), 400),
    _attack("two hosts", _request("GET {api} HTTP/1.1", "Host: evil.example"), 400),
    _attack("host in capitals, with dot and port", _request("GET {api} HTTP/1.1", host="Host: LOCALHOST.:1"), 401),
)

_SMUGGLINGS = (
    _smuggling(
        "both lengths",
        "Content-Length: 5",
        "Transfer-Encoding: chunked",
        body="0\r\n\r\n" + _SMUGGLED,
        statuses=(400,),
    ),
    _smuggling(
        "both, the other way",
        "Transfer-Encoding: chunked",
        "Content-Length: 5",
        body="0\r\n\r\n" + _SMUGGLED,
        statuses=(400,),
    ),
    _smuggling("xchunked", "Transfer-Encoding: xchunked", body="0\r\n\r\n" + _SMUGGLED, statuses=(400, 501)),
    _smuggling(
        "identity", "Transfer-Encoding: chunked, identity", body="0\r\n\r\n" + _SMUGGLED, statuses=(400, 501)
    ),
    _smuggling(
        "chunked twice",
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: chunked",
        body="0\r\n\r\n" + _SMUGGLED,
        statuses=(400, 501),
    ),
    _smuggling(
        "a vertical tab", "Transfer-Encoding: \x0bchunked", body="0\r\n\r\n" + _SMUGGLED, statuses=(400, 501)
    ),
    _smuggling("a blank", "Transfer-Encoding : chunked", body="0\r\n\r\n" + _SMUGGLED, statuses=(400,)),
    _smuggling("two lengths", "Content-Length: 0", "Content-Length: 90", body=_SMUGGLED, statuses=(400,)),
    _smuggling("a list of lengths", "Content-Length: 3, 3", body="abc" + _SMUGGLED, statuses=(400,)),
    _smuggling("a plus", "Content-Length: +3", body="abc" + _SMUGGLED, statuses=(400,)),
    _smuggling("a minus", "Content-Length: -1", body=_SMUGGLED, statuses=(400,)),
    _smuggling("a hexadecimal length", "Content-Length: 0x3", body="abc" + _SMUGGLED, statuses=(400,)),
    _smuggling(
        "a hexadecimal chunk", "Transfer-Encoding: chunked", body="0x3\r\nabc\r\n0\r\n\r\n", statuses=(400, 401)
    ),
    _smuggling(
        "trailers",
        "Transfer-Encoding: chunked",
        body=f"3\r\nabc\r\n0\r\nX-WX-OPENID: {FORGED}\r\n\r\n",
        statuses=(401,),
    ),
    _smuggling("a body with a request in it", "Content-Length: 90", body=_SMUGGLED.ljust(90), statuses=(401,)),
    _attack(
        "smuggling in a GET with a body",
        _request("GET {api} HTTP/1.1", f"Content-Length: {len(_SMUGGLED)}", body=_SMUGGLED),
        401,
    ),
    _attack(
        "a pipeline",
        b"GET {api} HTTP/1.1\r\nHost: localhost\r\n{carrier}\r\n\r\n" + _request("GET {api}../x HTTP/1.1"),
        400,
        401,
    ),
    _attack("HTTP/1.0", _request("GET {api} HTTP/1.0", f"X-WX-OPENID: {FORGED}"), 401),
    _attack("HTTP/1.0 and chunks", _request("POST {api} HTTP/1.0", "Transfer-Encoding: chunked", body="0"), 400),
    _attack("HTTP/1.0, without host", _request("GET {api} HTTP/1.0", host=""), 0),
    _attack("HTTP/2.0 on HTTP/1.1", _request("GET {api} HTTP/2.0"), 400, 505),
    _attack("a preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    _attack("lines that end in LF", _request("GET {api} HTTP/1.1", "X-WX-OPENID: o").replace(b"\r", b""), 401),
)

ATTACKS = (*_FORGED_HEADERS, *_TARGETS, *_METHODS, *_HOSTS, *_SMUGGLINGS)
