"""HTTP/1.1 for few good and many bad clients: a thread for each connection, and deadlines for all.

A client that sends slowly, or nothing, holds a thread that waits and nothing else; when there are
too many, the one that has kept silent the longest gives way. TLS is done in the connection's
thread, so that a handshake that stalls stalls alone. Why not a WSGI server: docs/decisions/0081.
"""

from __future__ import annotations

import contextlib
import email.utils
import functools
import http
import logging
import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING, Callable, Dict, Optional, Tuple

from kubestorm.core.errors import DefinitionError
from kubestorm.sources.listener.messages import Answer, Request
from kubestorm.sources.listener.settings import ListenerSettings
from kubestorm.sources.listener.tls import TlsContext

if TYPE_CHECKING:
    from kubestorm.sources.listener.assembly import Assembly

RECEIVE_BYTES = 65536
BACKLOG = 256
MAX_HELD_BYTES = 64 * 1024 * 1024
"""Of bodies, in all connections together: what is sent beyond is refused (503)."""
LINGER_SECONDS = 2.0
"""After a refusal in the middle of a body, what still comes is read away so that the client sees
the answer.
"""
LINGER_BYTES = 4 * 1024 * 1024
ACCEPT_PAUSE_SECONDS = 0.2
STOP_SECONDS = 3.0
BAD_REQUEST, TIMEOUT, UNAVAILABLE = 400, 408, 503

Handler = Callable[[Request], Answer]
Refused = Callable[[int], None]
"""Told the status of what was refused before it was a request."""


