"""Bytes of one connection into requests, within bounds. The parser is llhttp (Node's), through
httptools.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Callable, Deque, Dict, List, Tuple

import httptools

from kubestorm.core import untrusted
from kubestorm.sources.listener.messages import Request
from kubestorm.sources.listener.settings import ListenerSettings

MAX_URL_BYTES = 8192
MAX_HEADERS = 100
MAX_AHEAD = 16
"""Requests that one connection may send ahead of their answers."""
_OF_UPGRADES = ("connection", "upgrade", "http2-settings")
BAD_REQUEST, TOO_LARGE, URL_TOO_LONG, HEADERS_TOO_LARGE, UNAVAILABLE = 400, 413, 414, 431, 503


class Budget:
    """Bytes of bodies that all connections together may hold. Safe for threads."""

    def __init__(self, most: int) -> None:
        self._most, self._held, self._lock = most, 0, threading.Lock()

    def take(self, count: int) -> bool:
        """False where that would be too many; nothing is taken then."""
        with self._lock:
            if self._held + count > self._most:
                return False
            self._held += count
            return True

    def give_back(self, count: int) -> None:
        with self._lock:
            self._held -= count


class Assembly:
    """Feed it what was received; take whole requests from `complete`, each with whether the
    connection goes on.
    """

    def __init__(
        self,
        settings: ListenerSettings,
        remote: str,
        send_continue: Callable[[], None],
        budget: Budget,
    ) -> None:
        self._settings, self._remote, self._send_continue = settings, remote, send_continue
        self._budget, self._held = budget, 0
        self.complete: Deque[Tuple[Request, bool]] = deque()
        self.is_begun = False
        """Whether a part of a request is here and the rest is not."""
        self._parser = httptools.HttpRequestParser(self)
        self._status = 0
        self._begin()

    def feed(self, data: bytes) -> int:
        """Return 0, or the status of the refusal after which nothing more can be read."""
        self.is_begun = True
        self._in_head += 0 if self._headers_are_complete else len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            return self._pass_over_upgrade(data[offer.args[0] :])
        except httptools.HttpParserError:
            return self._status or BAD_REQUEST
        if not self._headers_are_complete and self._in_head > self._settings.max_header_bytes:
            return HEADERS_TOO_LARGE
        return 0

    def take(self) -> Tuple[Request, bool]:
        """The next whole request, and whether the connection goes on after it."""
        return self.complete.popleft()

    def let_go(self, count: int) -> None:
        """So many bytes of bodies are not held any more."""
        self._held -= count
        self._budget.give_back(count)

    def close(self) -> None:
        """Nothing is held any more. Safe to repeat."""
        self.let_go(self._held)

    # -- what the parser calls

    def on_message_begin(self) -> None:
        self.is_begun = True

    def on_url(self, part: bytes) -> None:
        self._url += part
        if len(self._url) > MAX_URL_BYTES:
            self._stop(URL_TOO_LONG)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_bytes += len(name) + len(value)
        self._count += 1
        if self._header_bytes > self._settings.max_header_bytes or self._count > MAX_HEADERS:
            self._stop(HEADERS_TOO_LARGE)
        if self._headers_are_complete:
            return  # trailers of a chunked body: counted, and nobody's
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        self._headers[key] = f"{self._headers[key]}, {text}" if key in self._headers else text

    def on_headers_complete(self) -> None:
        self._headers_are_complete = True
        length = untrusted.digits(self._headers.get("content-length", "")[:20])
        if length is not None and length > self._settings.max_body_bytes:
            self._stop(TOO_LARGE)
        if self._headers.get("expect", "").lower() == "100-continue":
            self._send_continue()

    def on_body(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > self._settings.max_body_bytes:
            self._stop(TOO_LARGE)
        if not self._budget.take(len(part)):
            self._stop(UNAVAILABLE)
        self._held += len(part)
        self._body.append(part)

    def on_message_complete(self) -> None:
        if len(self.complete) >= MAX_AHEAD:
            self._stop(BAD_REQUEST)
        path, _, query = _target(bytes(self._url)).partition("?")
        method = self._parser.get_method().decode("latin-1")
        request = Request(method, path, query, self._headers, b"".join(self._body), self._remote)
        self.complete.append((request, self._parser.should_keep_alive()))
        self._begin()

    def _pass_over_upgrade(self, rest: bytes) -> int:
        """Read the request again without its offer of another protocol.

        A server may pass an offer over (RFC 9110, 7.8), and Java's client makes one with its first
        request; the parser stops there, before the body.
        """
        if not self.complete or self.complete[-1][0].method == "CONNECT":
            self.complete.clear()
            return BAD_REQUEST
        request, _ = self.complete.pop()
        target = f"{request.path}?{request.query}" if request.query else request.path
        lines = [f"{request.method} {target} HTTP/1.1", "Connection: close"]
        lines += [
            f"{name}: {value}"
            for name, value in request.headers.items()
            if name not in _OF_UPGRADES
        ]
        self._parser = httptools.HttpRequestParser(self)
        return self.feed("\r\n".join([*lines, "", ""]).encode("latin-1") + rest)

    def _begin(self) -> None:
        self._url = bytearray()
        self._headers: Dict[str, str] = {}
        self._body: List[bytes] = []
        self._size = self._header_bytes = self._count = self._in_head = 0
        self._headers_are_complete = False
        self.is_begun = False

    def _stop(self, status: int) -> None:
        self._status = status
        raise ValueError(status)  # httptools wraps it; `feed` returns the status


def _target(url: bytes) -> str:
    """The target of a request without scheme and host, which a proxy may have sent along."""
    if not url.startswith((b"http://", b"https://")):
        return url.decode("latin-1")
    _, _, rest = url.partition(b"://")
    slash = rest.find(b"/")
    return rest[slash:].decode("latin-1") if slash >= 0 else "/"
