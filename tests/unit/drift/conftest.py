"""A Database that is as it should be, and the state around it, to be taken apart by the tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from kubestorm.clients.rds import ObservedInstance
from kubestorm.core.settings import DatabaseSettings
from kubestorm.kinds.database.drift.compare import compare
from kubestorm.kinds.database.drift.values import Desired, ObservedState, Place, Report
from kubestorm.kinds.database.spec import parse_database

from tests.unit.instances import make_instance as observed_instance

UID = "11111111-2222-3333-4444-555555555555"
PLACE = Place("default", "orders")
IDENTIFIER = "ks-test-default-orders"
VAULT_PATH = "secret/kubestorm/test/default/orders"
TAGS = {
    "kubestorm.io/cluster": "test",
    "kubestorm.io/namespace": "default",
    "kubestorm.io/name": "orders",
    "kubestorm.io/uid": UID,
}
PUBLISHED = {
    "host": "orders.example.com",
    "port": "5432",
    "database": "orders",
    "username": "dbadmin",
    "vault_path": VAULT_PATH,
}


def make_instance(**changes: Any) -> ObservedInstance:
    tags = {**TAGS, "kubestorm.io/credentials-version": "1"}
    return observed_instance(
        **{"identifier": IDENTIFIER, "host": PUBLISHED["host"], "tags": tags, **changes}
    )


def make_desired(*, spec: dict[str, Any] | None = None, **changes: Any) -> Desired:
    stated = {"engine": "postgres", "version": "16", "size": "small", **(spec or {})}
    resource = {"metadata": {"name": "orders", "namespace": "default"}, "spec": stated}
    values: dict[str, Any] = {
        "place": PLACE,
        "uid": UID,
        "identifier": IDENTIFIER,
        "own_identifier": IDENTIFIER,
        "vault_path": VAULT_PATH,
        "spec": parse_database(resource, DatabaseSettings()),
        "tags": TAGS,
        "host": PUBLISHED["host"],
        "port": 5432,
        "credentials_stored": True,
    }
    return Desired(**{**values, **changes})


def make_state(**changes: Any) -> ObservedState:
    values: dict[str, Any] = {
        "instances": (make_instance(),),
        "published": {PLACE: PUBLISHED},
        "secrets": {PLACE: 1},
    }
    return ObservedState(**{**values, **changes})


def judge(databases: list[Desired], state: ObservedState) -> Report:
    return compare(databases, state, cluster="test", mount="secret", prefix="ks")


@pytest.fixture
def rows() -> Callable[[Report], list[tuple[Any, ...]]]:
    """What a report found: (service, field, what, repairable), sorted."""
    return lambda report: sorted(
        (one.service, one.field, one.what, one.repairable)
        for finding in report.findings
        for one in finding.differences
    )
