"""Values that the tests of the database journey start from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from kubestorm.clients.rds import ObservedInstance
from kubestorm.core.settings import DatabaseSettings
from kubestorm.kinds.database.spec import DatabaseSpec, parse_database

from tests.unit.instances import make_instance

UID = "11111111-2222-3333-4444-555555555555"
TAGS = {
    "kubestorm.io/cluster": "test",
    "kubestorm.io/namespace": "default",
    "kubestorm.io/name": "orders",
    "kubestorm.io/uid": UID,
}


@pytest.fixture
def resource() -> Callable[..., dict[str, Any]]:
    """Make a Database object with that spec (engine postgres unless said otherwise)."""

    def make(
        *, labels: dict[str, str] | None = None, namespace: str = "default", **spec: Any
    ) -> dict[str, Any]:
        return {
            "apiVersion": "kubestorm.io/v1alpha1",
            "kind": "Database",
            "metadata": {
                "name": "orders",
                "namespace": namespace,
                "uid": UID,
                "labels": labels or {},
            },
            "spec": {"engine": "postgres", **spec},
        }

    return make


@pytest.fixture
def parsed(resource: Callable[..., dict[str, Any]]) -> Callable[..., DatabaseSpec]:
    """The parsed form of the same."""
    return lambda **spec: parse_database(resource(**spec), DatabaseSettings())


@pytest.fixture
def observed() -> Callable[..., ObservedInstance]:
    """An available instance as the defaults make it, with some fields changed."""

    def make(**changes: Any) -> ObservedInstance:
        return make_instance(**{"tags": TAGS, **changes})

    return make
