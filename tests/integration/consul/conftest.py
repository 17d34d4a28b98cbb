"""A Consul for each test, a clock that stands still, and clients of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import consul
import httpx
import pytest

from sandbox.clock import ManualClock
from sandbox.consul import ConsulServer


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def server(clock: ManualClock) -> Iterator[ConsulServer]:
    with ConsulServer(clock=clock) as running:
        yield running


@pytest.fixture
def connect(server: ConsulServer) -> Iterator[Callable[..., consul.Consul]]:
    """Make clients that are closed when the test ends."""
    made: list[consul.Consul] = []

    def make(token: str | None = None, port: int | None = None) -> consul.Consul:
        made.append(consul.Consul(port=port or server.port, token=token))
        return made[-1]

    yield make
    for client in made:
        client.http.close()


@pytest.fixture
def client(connect: Callable[..., consul.Consul]) -> consul.Consul:
    return connect()


@pytest.fixture
def raw(server: ConsulServer) -> Iterator[Callable[..., httpx.Response]]:
    """Send one raw request."""
    with httpx.Client(base_url=f"{server.url}/v1/", trust_env=False) as http:

        def send(method: str, path: str, **options: Any) -> httpx.Response:
            return http.request(method, path, **options)

        yield send
