"""Registries for tests: the real docker-registry, and one that misbehaves on demand."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest
from kubestorm.clients.registry.client import RegistryClient
from kubestorm.core.settings import AwsSettings
from kubestorm.sources.registry.settings import RegistrySettings

from sandbox.registry import RegistryProcess, is_installed

needs_registry = pytest.mark.skipif(
    not is_installed(), reason="docker-registry is not installed (Debian: docker-registry)"
)


def client_of(*connections: dict[str, Any], now: Any = None, vault: Any = None) -> RegistryClient:
    """A client as the pack's configuration makes it."""
    settings = RegistrySettings.from_config({"registries": {"hosts": list(connections)}})
    clock = now or (lambda: dt.datetime.now(dt.UTC))
    return RegistryClient(
        settings, vault=lambda: vault, aws=AwsSettings(region="eu-west-1"), now=clock
    )


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryProcess]:
    """One docker-registry that asks nobody for a password."""
    if not is_installed():
        pytest.skip("docker-registry is not installed (Debian: docker-registry)")
    with RegistryProcess(tmp_path_factory.mktemp("registry")) as process:
        yield process
