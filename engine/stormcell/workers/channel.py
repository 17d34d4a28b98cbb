"""The engine's end of the connection to a child: frames in and out without a thread and without
copying twice.

Frame: four bytes of length (big-endian), then JSON. The child's end is `stormcell_host/wire.py`.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Callable
from typing import Any

import msgspec

Message = dict[str, Any]

_LENGTH = struct.Struct(">I")
_CHUNK_BYTES = 1 << 18
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class Channel:
    """Reads and writes frames on a non-blocking socket. Belongs to the loop it was made in."""

    def __init__(
        self,
        sock: socket.socket,
        *,
        on_messages: Callable[[list[Message]], None],
        on_closed: Callable[[], None],
    ) -> None:
        """`on_messages` gets all frames that one read brought; `on_closed` is called once, after
        the last of them.
        """
        sock.setblocking(False)
        self._socket = sock
        self._on_messages = on_messages
        self._on_closed = on_closed
        self._loop = asyncio.get_running_loop()
        self._incoming = bytearray()
        self._outgoing = bytearray()
        self._open = True
        self._loop.add_reader(sock.fileno(), self._readable)

    @property
    def is_open(self) -> bool:
        return self._open

    def send(self, message: Message) -> None:
        """Send, now if the socket takes it, else as soon as it does. Does nothing once closed."""
        if not self._open:
            return
        data = _encode(message)
        frame = _LENGTH.pack(len(data)) + data
        if self._outgoing:
            self._outgoing += frame
            return
        try:
            sent = self._socket.send(frame)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.close()
            return
        if sent < len(frame):
            self._outgoing += memoryview(frame)[sent:]
            self._loop.add_writer(self._socket.fileno(), self._writable)

    def close(self) -> None:
        """Close; safe to repeat."""
        if not self._open:
            return
        self._open = False
        self._loop.remove_reader(self._socket.fileno())
        self._loop.remove_writer(self._socket.fileno())
        self._socket.close()
        self._on_closed()

    def _readable(self) -> None:
        try:
            chunk = self._socket.recv(_CHUNK_BYTES)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        if not chunk:
            self.close()
            return
        self._incoming += chunk
        messages = self._take()
        if messages:
            self._on_messages(messages)

    def _take(self) -> list[Message]:
        buffer, start, messages = self._incoming, 0, []
        end_of_buffer = len(buffer)
        view = memoryview(buffer)
        while end_of_buffer - start >= _LENGTH.size:
            end = start + _LENGTH.size + _LENGTH.unpack_from(buffer, start)[0]
            if end > end_of_buffer:
                break
            messages.append(_decoded(view[start + _LENGTH.size : end]))
            start = end
        view.release()
        if start:
            del buffer[:start]
        return messages

    def _writable(self) -> None:
        try:
            sent = self._socket.send(self._outgoing)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        del self._outgoing[:sent]
        if not self._outgoing:
            self._loop.remove_writer(self._socket.fileno())


def _decoded(frame: memoryview) -> Message:
    try:
        return _decode(frame)  # type: ignore[no-any-return]
    except (msgspec.DecodeError, UnicodeDecodeError):
        # json.dumps in the child writes what msgspec refuses: NaN, and lone surrogates.
        return json.loads(bytes(frame))  # type: ignore[no-any-return]
