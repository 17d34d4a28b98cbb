"""The resources that the IAM policies in deploy/ name are those that the journey's calls touch, and
no others.

moto checks who may call what and knows no resources of RDS. So every call is recorded, the
resources that AWS wants a permission for are worked out from its parameters, and the policy is held
against them here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

import boto3
import hvac
import pytest

from tests.integration.database.conftest import Recorder

ROOT = Path(__file__).resolve().parents[3]
ARN = "arn:aws:rds:eu-central-1:123456789012:"
# Source: "Actions, resources, and condition keys for Amazon RDS" of the Service Authorization
# Reference. Parameter of the call -> type of the resource. Where the call names none, AWS takes its
# own default of that type.
RESOURCES: Mapping[str, Mapping[str, str]] = {
    "CreateDBInstance": {
        "DBInstanceIdentifier": "db", "DBParameterGroupName": "pg", "OptionGroupName": "og",
        "DBSubnetGroupName": "subgrp",
    },
    "RestoreDBInstanceFromDBSnapshot": {
        "DBInstanceIdentifier": "db", "DBSnapshotIdentifier": "snapshot",
        "DBParameterGroupName": "pg",
        "OptionGroupName": "og", "DBSubnetGroupName": "subgrp",
    },
    "RestoreDBInstanceToPointInTime": {
        "SourceDBInstanceIdentifier": "db", "TargetDBInstanceIdentifier": "db",
        "DBParameterGroupName": "pg",
        "OptionGroupName": "og", "DBSubnetGroupName": "subgrp",
    },
    "ModifyDBInstance": {"DBInstanceIdentifier": "db", "DBParameterGroupName": "pg",
     "OptionGroupName": "og"},
    "CreateDBSnapshot": {"DBInstanceIdentifier": "db", "DBSnapshotIdentifier": "snapshot"},
    "DeleteDBInstance": {"DBInstanceIdentifier": "db", "FinalDBSnapshotIdentifier": "snapshot"},
    "CreateDBParameterGroup": {"DBParameterGroupName": "pg"},
    "DeleteDBParameterGroup": {"DBParameterGroupName": "pg"},
    "ModifyDBParameterGroup": {"DBParameterGroupName": "pg"},
    "ResetDBParameterGroup": {"DBParameterGroupName": "pg"},
}  # fmt: skip
# A call that makes something tagged needs the permission to tag it.
MAKES = {
    "CreateDBInstance": "DBInstanceIdentifier",
    "RestoreDBInstanceFromDBSnapshot": "DBInstanceIdentifier",
    "RestoreDBInstanceToPointInTime": "TargetDBInstanceIdentifier",
    "CreateDBSnapshot": "DBSnapshotIdentifier",
    "CreateDBParameterGroup": "DBParameterGroupName",
}


class Need(NamedTuple):
    """One permission: an action on a resource."""

    action: str
    resource: str


def needs_of(call: Mapping[str, str]) -> Iterator[Need]:
    """The permissions that AWS asks for a call."""
    action = call["Action"]
    if action == "AddTagsToResource":
        yield Need("rds:AddTagsToResource", call["ResourceName"])
    elif action.startswith(("Describe", "ListTags")):
        yield Need(f"rds:{action}", "*")
    else:
        for parameter, kind in RESOURCES[action].items():
            name = call.get(parameter)
            if name is None and parameter == "FinalDBSnapshotIdentifier":
                continue
            yield Need(f"rds:{action}", f"{ARN}{kind}:{name or 'default'}")
        if action in MAKES:
            kind = RESOURCES[action][MAKES[action]]
            yield Need("rds:AddTagsToResource", f"{ARN}{kind}:{call[MAKES[action]]}")
    if call.get("MonitoringRoleArn"):
        yield Need("iam:PassRole", call["MonitoringRoleArn"])
    if call.get("KmsKeyId"):
        yield Need("kms:CreateGrant", call["KmsKeyId"])
        yield Need("kms:DescribeKey", call["KmsKeyId"])


def needs_in(recorder: Recorder) -> set[Need]:
    """The permissions that all its calls need."""
    return {need for call in recorder.calls for need in needs_of(call)}


def statements(*names: str, **words: str) -> list[dict[str, Any]]:
    """The statements of policies in deploy/, with what an operator fills in."""
    found: list[dict[str, Any]] = []
    for name in names:
        text = (ROOT / "deploy" / name).read_text()
        for word, value in words.items():
            text = text.replace(word, value)
        found += json.loads(text)["Statement"]
    return found


def listed(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def allows(statement: Mapping[str, Any], need: Need) -> bool:
    actions, resources = listed(statement["Action"]), listed(statement["Resource"])
    return any(fnmatchcase(need.action, each) for each in actions) and any(
        each == "*" or (need.resource != "*" and fnmatchcase(need.resource, each))
        for each in resources
    )


@pytest.fixture
def rds(aws):
    """An administrator's client."""
    return boto3.client("rds", endpoint_url=aws.url, region_name="eu-central-1")


