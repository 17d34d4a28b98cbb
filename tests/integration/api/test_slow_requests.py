"""Requests that do not arrive: they are ended, and cost the others nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import uvicorn
from starlette.requests import Request
from stormcell.api.answers import answer
from stormcell.api.protocol import Protocol


class Hurried(Protocol):
    """The same within moments."""

    head_seconds = 0.2
    body_seconds = 0.2


async def _app(scope: Any, receive: Any, send: Any) -> None:
    body = await Request(scope, receive).body()
    await answer({"bytes": len(body)})(scope, receive, send)


async def _answers(*sent: bytes) -> list[bytes]:
    """What a server says to each of these, sent on a connection of its own and never finished."""
    server = uvicorn.Server(
        uvicorn.Config(_app, http=Hurried, port=0, lifespan="off", log_config=None)
    )
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0)
    port = server.servers[0].sockets[0].getsockname()[1]

    async def one(data: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(data)
        try:
            async with asyncio.timeout(30):
                return await reader.read()
        finally:
            writer.close()

    try:
        return await asyncio.gather(*map(one, sent))
    finally:
        server.should_exit = True
        await serving


HEAD = b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n"


def test_what_does_not_arrive_in_time_is_ended() -> None:
    """Nothing at all, half the headers, half the body, and the second request of a connection."""
    nothing, head, body, second = asyncio.run(
        _answers(b"", HEAD, HEAD + b"\r\nab", HEAD + b"\r\nabcd" + HEAD)
    )
    for said in (nothing, head, body):
        assert said.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert second.startswith(b"HTTP/1.1 200 OK\r\n")
    assert second.count(b"HTTP/1.1") == 1
    assert b'{"bytes":4}' in second


def test_many_slow_clients_are_all_ended() -> None:
    """Two hundred at once leave none open."""
    assert len(asyncio.run(_answers(*[HEAD] * 200))) == 200
