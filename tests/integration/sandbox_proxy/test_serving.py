"""A server of the sandbox ends quietly, also while somebody is still connected."""

from __future__ import annotations

import logging
import socket

import pytest

from sandbox.serving import Server


async def answer_never(scope, receive, send):
    """An application whose answers never end, as a watch."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            continue


def test_stopping_under_an_open_stream_says_nothing(caplog):
    """An open stream is cut at the end without an error line: that is how a stop looks here."""
    with caplog.at_level(logging.WARNING, logger="uvicorn.error"):
        with (
            Server(answer_never) as server,
            socket.create_connection((server.host, server.port)) as client,
        ):
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.recv(4096)
        said = [record.getMessage() for record in caplog.records if record.name == "uvicorn.error"]
    assert said == []


def test_a_server_has_no_port_before_it_is_bound_and_holds_none_that_nobody_asked_for():
    """The error says what to do; bound it has one, and start serves there."""
    server = Server(answer_never)
    with pytest.raises(RuntimeError, match=r"start it, or call bind\(\)"):
        _ = server.url
    server.stop()
    bound = Server(answer_never).bind()
    port = bound.port
    with bound:
        assert bound.port == port
        socket.create_connection((bound.host, port)).close()
    assert bound.port == port