class HttpServer:
    """Bound when it is made; serves from `start` to `stop`."""

    def __init__(
        self, settings: ListenerSettings, handle: Handler, refused: Refused, log: logging.Logger
    ) -> None:
        """`handle` must not raise. Raises DefinitionError for an address or a certificate that
        cannot be used.
        """
        # Here, so that what never listens (the pollers import this package) loads no parser.
        from kubestorm.sources.listener.assembly import Assembly, Budget

        self._settings, self._handle, self._refused, self._log = settings, handle, refused, log
        self._assembly = Assembly
        self._tls = TlsContext.of(settings)
        self._socket = _listen(settings)
        self._connections: Dict[int, _Connection] = {}
        self._budget = Budget(max(MAX_HELD_BYTES, 2 * settings.max_body_bytes))
        self._lock = threading.Lock()
        self._stopping, self._stopped = threading.Event(), threading.Event()

    @property
    def address(self) -> Tuple[str, int]:
        """Host and port that it is bound to."""
        name = self._socket.getsockname()
        return str(name[0]), int(name[1])

    def start(self) -> None:
        threading.Thread(target=self._accept, name="listener", daemon=True).start()

    def stop(self) -> None:
        """Take no more; what is being answered gets a moment. Safe to repeat."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # close alone does not wake accept
        self._socket.close()
        deadline = time.monotonic() + STOP_SECONDS
        while any(each.is_busy for each in self._all()) and time.monotonic() < deadline:
            self._stopped.wait(0.02)
        for connection in self._all():
            connection.close()
        self._stopped.set()

    def _all(self) -> Tuple[_Connection, ...]:
        with self._lock:
            return tuple(self._connections.values())

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                peer, address = self._socket.accept()
            except OSError as error:
                if not self._stopping.is_set():
                    self._log.warning("listener.accept_failed: %s", error.strerror)
                    self._make_room()
                    self._stopping.wait(ACCEPT_PAUSE_SECONDS)
                continue
            try:
                self._admit(peer, str(address[0]))
            except Exception as error:  # noqa: BLE001 (no thread to be had, for instance: this peer goes, others stay)
                self._log.warning("listener.connection_refused: %s", type(error).__name__)
                peer.close()

    def _admit(self, peer: socket.socket, remote: str) -> None:
        if len(self._connections) >= self._settings.max_connections:
            self._make_room()
        assembly = functools.partial(self._assembly, self._settings, remote, budget=self._budget)
        connection = _Connection(
            peer, assembly, self._settings, self._tls, self._handle, self._refused
        )
        with self._lock:
            self._connections[id(connection)] = connection
        threading.Thread(
            target=self._serve, args=(connection,), name="listener-connection", daemon=True
        ).start()

    def _make_room(self) -> None:
        with self._lock:
            idle = [each for each in self._connections.values() if not each.is_busy]
            if not idle:
                return
            silent = min(idle, key=lambda each: each.heard)
            del self._connections[
                id(silent)
            ]  # at once: its thread ends some time later, and must not be chosen again
        silent.close()
        self._refused(UNAVAILABLE)

    def _serve(self, connection: _Connection) -> None:
        try:
            connection.serve()
        except Exception as error:  # noqa: BLE001 (whatever a peer manages to cause ends its own connection only)
            self._log.warning("listener.connection_failed: %s", type(error).__name__)
        finally:
            connection.close()
            with self._lock:
                self._connections.pop(id(connection), None)


class _Connection:
    """One peer. `heard` is when it last sent anything, `is_busy` whether a request of it is being
    answered.
    """

    def __init__(
        self,
        peer: socket.socket,
        assembly: Callable[[Callable[[], None]], Assembly],
        settings: ListenerSettings,
        tls: Optional[TlsContext],
        handle: Handler,
        refused: Refused,
    ) -> None:
        self._peer, self._settings, self._tls = peer, settings, tls
        self._handle, self._refused = handle, refused
        self._assembly = assembly(self._send_continue)
        self.heard = time.monotonic()
        self.is_busy = False

    def close(self) -> None:
        """Safe from any thread, and to repeat."""
        with contextlib.suppress(OSError):
            self._peer.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError):
            self._peer.close()

    def serve(self) -> None:
        """Answer requests until the peer is done or has to be. What goes wrong with the peer is not
        raised.
        """
        with contextlib.closing(self._assembly), contextlib.suppress(
            OSError
        ):  # also what TLS raises, and timeouts
            self._peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                self._peer.settimeout(self._settings.request_seconds)
                self._peer = self._tls.current().wrap_socket(self._peer, server_side=True)
            while self._receive() and self._answer():
                pass

    def _receive(self) -> bool:
        """Read until a request is complete. False where none will be."""
        assembly = self._assembly
        deadline = self._deadline()
        while not assembly.complete:
            data = self._read(deadline)
            if data is None:
                if assembly.is_begun:
                    self._refuse(TIMEOUT)
                return False
            if not data:
                if assembly.is_begun:
                    self._refused(BAD_REQUEST)
                return False
            self.heard = time.monotonic()
            was_begun = assembly.is_begun
            status = assembly.feed(data)
            if status:
                if self._answer():
                    self._refuse(status)
                return False
            if not was_begun:
                deadline = self._deadline()
        return True

    def _deadline(self) -> float:
        settings = self._settings
        return time.monotonic() + (
            settings.request_seconds if self._assembly.is_begun else settings.idle_seconds
        )

    def _read(self, deadline: float) -> Optional[bytes]:
        """Some bytes, none at the peer's end, None when time is up."""
        left = deadline - time.monotonic()
        if left <= 0:
            return None
        self._peer.settimeout(left)
        try:
            return self._peer.recv(RECEIVE_BYTES)
        except socket.timeout:
            return None

    def _answer(self) -> bool:
        """Answer what is complete. False ends the connection."""
        while self._assembly.complete:
            request, keep = self._assembly.take()
            self.is_busy = True
            try:
                answer = self._handle(request)
                self._send(answer, keep=keep, with_body=request.method != "HEAD")
            finally:
                self.is_busy = False
                self._assembly.let_go(len(request.body))
            if not keep:
                self._linger()
                return False
        return True

    def _refuse(self, status: int) -> None:
        self._refused(status)
        self._send(Answer.text(status, f"{http.HTTPStatus(status).phrase}."), keep=False)
        self._linger()

    def _send_continue(self) -> None:
        with contextlib.suppress(OSError):
            self._peer.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _send(self, answer: Answer, *, keep: bool, with_body: bool = True) -> None:
        self._peer.settimeout(self._settings.request_seconds)
        self._peer.sendall(
            encode_head(answer, keep=keep, second=int(time.time()))
            + (answer.body if with_body else b"")
        )

    def _linger(self) -> None:
        """Close the way out and read the rest away for a moment: else a reset may overtake the
        answer.
        """
        if not isinstance(self._peer, ssl.SSLSocket):
            self._peer.shutdown(socket.SHUT_WR)
        deadline, seen = time.monotonic() + LINGER_SECONDS, 0
        while seen < LINGER_BYTES:
            data = self._read(deadline)
            if not data:
                return
            seen += len(data)


def encode_head(answer: Answer, *, keep: bool, second: int) -> bytes:
    """Status line and headers, up to the body. `second` is the time of the Date header, from the
    epoch.
    """
    lines = [
        f"HTTP/1.1 {answer.status} {http.HTTPStatus(answer.status).phrase}",
        f"Date: {email.utils.formatdate(second, usegmt=True)}",
        f"Content-Type: {answer.content_type}",
        f"Content-Length: {len(answer.body)}",
        *(f"{name}: {value}" for name, value in answer.headers.items()),
    ]
    if not keep:
        lines.append("Connection: close")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _listen(settings: ListenerSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise DefinitionError(
            f"The listener cannot use {settings.host}:{settings.port}: {error.strerror}. Another "
            "program may have it; "
            "change host or port of the listener.",
            field="listener.port",
        ) from error
    return listener
