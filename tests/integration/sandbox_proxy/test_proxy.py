"""The proxy's weather is what a client really sees."""

from __future__ import annotations

import httpx
import pytest

from sandbox.proxy import Proxy, Weather
from sandbox.serving import Server


async def answer_hello(scope, receive, send):
    """An application that says hello."""
    if scope["type"] == "lifespan":
        return
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]}
    )
    await send({"type": "http.response.body", "body": b"hello"})


@pytest.fixture
def proxy():
    with Server(answer_hello) as server, Proxy(server.url) as it:
        yield it


BAD = {
    Weather.REFUSED: httpx.ConnectError,
    # The reset may arrive before connect() has returned.
    Weather.RESET: (httpx.NetworkError, httpx.RemoteProtocolError),
    Weather.SILENT: httpx.ReadTimeout,
}


@pytest.mark.parametrize("weather, error", BAD.items(), ids=list(BAD))
def test_each_weather_gives_its_error_and_passes(proxy, weather, error):
    """In bad weather a new connection fails in its own way; afterwards the same address answers
    again.
    """
    assert httpx.get(proxy.url).text == "hello"
    with proxy.bad(weather), pytest.raises(error):
        httpx.get(proxy.url, timeout=0.3)
    assert httpx.get(proxy.url).text == "hello"


def test_an_open_connection_is_reset(proxy):
    """A connection that is kept open notices an outage too."""
    with httpx.Client(base_url=proxy.url) as client:
        assert client.get("/").text == "hello"
        with proxy.bad(Weather.REFUSED), pytest.raises(httpx.TransportError):
            client.get("/")
        assert client.get("/").text == "hello"