def whole_life(world, **spec):
    """Made, changed, rotated, kept in a snapshot on demand, and deleted with snapshots."""
    spec = {"deletionPolicy": "Snapshot", **spec}
    world.apply(**spec)
    world.until_ready()
    world.apply(**{**spec, "size": "large"})
    world.until_ready()
    world.annotate(**{"kubestorm.io/rotate-credentials": "now", "kubestorm.io/snapshot": "now"})
    world.reconcile()
    world.until_ready()
    for _ in range(2):
        world.reconcile()
        world.let_aws_finish()
    world.delete()
    world.until_gone()


def test_the_policy_names_what_the_journey_touches_and_each_of_its_statements_is_needed(
    world, rds, recorder
):
    """With parameters, a restore from a snapshot and one to a point in time; nothing is refused,
    nothing is idle.
    """
    whole_life(world, parameters={"work_mem": "4096"})
    found = rds.describe_db_snapshots(SnapshotType="manual")["DBSnapshots"]
    kept = next(
        each["DBSnapshotIdentifier"] for each in found if "-final-" in each["DBSnapshotIdentifier"]
    )
    world.apply(restoreFrom={"snapshot": kept}, parameters={"work_mem": "4096"})
    world.until_ready()
    source = world.get()["status"]["instanceIdentifier"]
    world.apply("copy", restoreFrom={"pointInTime": {"sourceInstance": source}})
    world.until_ready("copy")
    world.apply(parameters={})
    world.until_ready()
    policy = statements("iam-policy.json")
    needs = needs_in(recorder)
    assert {need for need in needs if not any(allows(each, need) for each in policy)} == set()
    granted = {(each["Sid"], action) for each in policy for action in listed(each["Action"])}
    used = {(each["Sid"], need.action) for each in policy for need in needs if allows(each, need)}
    # What drift and people's questions use beside the journey.
    assert granted - used == {("Look", "rds:ListTagsForResource")}


OTHERS = {
    "an instance that is not ours": Need("rds:DeleteDBInstance", f"{ARN}db:payroll"),
    "a snapshot that is not ours": Need("rds:CreateDBSnapshot", f"{ARN}snapshot:payroll-1"),
    "a group that is not ours": Need("rds:ModifyDBParameterGroup", f"{ARN}pg:default.postgres16"),
    "snapshots are never deleted": Need(
        "rds:DeleteDBSnapshot", f"{ARN}snapshot:ks-test-default-orders-manual-1"
    ),
    "no role is passed on": Need("iam:PassRole", "arn:aws:iam::123456789012:role/admin"),
}


@pytest.mark.parametrize("need", OTHERS.values(), ids=OTHERS.keys())
def test_what_is_not_ours_stays_out_of_reach(need):
    """Whatever the pack, or whoever has its credentials, would try."""
    assert not any(allows(each, need) for each in statements("iam-policy.json"))


def test_an_adopted_instance_needs_one_policy_more(world, rds, recorder, vault):
    """It has a name of its own, which operators write into that policy; so have its snapshots."""
    rds.create_db_instance(
        DBInstanceIdentifier="legacy", DBInstanceClass="db.t3.small", Engine="postgres",
        EngineVersion="16",
        AllocatedStorage=20, MasterUsername="boss", MasterUserPassword="by-hand-once",
        BackupRetentionPeriod=0,
    )  # fmt: skip
    world.let_aws_finish()
    by_hand = hvac.Client(url=vault.url, token=vault.root_token)
    by_hand.secrets.kv.v2.create_or_update_secret(
        f"kubestorm/test/{world.namespace}/orders", {"username": "boss", "password": "by-hand-once"}
    )
    whole_life(world, adopt="legacy", parameters={"work_mem": "4096"})
    needs = needs_in(recorder)
    assert {
        need
        for need in needs
        if not any(allows(each, need) for each in statements("iam-policy.json"))
    }
    policy = statements("iam-policy.json", "iam-policy-adopt.json", IDENTIFIER="legacy")
    assert {need for need in needs if not any(allows(each, need) for each in policy)} == set()


def test_monitoring_and_a_key_of_ones_own_need_one_policy_more_each(world, recorder):
    """RDS writes readings with a role, and encrypts with a key, that the caller has to be allowed
    to hand it.
    """
    role, key = (
        "arn:aws:iam::123456789012:role/monitoring",
        "arn:aws:kms:eu-central-1:123456789012:key/1",
    )
    world.config["database"]["defaults"]["monitoring_role_arn"] = role
    world.apply(monitoring={"intervalSeconds": 60}, encryptionKey=key)
    world.until_ready()
    world.apply(monitoring={"intervalSeconds": 30}, encryptionKey=key)
    world.until_ready()
    policy = statements(
        "iam-policy.json",
        "iam-policy-monitoring.json",
        "iam-policy-encryption-key.json",
        ROLE=role,
        KEY=key,
    )
    needs = needs_in(recorder)
    assert {need.resource for need in needs} >= {role, key}
    assert {need for need in needs if not any(allows(each, need) for each in policy)} == set()
