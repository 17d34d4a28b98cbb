"""Clients of the stream that do not read, and then leave."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from stormcell.api import streaming
from stormcell.engine import Engine

from tests.integration.engine.inside import engine_over

EVENTS = 1_500


class Client:
    """An ASGI client of /v1/stream whose connection is full until `read`; `leave` ends it."""

    def __init__(self, engine: Engine, query: bytes = b"") -> None:
        self.sent: list[str] = []
        self._reads, self._left = asyncio.Event(), asyncio.Event()
        scope = {
            "type": "http",
            "method": "GET",
            "path": "/v1/stream",
            "query_string": query,
            "headers": [],
            "asgi": {"spec_version": "2.3"},
        }
        app = Starlette(routes=streaming.routes(engine))
        self.call = asyncio.create_task(app(scope, self._receive, self._send))

    def read(self) -> None:
        self._reads.set()

    def leave(self) -> None:
        """As uvicorn has it: what is sent from now on goes nowhere, at once."""
        self._left.set()
        self._reads.set()

    async def _receive(self) -> dict[str, Any]:
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.body" and message.get("body", b"").strip():
            if not self._left.is_set():
                await self._reads.wait()
            self.sent.append(message["body"].decode())


async def _flooded(engine: Engine, *clients: Client) -> None:
    """Publish more than any client's queue holds."""
    while engine.core.stream.listener_count < len(clients):
        await asyncio.sleep(0)
    for number in range(EVENTS):
        engine.core.stream.publish("st2.announcement__x", lambda number=number: {"n": number})
    await asyncio.sleep(0)


def test_a_client_that_leaves_is_sent_nothing_more(tmp_path: Path) -> None:
    """Its backlog is not worked off: with many clients that would stop everything else."""

    async def play() -> None:
        async with engine_over(tmp_path / "data") as engine:
            clients = [Client(engine) for _ in range(5)]
            await _flooded(engine, *clients)
            for client in clients:
                client.leave()
            await asyncio.gather(*(client.call for client in clients))
            assert all(len(client.sent) < 10 for client in clients)

    asyncio.run(play())


def test_a_slow_client_is_told_what_it_lost(tmp_path: Path) -> None:
    """It gets the newest events, and before them how many were dropped."""

    async def play() -> None:
        async with engine_over(tmp_path / "data") as engine:
            client = Client(engine)
            await _flooded(engine, client)
            client.read()
            while not any(f'"n":{EVENTS - 1}' in text for text in client.sent):
                await asyncio.sleep(0)
            lost = [text for text in client.sent if text.startswith(": ")]
            assert len(lost) == 1
            told = sum(text.startswith("event: ") for text in client.sent)
            assert int(lost[0].split()[1]) == EVENTS - told
            client.leave()
            await client.call

    asyncio.run(play())


def test_clients_share_what_is_written_of_an_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event is encoded once, however many clients there are."""
    encoded: list[Any] = []
    encode = streaming._encode
    monkeypatch.setattr(streaming, "_encode", lambda body: encoded.append(body) or encode(body))

    async def play() -> None:
        async with engine_over(tmp_path / "data") as engine:
            clients = [Client(engine) for _ in range(10)]
            for client in clients:
                client.read()
            while engine.core.stream.listener_count < len(clients):
                await asyncio.sleep(0)
            engine.core.stream.publish("st2.announcement__x", lambda: {"n": 1})
            while not all(client.sent for client in clients):
                await asyncio.sleep(0)
            for client in clients:
                client.leave()
            await asyncio.gather(*(client.call for client in clients))

    asyncio.run(play())
    assert len(encoded) == 1
