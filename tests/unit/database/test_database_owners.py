"""What others change of an instance, field by field: the table of docs/databases.md, held to the
plan and to drift.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from kubestorm.clients.rds import ObservedInstance, ObservedParameter
from kubestorm.core.settings import DatabaseSettings, EngineOffer
from kubestorm.kinds.database.drift.values import RDS, Desired, Difference
from kubestorm.kinds.database.plan import Modify, Tag, Wait, plan_instance
from kubestorm.kinds.database.plan_changes import Refuse
from kubestorm.kinds.database.spec import parse_database

from tests.unit.drift.conftest import (
    IDENTIFIER,
    TAGS,
    UID,
    judge,
    make_desired,
    make_instance,
    make_state,
)

DOCS = Path(__file__).resolve().parents[3] / "docs" / "databases.md"
NOTHING, BACK = "nothing", "reverted"
GROUP = f"{IDENTIFIER}-postgres16"
GP3 = {"sizeGiB": 400, "type": "gp3", "iops": 16000, "throughputMiBps": 500}
AS_GP3 = {"storage_gib": 400, "iops": 16000, "throughput_mibps": 500}


class Row(NamedTuple):
    """A row of the table, and an example: what the resource states, what RDS has."""

    field: str
    found: str
    who: str
    follows: str
    spec: dict[str, Any]
    instance: dict[str, Any]


ROWS = [
    Row("engine", "another", "nobody", "EngineChangeRefused", {}, {"engine": "mysql"}),
    Row("version", "a later minor version", "AWS in the maintenance window, people", NOTHING,
        {"version": "16.3"}, {"version": "16.4"}),
    Row("version", "a later major version", "AWS when its support ends, people",
        "DowngradeRefused", {"version": "15"}, {"version": "16.4"}),
    Row("size", "another class", "people, AWS when it retires a class", BACK,
        {"size": "small"}, {"instance_class": "db.t4g.small"}),
    Row("storage.sizeGiB", "larger, up to the ceiling", "AWS by itself, people", NOTHING,
        {"storage": {"sizeGiB": 50}}, {"storage_gib": 60, "max_storage_gib": 500}),
    Row("storage.sizeGiB", "larger than the ceiling, or without one", "people",
        "StorageShrinkRefused", {"storage": {"sizeGiB": 50}}, {"storage_gib": 60}),
    Row("storage.type", "another", "people", BACK,
        {"storage": {"type": "gp3"}}, {"storage_type": "gp2"}),
    Row("storage.iops", "another number", "people", BACK, {"storage": GP3},
        {**AS_GP3, "iops": 20000}),
    Row("storage.throughputMiBps", "another number", "people", BACK, {"storage": GP3},
        {**AS_GP3, "throughput_mibps": 600}),
    Row("storage.maxSizeGiB", "another ceiling", "people", BACK,
        {"storage": {"maxSizeGiB": 100}}, {"max_storage_gib": 50}),
    Row("storage.maxSizeGiB", "none, the disk being as large as the ceiling", "AWS by itself",
        NOTHING, {"storage": {"sizeGiB": 20, "maxSizeGiB": 100}}, {"storage_gib": 100}),
    Row("multiAZ", "the other", "people", BACK, {"multiAZ": False}, {"multi_az": True}),
    Row("backup.retentionDays", "another number", "people, AWS Backup", BACK,
        {"backup": {"retentionDays": 7}}, {"backup_retention_days": 35}),
    Row("backup.window", "another", "people, AWS Backup", BACK,
        {"backup": {"window": "03:00-04:00"}}, {"backup_window": "01:00-02:00"}),
    Row("maintenanceWindow", "another", "people", BACK,
        {"maintenanceWindow": "sun:05:00-sun:06:00"},
        {"maintenance_window": "mon:05:00-mon:06:00"}),
    Row("databaseName", "another", "nobody", "ImmutableField",
        {"databaseName": "orders"}, {"database_name": "shop"}),
    Row("deletionProtection", "the other", "people", BACK,
        {"deletionProtection": True}, {"deletion_protection": False}),
    Row("subnetGroup", "another", "people", "ImmutableField",
        {"subnetGroup": "databases"}, {"subnet_group": "elsewhere"}),
    Row("securityGroups", "others", "people", BACK,
        {"securityGroups": ["sg-1"]}, {"security_groups": ("sg-1", "sg-2")}),
    Row("encryptionKey", "another", "nobody", "ImmutableField",
        {"encryptionKey": "key-1"}, {"encryption_key": "key-2"}),
    Row("parameterGroup", "another", "people, AWS with a forced major upgrade", BACK,
        {"parameterGroup": "ours"}, {"parameter_group": "default.postgres17"}),
    Row("parameters", "other values", "people", BACK, {"parameters": {"work_mem": "4096"}},
        {"parameter_group": GROUP}),
    Row("monitoring.intervalSeconds", "another number", "people", BACK,
        {"monitoring": {"intervalSeconds": 0}}, {"monitoring_interval_seconds": 60}),
    Row("tags", "more", "AWS by itself, people", NOTHING, {},
        {"tags": {**TAGS, "aws:backup:source-resource": "x"}}),
    Row("tags", "one missing or another", "people", BACK, {},
        {"tags": {**TAGS, "kubestorm.io/name": "mine"}}),
]  # fmt: skip


def wish_for(spec: dict[str, Any]) -> Desired:
    """The Database default/orders with this spec, where minor versions are offered too."""
    offered = {"postgres": EngineOffer(versions=("17", "16", "16.3", "15"))}
    resource = {
        "metadata": {"name": "orders", "namespace": "default"},
        "spec": {"engine": "postgres", **spec},
    }
    parsed = parse_database(resource, DatabaseSettings(engines=offered))
    return dataclasses.replace(make_desired(), spec=parsed)


def rds_findings(desired: Desired, observed: ObservedInstance) -> list[Difference]:
    """What drift says of the instance; its own group holds another work_mem than any spec here."""
    parameters = {GROUP: {"work_mem": ObservedParameter("1", True, False)}}
    state = make_state(instances=(observed,), parameters=parameters)
    return [
        one
        for finding in judge([desired], state).findings
        for one in finding.differences
        if one.service == RDS
    ]


def cells(line: str) -> tuple[str, ...]:
    return tuple(cell.strip().replace("`", "") for cell in line.strip().strip("|").split("|"))


def rows_after(heading: str) -> list[tuple[str, ...]]:
    """The rows of the first table below a heading."""
    text = DOCS.read_text().split(f"{heading}\n", 1)[1]
    table = re.search(r"(?m)(^\|.*\n)+", text)
    assert table is not None
    return [cells(line) for line in table.group().splitlines()[2:]]


def test_the_table_in_the_docs_is_this_one():
    """Row for row."""
    assert rows_after("### Changes made by others") == [
        (row.field, row.found, row.who, row.follows) for row in ROWS
    ]


def test_every_field_that_rds_has_is_in_the_table():
    """By the docs' own list of fields and RDS's parameters."""
    written = {
        name
        for fields, parameter, *_ in rows_after("## Spec")
        for name in fields.split(", ")
        if parameter and not parameter.startswith("(RestoreDBInstance")
    }
    assert written == {row.field for row in ROWS}


@pytest.mark.parametrize("row", ROWS, ids=[f"{row.field}-{row.found}" for row in ROWS])
def test_what_others_changed_is_left_changed_back_or_refused(row):
    """By the plan, and drift says the same: nothing, what a run mends, what a person decides."""
    desired = wish_for(row.spec)
    observed = make_instance(**row.instance)
    planned = plan_instance(desired.spec, observed, uid=UID, identifier=IDENTIFIER, tags=TAGS)
    told = rds_findings(desired, observed)
    if row.follows == NOTHING:
        assert planned == ()
        assert told == []
    elif row.follows == BACK:
        assert all(isinstance(decision, (Modify, Tag)) for decision in planned)
        assert {one.field.split(".kubestorm")[0].split(".work_mem")[0] for one in told} == {
            row.field
        }
        assert all(one.repairable for one in told)
        fields = [
            change.field
            for decision in planned
            if isinstance(decision, Modify)
            for change in decision.changes
        ]
        assert fields == ([] if row.field in ("tags", "parameters") else [row.field])
    else:
        (refusal,) = planned
        assert isinstance(refusal, Refuse)
        assert (refusal.reason, refusal.change) == (row.follows, True)
        assert row.follows in {one.field for one in told}
        assert not any(one.repairable for one in told)


@pytest.mark.parametrize(
    "spec, instance",
    [
        ({"version": "16.3"}, {"version": "16.4"}),
        (
            {"storage": {"sizeGiB": 50}, "adopt": IDENTIFIER},
            {"storage_gib": 60, "max_storage_gib": 500},
        ),
    ],
    ids=["minor-upgrade", "grown-storage"],
)
def test_what_aws_did_does_not_keep_a_change_from_being_made(spec, instance):
    """The resize is the one thing that is done."""
    desired = wish_for({"size": "huge", **spec})
    (decision,) = plan_instance(
        desired.spec, make_instance(**instance), uid=UID, identifier=IDENTIFIER, tags=TAGS
    )
    assert isinstance(decision, Modify)
    assert [change.field for change in decision.changes] == ["size"]


@pytest.mark.parametrize(
    "version, found, follows",
    [
        ("16.3", "16.4", NOTHING),
        ("16.3", "16.10", NOTHING),
        ("16", "16.4", NOTHING),
        ("16.3", "16.2", "16.3"),
        ("15", "16.4", "set it to 17 or 16, or restore"),
        ("16.3", "17.4", "set it to 17, or restore"),
        ("17", "18.1", "ask operations to offer 18, or restore"),
        ("15", "15.9-rds.20240418", NOTHING),
    ],
)
def test_a_version_is_met_raised_or_refused_with_what_is_offered(version, found, follows):
    """A later minor version is none of our business; advice names only what can be written."""
    desired = wish_for({"version": version})
    observed = make_instance(version=found)
    planned = plan_instance(desired.spec, observed, uid=UID, identifier=IDENTIFIER, tags=TAGS)
    if follows == NOTHING:
        assert planned == ()
    elif follows == version:
        assert [change.new for change in planned[0].changes] == [version]
    else:
        assert follows in planned[0].message


def test_an_upgrade_that_rds_has_taken_for_its_window_is_not_asked_for_again():
    """RDS says which minor version will be there."""
    desired = wish_for({"version": "16"})
    observed = make_instance(version="15.9", pending={"EngineVersion": "16.4"})
    (decision,) = plan_instance(
        desired.spec,
        observed,
        uid=UID,
        identifier=IDENTIFIER,
        tags=TAGS,
        apply_immediately=False,
    )
    assert (type(decision), decision.settled) == (Wait, True)
    assert rds_findings(desired, observed) == []
