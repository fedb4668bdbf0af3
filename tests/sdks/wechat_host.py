"""api.weixin.qq.com on loopback: an HTTP proxy whose tunnel to that host ends, under TLS, at the sandbox.

The SDKs have the host's name built in. Their HTTP clients take a proxy and an authority from the environment, as
behind a company's firewall, and check the certificate for that name. For an SDK of yours:
`python -m tests.sdks.wechat_host 127.0.0.1:8001`, with the address of a sandbox that runs.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.redis_topologies import new_authority, signed_by

HOST = "api.weixin.qq.com"
TLS_RECORD_BYTES = 16 * 1024  # none is longer: what is read at once leaves nothing behind that select() can't see


class Proxy(ThreadingHTTPServer):
    """Leads to the sandbox and nowhere else; closing it waits for the tunnels to end."""

    daemon_threads = False

    def __init__(self, certificate: Path, key: Path, sandbox: tuple[str, int]) -> None:
        self.sandbox = sandbox
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(certificate, key)
        super().__init__(("127.0.0.1", 0), Tunnel)


class Tunnel(BaseHTTPRequestHandler):
    """One connection of an SDK."""

    server: Proxy

    def do_CONNECT(self) -> None:
        if self.path != f"{HOST}:443":
            self.send_error(403)
            return
        self.send_response_only(200)
        self.end_headers()
        with contextlib.suppress(OSError):  # as when the other side does not trust the certificate
            self._pass_on()
        self.close_connection = True

    def _pass_on(self) -> None:
        with (
            self.server.tls.wrap_socket(self.connection, server_side=True) as sdk,
            socket.create_connection(self.server.sandbox) as sandbox,
        ):
            relay(sdk, sandbox)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the name is http.server's)
        pass


def relay(one: socket.socket, other: socket.socket) -> None:
    """Pass on what each says to the other, until one of them ends."""
    opposite = {one: other, other: one}
    while True:
        for side in select.select([one, other], [], [])[0]:
            said = side.recv(TLS_RECORD_BYTES)
            if not said:
                return
            opposite[side].sendall(said)


@contextlib.contextmanager
def wechat_host(folder: Path, sandbox: tuple[str, int]) -> Iterator[Mapping[str, str]]:
    """Stand in for WeChat's host until the context ends, and give the environment that leads there."""
    authority = new_authority()
    authority.write_to(folder, "ca")
    signed_by(authority, HOST, ExtendedKeyUsageOID.SERVER_AUTH, hosts=[x509.DNSName(HOST)]).write_to(
        folder, "server"
    )
    with Proxy(folder / "server.crt", folder / "server.key", sandbox) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield environment(proxy.server_port, folder / "ca.crt")
        finally:
            proxy.shutdown()
            thread.join()


def environment(proxy_port: int, authority: Path) -> Mapping[str, str]:
    """Return what the HTTP clients of all three languages understand."""
    trusted_by = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS")  # Go, requests, node
    return {"HTTPS_PROXY": f"http://127.0.0.1:{proxy_port}", **dict.fromkeys(trusted_by, str(authority))}


def main(address: str) -> None:
    """Stand in for WeChat's host until Ctrl-C, and print what leads there."""
    host, _, port = address.rpartition(":")
    with tempfile.TemporaryDirectory() as folder, wechat_host(Path(folder), (host, int(port))) as way:
        sys.stdout.write("".join(f"export {name}={value}\n" for name, value in way.items()))
        sys.stdout.flush()
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
