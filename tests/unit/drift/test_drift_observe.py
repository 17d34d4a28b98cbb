"""Which kind an object is read as, and what is repaired and remembered under."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from kubestorm.clients.services import Services
from kubestorm.core.settings import load_settings
from kubestorm.kinds.database.drift.observe import Listed, desired_of
from kubestorm.kinds.database.drift.poller import remaining
from kubestorm.kinds.database.drift.report import key_of, payload

from tests.unit.drift.conftest import PLACE, PUBLISHED, UID, judge, make_state

GROUP = "db.example.com"
KINDS = {
    plural: {
        "group": GROUP,
        "version": "v1",
        "plural": plural,
        "fields": {"spec.release": "version"},
        "values": {"engine": engine},
    }
    for plural, engine in (("mysqls", "mysql"), ("postgreses", "postgres"))
}
RELEASES = {"mysqls": "8.0", "postgreses": "16"}


@pytest.fixture
def services() -> Services:
    """Settings with two kinds of one group; nothing is connected."""
    return Services(load_settings({"cluster": "test", "database": {"kinds": [*KINDS.values()]}}))


def listed(services: Services, plural: str) -> Listed:
    """The object default/orders of that kind, serving."""
    ready = {"type": "Ready", "status": "True", "reason": "Ready"}
    resource: dict[str, Any] = {
        "apiVersion": f"{GROUP}/v1",
        "kind": plural.capitalize(),
        "metadata": {"name": "orders", "namespace": "default", "uid": UID, "generation": 1},
        "spec": {"release": RELEASES[plural]},
        "status": {
            "observedGeneration": 1,
            "conditions": [ready],
            "endpoint": {"host": PUBLISHED["host"], "port": 5432},
        },
    }
    kinds = services.settings.database.kinds
    return Listed(resource, next(kind for kind in kinds if kind.plural == plural))


@pytest.mark.parametrize(
    "plural, engine", [("mysqls", "mysql"), ("postgreses", "postgres")], ids=str
)
def test_of_two_kinds_in_a_group_each_is_read_as_its_own(services, plural, engine):
    """And a run that repairs it is told the right plural."""
    desired = desired_of(services, listed(services, plural))
    assert desired.under_way == ""
    assert desired.spec is not None
    assert (desired.spec.engine, desired.spec.version) == (engine, RELEASES[plural])
    lost = make_state(instances=(), published={}, secrets={})
    (finding,) = judge([desired], lost).findings
    told = payload(finding, "test")
    assert (told["group"], told["version"], told["plural"]) == (GROUP, "v1", plural)


def test_objects_of_two_kinds_and_one_name_are_remembered_apart(services):
    """They would be told in turns at each look otherwise; what was told of both is forgotten
    together with the drift.
    """
    lost = make_state(instances=(), published={}, secrets={})
    databases = [desired_of(services, listed(services, plural)) for plural in KINDS]
    keys = [key_of(finding) for finding in judge(databases, lost).findings]
    assert keys == [f"default/orders@{plural}.{GROUP}" for plural in KINDS]
    told = {key: {"AWS RDS": "1"} for key in keys}
    report = judge(
        [dataclasses.replace(desired, under_way="it changes") for desired in databases], lost
    )
    assert PLACE in report.under_way
    assert remaining(told, report) == told
    assert remaining(told, judge([], make_state(instances=(), published={}, secrets={}))) == {}
