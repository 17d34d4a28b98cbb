"""What can be changed later, what waits for a reboot or a window, and what is refused while the old
one serves on.
"""

from __future__ import annotations

import boto3
import pytest


@pytest.fixture
def rds(aws):
    """Somebody else's plain client."""
    return boto3.client("rds", endpoint_url=aws.url, region_name="eu-central-1")


def instance(world):
    return world.get()["status"]["instanceIdentifier"]


def message(world, kind):
    return next(
        item["message"] for item in world.get()["status"]["conditions"] if item["type"] == kind
    )


def values(rds, group):
    found = rds.describe_db_parameters(DBParameterGroupName=group, Source="user")["Parameters"]
    return {item["ParameterName"]: item["ParameterValue"] for item in found}


def test_parameters_live_in_a_group_of_the_instances_own(world, rds):
    """Made before the instance, written when they change, taken back when they go, removed with the
    instance.
    """
    world.apply(parameters={"work_mem": 8192, "rds.force_ssl": 1}, deletionPolicy="Snapshot")
    world.until_ready()
    group = f"{instance(world)}-postgres16"
    assert world.get()["status"]["parameterGroup"] == group
    assert world.services().rds.describe(instance(world)).parameter_group == group
    assert values(rds, group) == {"work_mem": "8192", "rds.force_ssl": "1"}
    world.apply(parameters={"work_mem": "4096", "max_connections": 50}, deletionPolicy="Snapshot")
    world.until_ready()
    assert values(rds, group) == {"work_mem": "4096", "max_connections": "50"}
    world.reconcile()
    assert world.get()["status"]["pending"] == [f"a reboot, for parameter group {group}"]
    assert "a reboot" in message(world, "InstanceAvailable")
    rds.reboot_db_instance(DBInstanceIdentifier=instance(world))
    world.let_aws_finish()
    world.until_ready()
    assert "pending" not in world.get()["status"]
    world.delete()
    for _ in range(12):
        world.reconcile()
        if world.get() is None:
            break
        world.let_aws_finish()
    assert world.get() is None
    with pytest.raises(rds.exceptions.DBParameterGroupNotFoundFault):
        rds.describe_db_parameter_groups(DBParameterGroupName=group)


@pytest.mark.parametrize("name", ["wrok_mem", "server_version"])
def test_a_parameter_that_cannot_be_set_is_refused_by_name(world, rds, name):
    """For a new database and for one that serves; nothing is written to the group."""
    world.apply(parameters={name: "1"})
    world.reconcile()
    assert world.condition("SpecValid") == ("False", "ParametersRefused")
    assert f"spec.parameters.{name}" in message(world, "Ready")
    world.apply(parameters={"work_mem": "4096"})
    world.until_ready()
    world.apply(parameters={"work_mem": "1", name: "1"})
    world.reconcile()
    assert world.condition("Ready") == ("False", "ParametersRefused")
    assert world.condition("InstanceAvailable") == ("True", "Available")
    assert values(rds, world.get()["status"]["parameterGroup"]) == {"work_mem": "4096"}


def test_a_major_upgrade_takes_the_parameters_along(world, rds):
    """A group cannot change its family: the instance gets another, and the former goes."""
    world.apply(version="15", parameters={"work_mem": "4096"})
    world.until_ready()
    former = world.get()["status"]["parameterGroup"]
    world.apply(version="16", parameters={"work_mem": "4096"})
    world.until_ready()
    world.reconcile()
    observed = world.services().rds.describe(instance(world))
    assert observed.version.startswith("16")
    assert observed.parameter_group == f"{instance(world)}-postgres16" != former
    with pytest.raises(rds.exceptions.DBParameterGroupNotFoundFault):
        rds.describe_db_parameter_groups(DBParameterGroupName=former)


REFUSED = {
    "shrink": ({"storage": {"sizeGiB": 20}}, "StorageShrinkRefused", "40"),
    "downgrade": ({"version": "15"}, "DowngradeRefused", "spec.version"),
    "engine": ({"engine": "mysql", "version": "8.0"}, "EngineChangeRefused", "spec.engine"),
    "by-aws": (
        {"securityGroups": ["sg-1"], "parameterGroup": "not-there"},
        "ChangeRefused",
        "not-there",
    ),
}


