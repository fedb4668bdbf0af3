"""The real nginx with the configuration that ships, and clients for it that send every byte as they are told."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import io
import itertools
import json
import os
import socket
import ssl
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from werkzeug.datastructures import Headers

from tests.drivers import Answer, Send
from tests.servers import PROJECT, TIMEOUT_SECONDS, free_port, program, wait_until

SHIPPED = PROJECT / "deploy/nginx"
SITE = SHIPPED / "templates/site.conf.template"
SUB_PATH = SHIPPED / "examples/sub-path.conf.template"
NEIGHBOUR = PROJECT / "tests/nginx/neighbour.conf.template"
NAME = "localhost"

_TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


@dataclasses.dataclass(frozen=True, slots=True)
class Front:
    """A running nginx, and where it writes."""

    port: int
    folder: Path
    process: subprocess.Popen[bytes]

    @property
    def access_log(self) -> list[dict[str, str]]:
        """What the access log has so far."""
        return [json.loads(line) for line in self._read("access.log").split("\n") if line]

    @property
    def logs(self) -> str:
        """All that nginx wrote, wherever."""
        return "".join(self._read(name) for name in ("access.log", "error.log", "stray.log", "output"))

    @property
    def stray_log(self) -> str:
        """What went to the access log of an nginx.conf that we know nothing of: nothing should."""
        return self._read("stray.log")

    def _read(self, name: str) -> str:
        return (self.folder / name).read_text(encoding="utf-8", errors="backslashreplace")


@contextlib.contextmanager
def nginx(
    folder: Path, *, certificates: Path, wxlogin: str, backend: str, sites: tuple[Path, ...] = (SITE,)
) -> Iterator[Front]:
    """Run nginx until the context ends; ``wxlogin`` and ``backend`` are the addresses of what is behind it."""
    port = free_port()
    configure(folder, certificates=certificates, wxlogin=wxlogin, backend=backend, port=port, sites=sites)
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(_command(folder), stdout=output, stderr=output)
    front = Front(port, folder, process)
    try:
        wait_until(lambda: _listens(port) or process.poll() is not None, what="nginx listens")
        assert process.poll() is None, front._read("output")
        yield front
    finally:
        process.terminate()
        process.wait(TIMEOUT_SECONDS)


def configure(
    folder: Path, *, certificates: Path, wxlogin: str, backend: str, port: int, sites: tuple[Path, ...]
) -> None:
    """Lay the configuration out as in /etc/nginx; the templates are filled in as nginx's image does it."""
    values = {
        "NGINX_WXLOGIN": wxlogin,
        "NGINX_BACKEND": backend,
        "NGINX_LISTEN": f"127.0.0.1:{port}",
        "NGINX_SERVER_NAME": NAME,
        "NGINX_CERTIFICATE": str(certificates / "server.crt"),
        "NGINX_CERTIFICATE_KEY": str(certificates / "server.key"),
        "NGINX_ACCESS_LOG": str(folder / "access.log"),
        "NGINX_CACHE": str(folder / "cache"),
        "NGINX_FILES": str(PROJECT / "tests"),
    }
    (folder / "conf.d").mkdir()
    (folder / "snippets").symlink_to(SHIPPED / "snippets")
    for template in (SHIPPED / "templates/00-wxlogin.conf.template", *sites):
        (folder / "conf.d" / template.stem).write_text(filled_in(template.read_text(), values))
    (folder / "nginx.conf").write_text(_main(folder))


def filled_in(template: str, values: Mapping[str, str]) -> str:
    """Do what envsubst does."""
    for name, value in values.items():
        template = template.replace(f"${{{name}}}", value)
    return template


def checked(folder: Path) -> str:
    """Return what ``nginx -t`` says."""
    return subprocess.run([*_command(folder), "-t"], capture_output=True, text=True).stderr


def _command(folder: Path) -> list[str]:
    nginx = program("nginx", package="nginx")
    return [nginx, "-c", str(folder / "nginx.conf"), "-p", str(folder), "-e", str(folder / "error.log")]


def _main(folder: Path) -> str:
    """Return what /etc/nginx/nginx.conf is like as it comes: another access log, a talkative error log."""
    paths = "".join(f"    {name}_temp_path {folder}/{name};\n" for name in _TEMPORARY)
    return (
        f"{'user root;' if os.geteuid() == 0 else ''}\n"
        f"daemon off;\nworker_processes 1;\npid {folder}/nginx.pid;\nerror_log {folder}/error.log notice;\n"
        f"events {{ worker_connections 1024; }}\n"
        f"http {{\n    access_log {folder}/stray.log;\n{paths}    include conf.d/*.conf;\n}}\n"
    )


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


