"""A server that writes down what arrives, plain or with TLS, and answers what a test says."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from kubestorm.clients.kube import KubeClient, KubeSettings, connect

from sandbox.serving import Certificate, make_certificate

TOKEN = "the-packs-own-token"
HOST = "cart.example.com"
DRIP_SECONDS = 0.02


@dataclass
class Reply:
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"ok"
    drips: bool = False
    """Byte by byte, for ever."""


class Recorder(ThreadingHTTPServer):
    """On a loopback port of its own."""

    daemon_threads = True

    def __init__(self, certificate: Certificate | None, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.seen: list[tuple[str, dict[str, str]]] = []
        """Path and headers of every request."""
        self.reply = Reply()
        self.stopped = threading.Event()
        if certificate is not None:
            files = (folder / "certificate.pem", folder / "key.pem")
            files[0].write_text(certificate.certificate)
            files[1].write_text(certificate.key)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*files)
            self.socket = context.wrap_socket(self.socket, server_side=True)

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that refuse the certificate, or have read enough, are what is tested."""


class _Handler(BaseHTTPRequestHandler):
    server: Recorder

    def do_GET(self) -> None:
        self.server.seen.append(
            (self.path, {key.lower(): value for key, value in self.headers.items()})
        )
        reply = self.server.reply
        self.send_response(reply.status)
        for key, value in reply.headers.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(reply.body)
        while reply.drips and not self.server.stopped.wait(DRIP_SECONDS):
            self.wfile.write(b".")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="session")
def certificate() -> Certificate:
    return make_certificate("kubestorm test", HOST)


def _serve(certificate: Certificate | None, folder: Path) -> Iterator[Recorder]:
    with Recorder(certificate, folder) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.stopped.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[Recorder]:
    yield from _serve(None, tmp_path)


@pytest.fixture
def secure(certificate: Certificate, tmp_path: Path) -> Iterator[Recorder]:
    yield from _serve(certificate, tmp_path)


@pytest.fixture
def kube(plain: Recorder, tmp_path: Path) -> Iterator[KubeClient]:
    """The pack's client, with the plain server as its API server."""
    config = tmp_path / "kubeconfig"
    config.write_text(
        f"""
apiVersion: v1
kind: Config
current-context: it
contexts: [{{name: it, context: {{cluster: it, user: it}}}}]
clusters: [{{name: it, cluster: {{server: "http://127.0.0.1:{plain.port}"}}}}]
users: [{{name: it, user: {{token: {TOKEN}}}}}]
"""
    )
    client = connect(KubeSettings(kubeconfig=str(config)))
    yield client
    client.close()
