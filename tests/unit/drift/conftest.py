"""A Database that is as it should be, and the world around it, to be taken apart by the tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from kubestorm.database.plan import ObservedInstance
from kubestorm.database.spec import parse_database
from kubestorm.drift.compare import compare
from kubestorm.drift.values import Place, Report, Wish, World
from kubestorm.settings import DatabaseSettings

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
    values: dict[str, Any] = {
        "identifier": IDENTIFIER,
        "status": "available",
        "engine": "postgres",
        "version": "16.3",
        "instance_class": "db.t3.small",
        "storage_gib": 20,
        "storage_type": "gp3",
        "iops": None,
        "max_storage_gib": None,
        "multi_az": False,
        "backup_retention_days": 7,
        "backup_window": "03:00-04:00",
        "maintenance_window": "sun:05:00-sun:06:00",
        "database_name": "orders",
        "username": "dbadmin",
        "deletion_protection": False,
        "subnet_group": None,
        "security_groups": (),
        "parameter_group": "default.postgres16",
        "encryption_key": None,
        "monitoring_interval_seconds": 0,
        "host": PUBLISHED["host"],
        "port": 5432,
        "tags": {**TAGS, "kubestorm.io/credentials-version": "1"},
    }
    return ObservedInstance(**{**values, **changes})


def make_wish(*, spec: dict[str, Any] | None = None, **changes: Any) -> Wish:
    stated = {"engine": "postgres", "version": "16", "size": "small", **(spec or {})}
    resource = {"metadata": {"name": "orders", "namespace": "default"}, "spec": stated}
    values: dict[str, Any] = {
        "place": PLACE,
        "uid": UID,
        "identifier": IDENTIFIER,
        "vault_path": VAULT_PATH,
        "spec": parse_database(resource, DatabaseSettings()),
        "tags": TAGS,
        "host": PUBLISHED["host"],
        "port": 5432,
        "credentials_stored": True,
    }
    return Wish(**{**values, **changes})


def make_world(**changes: Any) -> World:
    values: dict[str, Any] = {
        "instances": (make_instance(),),
        "published": {PLACE: PUBLISHED},
        "secrets": {PLACE: 1},
    }
    return World(**{**values, **changes})


def judge(wishes: list[Wish], world: World) -> Report:
    return compare(wishes, world, cluster="test", mount="secret", prefix="ks")


@pytest.fixture
def rows() -> Callable[[Report], list[tuple[Any, ...]]]:
    """What a report found: (service, field, what, repairable), sorted."""
    return lambda report: sorted(
        (one.service, one.field, one.what, one.repairable) for finding in report.findings for one in finding.differences
    )
