"""Frames over the socket that joins a child to the engine: four bytes of length, then JSON in
UTF-8.

The socket is never inherited by programs that pack code starts; parameters, configuration and
results travel here and nowhere else (not in argv, not in the environment).
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import struct
import threading
from typing import Any, Dict, Optional

_LENGTH = struct.Struct(">I")
_CHUNK_BYTES = 1 << 16
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36

Message = Dict[str, Any]


class Wire:
    """One end of the connection. `send` may be called from any thread, `receive` from one at a
    time.
    """

    def __init__(self, fd: int) -> None:
        os.set_inheritable(fd, False)
        self._socket = socket.socket(fileno=fd)
        self._socket.setblocking(True)
        self._sending = threading.Lock()
        self._buffer = bytearray()

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, message: Message) -> None:
        """Send one message; blocks while the engine is behind. Raises OSError when the engine is
        gone.
        """
        self.send_encoded(json.dumps(message, separators=(",", ":"), default=str).encode())

    def send_encoded(self, data: bytes) -> None:
        """Send a message that is JSON already."""
        with self._sending:
            self._socket.sendall(_LENGTH.pack(len(data)) + data)

    def receive(self) -> Optional[Message]:
        """Return the next message, or None when the engine has closed the connection."""
        while True:
            message = self._take()
            if message is not None:
                return message
            try:
                chunk = self._socket.recv(_CHUNK_BYTES)
            except OSError:
                return None
            if not chunk:
                return None
            self._buffer += chunk

    def _take(self) -> Optional[Message]:
        buffer = self._buffer
        if len(buffer) < _LENGTH.size:
            return None
        end = _LENGTH.size + _LENGTH.unpack_from(buffer)[0]
        if len(buffer) < end:
            return None
        message: Message = json.loads(bytes(buffer[_LENGTH.size : end]))
        del buffer[:end]
        return message


def die_with_parent(parent_pid: int, *, adopt: bool) -> None:
    """Ask Linux to kill this process when the engine dies, and with `adopt` to give it the orphans
    of its children.

    Where that cannot be asked for (not Linux), the end of the connection does the same a little
    later.
    """
    try:
        libc = ctypes.CDLL(None)
        libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
        if adopt:
            libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)
    except (AttributeError, OSError):
        return
    if os.getppid() != parent_pid:  # It died before the call.
        os._exit(1)
