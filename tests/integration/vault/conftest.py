"""A Vault for each test, a clock that stands still, and clients of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import hvac
import pytest

from sandbox.clock import ManualClock
from sandbox.vault import ServiceAccount, VaultServer

JWT = "jwt-of-the-operator"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def vault(clock: ManualClock) -> Iterator[VaultServer]:
    accounts = {JWT: ServiceAccount("kubestorm", "operator", uid="u-1")}
    with VaultServer(dev=True, clock=clock, reviewer=accounts) as server:
        yield server


@pytest.fixture
def root(vault: VaultServer) -> hvac.Client:
    return hvac.Client(vault.url, token=vault.root_token)


@pytest.fixture
def as_policy(vault: VaultServer, root: hvac.Client) -> Callable[[str], hvac.Client]:
    """Make a client whose token has one policy of this text."""

    def make(text: str) -> hvac.Client:
        root.sys.create_or_update_policy("narrow", text)
        token = root.auth.token.create(policies=["narrow"], ttl="1h")["auth"]["client_token"]
        return hvac.Client(vault.url, token=token)

    return make


@pytest.fixture
def raw(vault: VaultServer) -> Iterator[Callable[..., httpx.Response]]:
    """Send one raw request with the root token, unless other headers are given."""
    with httpx.Client(base_url=f"{vault.url}/v1/", trust_env=False) as client:

        def send(method: str, path: str, body: Any = None, **options: Any) -> httpx.Response:
            headers = options.pop("headers", {"X-Vault-Token": vault.root_token})
            return client.request(method, path, json=body, headers=headers, **options)

        yield send
