"""How the API speaks HTTP: uvicorn's protocol on httptools, one write to the socket for what is
sent together, and a deadline for what is received.

uvicorn writes an answer's head and body one after the other, each a call into the system that wakes
the client. Here what is written within one turn of the event loop leaves together. Its
own timeouts begin after the first answer: those of `Protocol` count from the connection.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_FAULT = b'{"faultstring": "The request did not arrive in time."}'
_TOO_SLOW = (
    b"HTTP/1.1 408 Request Timeout\r\ncontent-type: application/json\r\nconnection: close\r\n"
    b"content-length: %d\r\n\r\n%s" % (len(_FAULT), _FAULT)
)


class JoinedWrites:
    """A transport whose writes wait for the end of the turn."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> None:
        if not self._parts:
            self._loop.call_soon(self._flush)
        self._parts.append(data)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        parts, self._parts = self._parts, []
        if parts:
            self._transport.write(parts[0] if len(parts) == 1 else b"".join(parts))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class Protocol(HttpToolsProtocol):
    """One connection. A request that does not arrive in time is answered 408 and ended."""

    head_seconds = 10.0
    """From the connection, or the first byte of a further request, to the end of the headers."""
    body_seconds = 30.0
    """From the end of the headers to the end of the body."""
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(JoinedWrites(transport, self.loop))  # type: ignore[arg-type]
        self._within(self.head_seconds)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._within(self.head_seconds)

    def on_headers_complete(self) -> None:
        self._within(self.body_seconds)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._within(None)
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._within(None)
        super().connection_lost(exc)

    def _within(self, seconds: float | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if seconds is None else self.loop.call_later(seconds, self._too_slow)

    def _too_slow(self) -> None:
        if self.transport.is_closing():
            return
        if self.cycle is None or not self.cycle.response_started:
            self.transport.write(_TOO_SLOW)
        self.transport.close()
