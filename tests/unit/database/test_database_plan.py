"""What is decided when an instance is compared with what is asked for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubestorm.clients.rds import ObservedInstance
from kubestorm.kinds.database import plan_changes
from kubestorm.kinds.database.plan import Create, Modify, RotatePassword, Tag, Wait, plan_instance
from kubestorm.kinds.database.plan_changes import Change, Refuse

UID = "11111111-2222-3333-4444-555555555555"
IDENTIFIER = "ks-test-default-orders"


def decide(spec, observed, **more):
    """Plan with the tags that the instance carries."""
    values = {
        "uid": UID,
        "identifier": IDENTIFIER,
        "tags": observed.tags if observed else {},
        **more,
    }
    return plan_instance(spec, observed, **values)


def test_what_is_not_there_is_created(parsed):
    """The first run."""
    assert decide(parsed(), None) == (Create(),)


def test_what_is_as_asked_is_left_alone(parsed, observed):
    """The second run."""
    assert decide(parsed(size="small", version="16", storage={"sizeGiB": 20}), observed()) == ()


@pytest.mark.parametrize(
    "spec, change",
    [
        pytest.param(
            {"size": "huge"},
            Change("size", "DBInstanceClass", "db.t3.small", "db.r6i.2xlarge"),
            id="resize",
        ),
        pytest.param(
            {"storage": {"sizeGiB": 40}},
            Change("storage.sizeGiB", "AllocatedStorage", 20, 40),
            id="more-storage",
        ),
        pytest.param({"multiAZ": True}, Change("multiAZ", "MultiAZ", False, True), id="standby"),
        pytest.param(
            {"backup": {"retentionDays": 1}},
            Change("backup.retentionDays", "BackupRetentionPeriod", 7, 1),
            id="backups",
        ),
        pytest.param(
            {"securityGroups": ["sg-1"]},
            Change("securityGroups", "VpcSecurityGroupIds", (), ("sg-1",)),
            id="security-groups",
        ),
    ],
)
def test_a_difference_is_one_change(parsed, observed, spec, change):
    """Nothing but the field that differs is sent."""
    assert decide(parsed(**spec), observed()) == (Modify((change,)),)


def test_a_changed_default_changes_no_existing_instance(parsed, observed):
    """An instance that operations would make differently today is left as it is until its resource
    asks.
    """
    other = observed(instance_class="db.m6i.large", storage_gib=500, version="14.9", multi_az=True)
    assert decide(parsed(), other) == ()


@pytest.mark.parametrize(
    "spec, found, reason, says",
    [
        pytest.param(
            {"storage": {"sizeGiB": 20}},
            {"storage_gib": 40},
            "StorageShrinkRefused",
            "40",
            id="shrink",
        ),
        pytest.param({"version": "15"}, {}, "DowngradeRefused", "16.3", id="downgrade"),
        pytest.param({}, {"engine": "mysql"}, "EngineChangeRefused", "spec.engine", id="engine"),
        pytest.param(
            {"databaseName": "other"}, {}, "ImmutableField", "spec.databaseName", id="database-name"
        ),
        pytest.param(
            {"size": "huge"},
            {"status": "storage-full"},
            "InstanceBroken",
            "storage-full",
            id="broken",
        ),
        pytest.param({}, {"tags": {}}, "ForeignInstance", "spec.adopt", id="somebody-elses"),
        pytest.param(
            {},
            {"tags": {"kubestorm.io/uid": "other"}},
            "ForeignInstance",
            "other",
            id="another-databases",
        ),
        pytest.param(
            {"adopt": IDENTIFIER},
            {"tags": {"kubestorm.io/uid": "x"}},
            "ForeignInstance",
            "first",
            id="adopt-taken",
        ),
    ],
)
def test_what_cannot_be_is_refused_before_any_call(parsed, observed, spec, found, reason, says):
    """One refusal, and nothing else of the change is carried out."""
    (decision,) = decide(parsed(**spec), observed(**found))
    assert isinstance(decision, Refuse)
    assert decision.reason == reason
    assert says in decision.message


def test_storage_that_grew_by_itself_is_no_shrinking(parsed, observed):
    """RDS raised it within the ceiling that was given."""
    assert (
        decide(
            parsed(storage={"sizeGiB": 20, "maxSizeGiB": 100}),
            observed(storage_gib=60, max_storage_gib=100),
        )
        == ()
    )


@pytest.mark.parametrize(
    "status, reason",
    [("creating", "Creating"), ("modifying", "Modifying"), ("backing-up", "BackingUp")],
)
def test_a_change_waits_while_aws_is_busy(parsed, observed, status, reason):
    """Nothing is sent to an instance in transition."""
    (decision,) = decide(parsed(size="huge"), observed(status=status))
    assert isinstance(decision, Wait)
    assert decision.reason == reason
    assert not decision.settled


def test_a_change_that_rds_has_taken_is_not_sent_again(parsed, observed):
    """PendingModifiedValues hold it already; what waits for the window does not keep it from being
    Ready.
    """
    taken = observed(pending={"DBInstanceClass": "db.r6i.2xlarge"})
    (soon,) = decide(parsed(size="huge"), taken)
    assert (type(soon), soon.settled) == (Wait, False)
    (later,) = decide(parsed(size="huge"), taken, apply_immediately=False)
    assert (later.reason, later.settled) == ("PendingMaintenance", True)


def test_an_adopted_instance_is_only_tagged(parsed, observed):
    """It comes under management without being changed."""
    tags = {"kubestorm.io/uid": UID}
    decision = decide(parsed(adopt=IDENTIFIER), observed(tags={}, storage_gib=99), tags=tags)
    assert decision == (Tag(tags),)


def test_newer_credentials_in_vault_are_given_to_the_instance(parsed, observed):
    """The tag says which version it was given."""
    given = observed(tags={"kubestorm.io/uid": UID, "kubestorm.io/credentials-version": "1"})
    assert decide(parsed(), given, credentials_version=2) == (RotatePassword(2),)
    assert decide(parsed(), given, credentials_version=1) == ()


def test_a_missing_instance_is_not_adopted(parsed):
    """A wrong name must not make a new, empty database."""
    (decision,) = decide(parsed(adopt="gone"), None)
    assert decision.reason == "AdoptedInstanceMissing"


@pytest.mark.parametrize(
    "engine, old, new, major",
    [
        ("postgres", "16.3", "16.4", False),
        ("postgres", "15.2", "16", True),
        ("mysql", "8.0.35", "8.0.36", False),
        ("mysql", "8.0.35", "8.4", True),
        ("mariadb", "10.6.1", "10.11", True),
    ],
)
def test_major_upgrades_are_told_from_minor_ones(engine, old, new, major):
    """RDS refuses a major one unless it is said to be one."""
    assert plan_changes.is_major_upgrade(engine, old, new) is major


@given(
    size=st.sampled_from(
        [("small", "db.t3.small"), ("medium", "db.t3.medium"), ("huge", "db.r6i.2xlarge")]
    ),
    storage=st.integers(20, 500),
    found_storage=st.integers(20, 500),
    multi_az=st.booleans(),
    retention=st.integers(0, 35),
)
def test_carrying_out_a_plan_leaves_nothing_to_plan(
    size, storage, found_storage, multi_az, retention
):
    """Reconciling twice ends the same way as once, or is refused both times."""
    from dataclasses import replace

    from kubestorm.core.settings import DatabaseSettings
    from kubestorm.kinds.database.spec import parse_database

    resource = {
        "metadata": {"name": "orders", "namespace": "default"},
        "spec": {
            "engine": "mysql",
            "size": size[0],
            "storage": {"sizeGiB": storage},
            "multiAZ": multi_az,
            "backup": {"retentionDays": retention},
        },
    }
    spec = parse_database(resource, DatabaseSettings())
    instance = ObservedInstance(
        identifier=IDENTIFIER, status="available", engine="mysql", version="8.0.36",
        instance_class="db.t3.small",
        storage_gib=found_storage, storage_type="gp3", iops=None, max_storage_gib=None,
        multi_az=False,
        backup_retention_days=7, backup_window=None, maintenance_window=None,
        database_name="orders",
        username="dbadmin", deletion_protection=False, subnet_group=None, security_groups=(),
        parameter_group=None,
        encryption_key=None, monitoring_interval_seconds=0, host="h", port=3306,
        tags={"kubestorm.io/uid": UID},
    )  # fmt: skip
    decisions = decide(spec, instance)
    assert all(isinstance(item, (Modify, Refuse)) for item in decisions)
    names = {
        "DBInstanceClass": "instance_class",
        "AllocatedStorage": "storage_gib",
        "MultiAZ": "multi_az",
        "BackupRetentionPeriod": "backup_retention_days",
    }
    for decision in decisions:
        if isinstance(decision, Modify):
            instance = replace(
                instance, **{names[change.parameter]: change.new for change in decision.changes}
            )
            decisions = decide(spec, instance)
            assert decisions == ()
        else:
            assert storage < found_storage
