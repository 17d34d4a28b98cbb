"""A TCP forwarder that can be told to misbehave: bad weather between the pack and a service, on the
wire itself.

What HTTP can express (500, 429) is for the servers' own faults; this is for what lies below:
refused, reset, silent. TLS passes through untouched.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from enum import StrEnum
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from sandbox.serving import LOOPBACK

CHUNK_BYTES = 65536
JOIN_SECONDS = 10.0


class Weather(StrEnum):
    """What happens to connections."""

    FAIR = "fair"
    REFUSED = "refused"
    """Nobody listens: connect() fails at once, and open connections are reset."""
    RESET = "reset"
    """A connection is accepted and reset."""
    SILENT = "silent"
    """Connections stay open and nothing more comes through, either way."""


class Proxy:
    """Forwards a loopback port to another address. `url` is the target's URL with this port in it.

    `struck` counts what the present weather has hit: connections cut or reset, pieces held back.
    Who is refused is known to the kernel alone, so refusals do not count.
    """

    def __init__(self, target_url: str) -> None:
        self._scheme, self._target = urlsplit(target_url).scheme, urlsplit(target_url)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._weather = Weather.FAIR
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._clear = asyncio.Event()
        self.port = 0
        self.struck = 0

    @property
    def url(self) -> str:
        """Where to connect instead of the target."""
        return f"{self._scheme}://{LOOPBACK}:{self.port}"

    def start(self) -> Self:
        """Listen; returns once connections are accepted."""
        self._thread.start()
        self._call(self._set(Weather.FAIR))
        return self

    def stop(self) -> None:
        """Close everything. Safe to repeat."""
        if not self._thread.is_alive():
            return
        self._call(self._set(Weather.REFUSED))
        self._call(self._cancel_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(JOIN_SECONDS)
        self._loop.close()

    def set(self, weather: Weather) -> None:
        """Change the weather; in force when this returns."""
        self._call(self._set(weather))

    @contextlib.contextmanager
    def bad(self, weather: Weather) -> Iterator[None]:
        """Bad weather for the length of the block."""
        self.set(weather)
        try:
            yield
        finally:
            self.set(Weather.FAIR)

    def _call(self, coroutine: object) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(JOIN_SECONDS)  # type: ignore[arg-type]

    async def _set(self, weather: Weather) -> None:
        self._weather = weather
        self.struck = 0
        if weather == Weather.SILENT:
            self._clear.clear()
        else:
            self._clear.set()
        if weather in (Weather.REFUSED, Weather.RESET):
            for writer in list(self._open):
                self.struck += 1
                _reset(writer)
        if weather == Weather.REFUSED:
            if self._server:
                self._server.close()
                self._server = None
        elif not self._server:
            self._server = await asyncio.start_server(self._serve, LOOPBACK, self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def _cancel_all(self) -> None:
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._weather == Weather.RESET:
            self.struck += 1
            _reset(writer)
            return
        try:
            there_reader, there_writer = await asyncio.open_connection(
                self._target.hostname, self._target.port
            )
        except OSError:
            _reset(writer)
            return
        pair = {writer, there_writer}
        self._open |= pair
        try:
            await asyncio.gather(self._pump(reader, there_writer), self._pump(there_reader, writer))
        finally:
            self._open -= pair
            for end in pair:
                end.close()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(CHUNK_BYTES):
                self.struck += not self._clear.is_set()
                await self._clear.wait()
                sink.write(data)
                await sink.drain()
        sink.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close so that the other side sees ECONNRESET: linger with a time of zero makes the kernel
    send RST.
    """
    connection = writer.get_extra_info("socket")
    if connection is not None:
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
