"""How every server of the sandbox is put on a loopback port, with or without TLS, in a thread or as
a program.

The servers themselves are plain ASGI applications; they know nothing of ports, threads or
certificates.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import ipaddress
import logging
import signal
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, NamedTuple, Self

import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LOOPBACK = "127.0.0.1"
START_TIMEOUT_SECONDS = 20.0
GRACEFUL_STOP_SECONDS = 1

AsgiApp = Callable[..., Any]


class Certificate(NamedTuple):
    """A certificate authority and a server certificate that it signed, as PEM text."""

    ca: str
    certificate: str
    key: str


def make_certificate(common_name: str = "sandbox", *names: str) -> Certificate:
    """Make a throw-away authority and a certificate for localhost, 127.0.0.1 and `names`, valid for
    ten years.
    """

    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    begin = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    end = begin + dt.timedelta(days=3650)
    ca_key = ec.generate_private_key(ec.SECP256R1())
    key = ec.generate_private_key(ec.SECP256R1())
    ca_key_id = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())

    def builder(subject: str, public_key: Any) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(name(subject))
            .issuer_name(name(f"{common_name}-ca"))
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(end)
        )

    usage = dict.fromkeys(
        (
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    ca = (
        builder(f"{common_name}-ca", ca_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(digital_signature=True, key_cert_sign=True, crl_sign=True, **usage),
            critical=True,
        )
        .add_extension(ca_key_id, critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    leaf = (
        builder(common_name, key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.SubjectAlternativeName(
                [
                    *map(x509.DNSName, ("localhost", *names)),
                    x509.IPAddress(ipaddress.ip_address(LOOPBACK)),
                ]
            ),
            critical=False,
        )
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ca_key_id),
            critical=False,
        )
        .sign(ca_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    return Certificate(
        ca=ca.public_bytes(pem).decode(),
        certificate=leaf.public_bytes(pem).decode(),
        key=key.private_bytes(
            pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode(),
    )


class _ClosingServer(uvicorn.Server):
    """uvicorn, but a connection whose client does not answer the TLS farewell is not left behind
    for the collector.
    """

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        for connection in list(self.server_state.connections):
            transport = getattr(connection, "transport", None)
            if transport is not None:
                transport.abort()
        # One turn of the loop for the transports, one for the sockets below them.
        await asyncio.sleep(0)
        await asyncio.sleep(0)


class Server:
    """One ASGI application on a loopback port, served by uvicorn (h11) in a thread until `stop`.

    `port=0` lets the kernel choose; `url` and `port` tell which. Use as a context manager in tests.
    """

    def __init__(
        self,
        app: AsgiApp,
        *,
        host: str = LOOPBACK,
        port: int = 0,
        certificate: Certificate | None = None,
        websockets: bool = False,
    ) -> None:
        self.host = host
        self.certificate = certificate
        self._wanted_port = port
        self._port: int | None = None
        self._socket: socket.socket | None = None
        config = uvicorn.Config(
            app,
            http="h11",
            ws="wsproto" if websockets else "none",
            lifespan="auto",
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=GRACEFUL_STOP_SECONDS,
            timeout_keep_alive=75,
        )
        logging.getLogger("uvicorn.error").addFilter(_is_worth_a_line)
        if certificate:
            config.load()
            config.ssl = _server_context(certificate)
        self._uvicorn = _ClosingServer(config)
        self._thread = threading.Thread(
            target=self._run, name=f"serve-{type(app).__name__}", daemon=True
        )

    def bind(self) -> Self:
        """Take the port, so that `url` is known before `start` serves. Safe to repeat; `stop` gives
        it back.
        """
        if self._socket is None:
            self._socket = socket.create_server((self.host, self._wanted_port), backlog=512)
            # Connections inherit it. Without it an answer written in two parts waits 40 ms for the
            # other side's ACK.
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.host, self._port = self._socket.getsockname()[:2]
        return self

    @property
    def port(self) -> int:
        """The port, also after `stop`. Raises RuntimeError before there is one."""
        if self._port is None:
            raise RuntimeError(
                "the server has no port yet: start it, or call bind() to have one before"
            )
        return self._port

    @property
    def url(self) -> str:
        """`http://127.0.0.1:PORT`, or https with a certificate; no trailing slash."""
        return f"{'https' if self.certificate else 'http'}://{self.host}:{self.port}"

    def start(self) -> Self:
        """Serve from a thread of its own; returns once connections are accepted."""
        self.bind()
        self._thread.start()
        deadline = threading.Event()
        waited = 0.0
        while not self._uvicorn.started:
            if not self._thread.is_alive() or waited > START_TIMEOUT_SECONDS:
                raise RuntimeError(
                    f"the server on port {self.port} did not start; its log says why"
                )
            deadline.wait(0.005)
            waited += 0.005
        return self

    def stop(self) -> None:
        """Close the listener, give open requests a second, end. Safe to repeat."""
        self._uvicorn.should_exit = True
        if self._thread.is_alive():
            self._thread.join(GRACEFUL_STOP_SECONDS + 10)
        if self._socket is not None:
            self._socket.close()

    def run_until_signalled(self) -> None:
        """Serve in this thread until SIGTERM or SIGINT (uvicorn handles both)."""
        self.bind()
        self._run()

    def _run(self) -> None:
        self._uvicorn.run(sockets=[self._socket] if self._socket else None)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def _is_worth_a_line(record: logging.LogRecord) -> bool:
    """Drop uvicorn's complaint that watches and idle connections were cut at the end: that is how a
    stop looks here.
    """
    return "timeout graceful shutdown exceeded" not in record.getMessage()


def _server_context(certificate: Certificate) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # The ssl module loads a key from a file only; this one lives for the length of the call.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "server.pem")
        path.touch(mode=0o600)
        path.write_text(certificate.certificate + certificate.key)
        context.load_cert_chain(path)
    return context


def argument_parser(description: str, port: int) -> argparse.ArgumentParser:
    """The arguments every server of the sandbox takes when it is run alone."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--host", default=LOOPBACK, help="address to listen on (default: %(default)s)"
    )
    parser.add_argument(
        "--port",
        type=int,
        default=port,
        help="port to listen on, 0 for a free one (default: %(default)s)",
    )
    return parser


def run_program(server: Server, banner: str) -> int:
    """Print the banner, serve until SIGTERM or Ctrl-C, return the exit code 0."""
    print(banner, flush=True)

    def ignore(_signal: int, _frame: FrameType | None) -> None:
        """uvicorn re-raises the signal it ended on once it has stopped; the program ends with 0 all
        the same.
        """

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ignore)
    server.run_until_signalled()
    return 0