_addresses = (f"127.{a}.{b}.{c}" for a, b, c in itertools.product(range(1, 255), range(255), range(1, 255)))


def new_address() -> str:
    """Return an address of this machine that no client had: nginx limits each of them."""
    return next(_addresses)


@dataclasses.dataclass
class Client:
    """Somebody who speaks TLS to a front, from an address of their own."""

    front: Front
    address: str = dataclasses.field(default_factory=new_address)

    def connect(self, *, name: str | None = NAME, timeout_seconds: float = TIMEOUT_SECONDS) -> ssl.SSLSocket:
        """Open a connection and say which server it is for."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        plain = socket.create_connection(
            ("127.0.0.1", self.front.port), timeout=timeout_seconds, source_address=(self.address, 0)
        )
        return context.wrap_socket(plain, server_hostname=name)

    def say(self, message: bytes, *, name: str = NAME, then_hear: bool = True) -> bytes:
        """Send bytes, and return all that comes until the connection is closed."""
        with self.connect(name=name) as connection:
            with contextlib.suppress(ConnectionError, ssl.SSLEOFError):  # closed while we speak: what came counts
                connection.sendall(message)
            return hear(connection) if then_hear else b""

    def ask(self, message: bytes, *, name: str = NAME) -> list[Answer]:
        """Send bytes, and return the answers."""
        return answers_in(self.say(message, name=name), method=message.partition(b" ")[0].decode("latin-1"))

    def ask_in_clear(self, message: bytes) -> list[Answer]:
        """Send bytes without TLS, and return the answers."""
        with socket.create_connection(("127.0.0.1", self.front.port), timeout=TIMEOUT_SECONDS) as connection:
            connection.sendall(message)
            return answers_in(hear(connection))

    def get(self, target: str, *headers: str, name: str = NAME) -> Answer:
        """Send a GET for the target as it is written, on a connection of its own."""
        return self.ask(get(target, *headers, host=name), name=name)[0]


def get(target: str, *headers: str, host: str = NAME) -> bytes:
    """Return a request, the last one of its connection."""
    lines = [f"GET {target} HTTP/1.1", f"Host: {host}", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode("utf-8", "surrogateescape")


def hear(connection: socket.socket) -> bytes:
    """Return all that comes until the connection is closed."""
    heard = bytearray()
    with contextlib.suppress(ConnectionError, ssl.SSLEOFError):
        while more := connection.recv(65536):
            heard += more
    return bytes(heard)


class _Kept(io.BytesIO):
    """What several answers are read from, each of which thinks that it is the last."""

    def close(self) -> None:
        pass

    def makefile(self, _mode: str) -> _Kept:
        return self


def answers_in(heard: bytes, *, method: str = "GET") -> list[Answer]:
    """Return the answers to requests with this method: a HEAD is answered without a body."""
    stream, answers = _Kept(heard), []
    while stream.tell() < len(heard):
        response = http.client.HTTPResponse(stream, method=method)  # type: ignore[arg-type]  # as much of a socket as it takes
        response.begin()
        text = response.read().decode()
        answers.append(Answer(response.status, Headers(response.getheaders()), text))
    return answers


def over_tls(client: Client) -> Send:
    """Send requests as `tests.drivers.over_http` does, from the client's address."""

    def send(
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        json: Any = None,
        data: Mapping[str, str] | None = None,
    ) -> Answer:
        body, kind = _body(json, data)
        lines = [f"{method} {path} HTTP/1.1", f"Host: {NAME}", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in {**kind, **(headers or {})}.items()]
        return client.ask("\r\n".join([*lines, "", ""]).encode() + body)[0]

    return send


def _body(as_json: Any, data: Mapping[str, str] | None) -> tuple[bytes, dict[str, str]]:
    if as_json is None and data is None:
        return b"", {}
    body = urlencode(data).encode() if data is not None else json.dumps(as_json).encode()
    kind = "application/x-www-form-urlencoded" if data is not None else "application/json"
    return body, {"Content-Type": kind, "Content-Length": str(len(body))}