@pytest.mark.parametrize("spec, reason, says", REFUSED.values(), ids=REFUSED.keys())
def test_a_refused_change_does_not_hide_that_the_old_one_serves(world, spec, reason, says):
    """Ready is False with the reason, InstanceAvailable stays True; looking again does not waver,
    undoing it heals.
    """
    first = {"storage": {"sizeGiB": 40}}
    world.apply(**first)
    world.until_ready()
    world.apply(**{**first, **spec})
    world.reconcile()
    for _ in range(2):
        assert world.condition("SpecValid") == ("False", reason)
        assert world.condition("Ready") == ("False", reason)
        assert says in message(world, "Ready")
        assert world.condition("InstanceAvailable") == ("True", "Available")
        before = world.get()
        world.reconcile()
        assert world.get() == before, "looking again says the same, word for word"
    world.apply(**first)
    world.until_ready()


def test_what_waits_for_the_maintenance_window_is_shown(world):
    """A change that operations leave to the window, and AWS's own maintenance; neither keeps it
    from being Ready.
    """
    world.config["database"]["apply_immediately"] = False
    world.apply()
    world.until_ready()
    world.apply(size="large")
    world.aws.announce_maintenance(instance(world), "system-update", "New operating system patch")
    world.reconcile()
    world.until_ready()
    assert world.condition("InstanceAvailable") == ("True", "PendingMaintenance")
    assert world.get()["status"]["pending"] == [
        "DBInstanceClass becomes db.m6i.large",
        "system-update: New operating system patch",
    ]
    world.aws.run_maintenance()
    world.let_aws_finish()
    world.until_ready()
    assert world.condition("InstanceAvailable") == ("True", "Available")
    assert "pending" not in world.get()["status"]


CHANGES = {
    "standby": ({"multiAZ": True}, "multi_az", True),
    "iops": ({"storage": {"sizeGiB": 100, "type": "io1", "iops": 3000}}, "iops", 3000),
    "ceiling": ({"storage": {"sizeGiB": 20, "maxSizeGiB": 200}}, "max_storage_gib", 200),
    "backups": ({"backup": {"retentionDays": 3}}, "backup_retention_days", 3),
    "window": ({"backup": {"window": "01:00-02:00"}}, "backup_window", "01:00-02:00"),
    "maintenance": (
        {"maintenanceWindow": "tue:04:00-tue:05:00"},
        "maintenance_window",
        "tue:04:00-tue:05:00",
    ),
    "protection": ({"deletionProtection": True}, "deletion_protection", True),
    "monitoring": ({"monitoring": {"intervalSeconds": 60}}, "monitoring_interval_seconds", 60),
    "upgrade": ({"version": "16"}, "version", "16"),
}


@pytest.mark.parametrize("spec, field, value", CHANGES.values(), ids=CHANGES.keys())
def test_a_change_arrives_and_a_second_look_finds_nothing(world, spec, field, value):
    """Each field that can change, against an RDS that takes its time."""
    world.config["database"]["defaults"]["monitoring_role_arn"] = (
        "arn:aws:iam::123456789012:role/monitoring"
    )
    world.apply(version="15")
    world.until_ready()
    world.apply(**{"version": "15", **spec})
    world.until_ready()
    found = getattr(world.services().rds.describe(instance(world)), field)
    assert found == value or (field == "version" and found.startswith("16."))
    assert world.reconcile()["instance"]["decisions"] == []


def test_a_minor_upgrade_that_aws_made_is_kept_and_told(world, rds):
    """AutoMinorVersionUpgrade, which the pack asks for: it is no downgrade, and a later change is
    made.
    """
    world.config["database"]["engines"] = {"postgres": {"versions": ["16", "16.3", "15"]}}
    world.apply(version="16.3", storage={"sizeGiB": 20, "maxSizeGiB": 100})
    world.until_ready()
    rds.modify_db_instance(
        DBInstanceIdentifier=instance(world), EngineVersion="16.4", ApplyImmediately=True
    )
    world.let_aws_finish()
    world.until_ready()
    assert world.get()["status"]["engineVersion"] == "16.4"
    world.apply(version="16.3", size="large", storage={"sizeGiB": 20, "maxSizeGiB": 100})
    world.until_ready()
    observed = world.services().rds.describe(instance(world))
    assert (observed.instance_class, observed.version) == ("db.m6i.large", "16.4")
