"""Each field of a Database that RDS knows: made with it, changed, refused before RDS sees it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import boto3
import pytest
from kubestorm.clients.rds import ObservedInstance, RdsClient, connect
from kubestorm.core.secrets import make_password
from kubestorm.core.settings import AwsSettings, DatabaseDefaults, DatabaseSettings, NamespaceLimits
from kubestorm.core.spec_reader import InvalidSpecError
from kubestorm.kinds.database.plan import Create, Modify, Tag, plan_instance
from kubestorm.kinds.database.plan_changes import Refuse, create_parameters, modify_parameters
from kubestorm.kinds.database.plan_parameters import with_own_group
from kubestorm.kinds.database.spec import DatabaseSpec, parse_database

from sandbox.aws.server import AwsServer
from sandbox.clock import ManualClock

IDENTIFIER = "ks-test-default-orders"
UID = "11111111-2222-3333-4444-555555555555"
ROLE = "arn:aws:iam::123456789012:role/monitoring"
SETTINGS = DatabaseSettings(defaults=DatabaseDefaults(monitoring_role_arn=ROLE))
LARGE = {"sizeGiB": 400, "type": "gp3"}


class Case(NamedTuple):
    """`spec` and what RDS says then, another one and what it says then, and one that is refused,
    and how.
    """

    look: Callable[[ObservedInstance], Any]
    first: dict[str, Any]
    seen_first: Any
    second: dict[str, Any] | None
    seen_second: Any
    refused: dict[str, Any]
    says: str


CASES = {
    "engine": Case(
        lambda it: it.engine, {"engine": "mysql"}, "mysql", None, None, {"engine": "mariadb"},
        "mysql cannot become"
    ),
    "version": Case(
        lambda it: it.version.split(".")[0], {"version": "15"}, "15", {"version": "16"}, "16",
        {"version": "14"}, "cannot downgrade",
    ),
    "size": Case(
        lambda it: it.instance_class, {"size": "small"}, "db.t3.small", {"size": "huge"},
        "db.r6i.2xlarge",
        {"size": "gigantic"}, "spec.size: 'gigantic' is not offered",
    ),
    "storage.sizeGiB": Case(
        lambda it: it.storage_gib, {"storage": {"sizeGiB": 40}}, 40, {"storage": {"sizeGiB": 80}},
        80,
        {"storage": {"sizeGiB": 40}}, "cannot shrink storage from 80 to 40",
    ),
    "storage.type": Case(
        lambda it: (it.storage_type, it.iops), {"storage": {"type": "gp2", "sizeGiB": 100}},
        ("gp2", None),
        {"storage": {"type": "io1", "iops": 2000, "sizeGiB": 100}}, ("io1", 2000),
        {"storage": {"type": "standard"}}, "spec.storage.type: 'standard' is not offered",
    ),
    "storage.iops": Case(
        lambda it: it.iops, {"storage": {**LARGE, "iops": 12000}}, 12000,
        {"storage": {**LARGE, "iops": 16000}}, 16000,
        {"storage": {**LARGE, "iops": 4000}},
        "spec.storage.iops: 4000 is not between 12000 and 64000",
    ),
    "storage.throughputMiBps": Case(
        lambda it: it.throughput_mibps,
        {"storage": {**LARGE, "iops": 16000, "throughputMiBps": 500}}, 500,
        {"storage": {**LARGE, "iops": 16000, "throughputMiBps": 1000}}, 1000,
        {"storage": {**LARGE, "iops": 12000, "throughputMiBps": 3500}},
        "3500 is not between 500 and 3000",
    ),
    "storage.maxSizeGiB": Case(
        lambda it: it.max_storage_gib, {"storage": {"sizeGiB": 20, "maxSizeGiB": 100}}, 100,
        {"storage": {"sizeGiB": 20, "maxSizeGiB": 200}}, 200,
        {"storage": {"sizeGiB": 20, "maxSizeGiB": 21}},
        "21 is less than a tenth above storage.sizeGiB (20); set 22",
    ),
    "storage.maxSizeGiB-off": Case(
        lambda it: it.max_storage_gib, {"storage": {"sizeGiB": 20, "maxSizeGiB": 100}}, 100,
        {"storage": {"sizeGiB": 20, "maxSizeGiB": 0}}, None,
        {"storage": {"maxSizeGiB": -1}}, "-1 is not between 0 and",
    ),
    "multiAZ": Case(
        lambda it: it.multi_az, {"multiAZ": False}, False, {"multiAZ": True}, True,
        {"multiAZ": "yes"}, "must be true or false, not 'yes'",
    ),
    "backup.retentionDays": Case(
        lambda it: it.backup_retention_days, {"backup": {"retentionDays": 1}}, 1,
        {"backup": {"retentionDays": 0}}, 0,
        {"backup": {"retentionDays": 36}}, "36 is not between 0 and 35",
    ),
    "backup.window": Case(
        lambda it: it.backup_window, {"backup": {"window": "03:00-04:00"}}, "03:00-04:00",
        {"backup": {"window": "23:45-00:30"}}, "23:45-00:30",
        {"backup": {"window": "03:00-03:20"}}, "must be a window of half an hour",
    ),
    "maintenanceWindow": Case(
        lambda it: it.maintenance_window, {"maintenanceWindow": "sun:05:00-sun:06:00"},
        "sun:05:00-sun:06:00",
        {"maintenanceWindow": "sat:23:30-sun:00:30"}, "sat:23:30-sun:00:30",
        {"maintenanceWindow": "sat:03:30-sat:04:30", "backup": {"window": "04:00-05:00"}},
        "must not overlap",
    ),
    "databaseName": Case(
        lambda it: it.database_name, {"databaseName": "shop"}, "shop", None, None,
        {"databaseName": "store"}, "spec.databaseName: it is shop",
    ),
    "deletionProtection": Case(
        lambda it: it.deletion_protection, {"deletionProtection": False}, False,
        {"deletionProtection": True}, True,
        {"deletionProtection": 1}, "must be true or false, not 1",
    ),
    "subnetGroup": Case(
        lambda it: it.subnet_group, {"subnetGroup": "databases"}, "databases", None, None,
        {"subnetGroup": "elsewhere"}, "spec.subnetGroup: it is databases and cannot be changed",
    ),
    "securityGroups": Case(
        lambda it: it.security_groups, {"securityGroups": ["sg-1"]}, ("sg-1",),
        {"securityGroups": ["sg-2", "sg-3"]}, ("sg-2", "sg-3"),
        {"securityGroups": "sg-1"}, "must be a list, not 'sg-1'",
    ),
    "parameterGroup": Case(
        lambda it: it.parameter_group, {"parameterGroup": "one"}, "one", {"parameterGroup": "two"},
        "two",
        {"parameterGroup": "two", "parameters": {"work_mem": "1"}}, "remove one of them",
    ),
    "parameters": Case(
        lambda it: it.parameter_group, {"parameters": {"work_mem": "4096"}},
        f"{IDENTIFIER}-postgres16", None, None,
        {"parameters": {"work_mem": ["x"]}}, "spec.parameters.work_mem",
    ),
    "encryptionKey": Case(
        lambda it: it.encryption_key, {"encryptionKey": "key-1"}, "key-1", None, None,
        {"encryptionKey": "key-2"}, "spec.encryptionKey: it is key-1",
    ),
    "monitoring.intervalSeconds": Case(
        lambda it: it.monitoring_interval_seconds, {"monitoring": {"intervalSeconds": 0}}, 0,
        {"monitoring": {"intervalSeconds": 30}}, 30,
        {"monitoring": {"intervalSeconds": 7}}, "7 is not one of 0, 1, 5",
    ),
    "tags": Case(
        lambda it: (it.tags.get("team"), it.owner_uid),
        {"tags": {"team": "a", "kubestorm.io/uid": "me"}}, ("a", UID),
        {"tags": {"team": "b"}}, ("b", UID), {"tags": ["team"]}, "must be an object, not ['team']",
    ),
}  # fmt: skip


def parse(spec: dict[str, Any], settings: DatabaseSettings = SETTINGS) -> DatabaseSpec:
    """The spec of default/orders, postgres unless it says otherwise."""
    resource = {
        "metadata": {"name": "orders", "namespace": "default"},
        "spec": {"engine": "postgres", **spec},
    }
    return parse_database(resource, settings)


class Instance:
    """One instance, and the journey's decisions carried out on it, without the object around it."""

    def __init__(self, client: RdsClient, clock: ManualClock) -> None:
        self.client, self._clock = client, clock

    def bring_to(self, spec: DatabaseSpec) -> Refuse | None:
        """As the instance step does, until nothing is left to do; a refusal ends it."""
        tags = {**spec.tags, "kubestorm.io/uid": UID}
        for _ in range(8):
            observed = self.client.describe(IDENTIFIER)
            spec = with_own_group(spec, IDENTIFIER, observed)
            decisions = plan_instance(spec, observed, uid=UID, identifier=IDENTIFIER, tags=tags)
            if not decisions:
                return None
            for decision in decisions:
                if isinstance(decision, Refuse):
                    return decision
                if isinstance(decision, Create):
                    if "parameters" in spec.stated:
                        self.client.create_parameter_group(
                            spec.parameter_group or "", "postgres16", {}
                        )
                    password = make_password()
                    self.client.create(
                        IDENTIFIER,
                        create_parameters(spec),
                        username="dbadmin",
                        password=password,
                        tags=tags,
                    )
                assert observed or not isinstance(decision, (Modify, Tag))
                if observed and isinstance(decision, Modify):
                    self.client.modify(
                        IDENTIFIER, modify_parameters(spec, decision.changes, observed)
                    )
                if observed and isinstance(decision, Tag):
                    self.client.tag(observed.arn, decision.tags)
            self._clock.advance(100)
        raise AssertionError(f"it does not come to rest: {decisions}")

    def describe(self) -> ObservedInstance:
        found = self.client.describe(IDENTIFIER)
        assert found is not None
        return found


@pytest.fixture
def instance(aws: AwsServer, clock: ManualClock) -> Instance:
    """None yet, in an account with two subnet groups and two parameter groups."""
    rds = boto3.client("rds", endpoint_url=aws.url, region_name="eu-central-1")
    ec2 = boto3.client("ec2", endpoint_url=aws.url, region_name="eu-central-1")
    subnets = [each["SubnetId"] for each in ec2.describe_subnets()["Subnets"]]
    for name in ("databases", "elsewhere"):
        rds.create_db_subnet_group(
            DBSubnetGroupName=name, DBSubnetGroupDescription=name, SubnetIds=subnets
        )
    for name in ("one", "two"):
        rds.create_db_parameter_group(
            DBParameterGroupName=name, DBParameterGroupFamily="postgres16", Description=name
        )
    return Instance(
        connect(AwsSettings(region="eu-central-1", endpoint_url=aws.url, attempts=1)), clock
    )


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_field_is_carried_out_changed_and_refused(instance, aws, case):
    """RDS has what is written; what cannot be is refused without a call that changes anything."""
    assert instance.bring_to(parse(case.first)) is None
    assert case.look(instance.describe()) == case.seen_first
    if case.second is not None:
        assert instance.bring_to(parse(case.second)) is None
        assert case.look(instance.describe()) == case.seen_second
    before = instance.describe()
    aws.throttle_next(1, "ModifyDBInstance")
    assert case.says in refusal_of(instance, case.refused)
    assert instance.describe() == before
    assert aws.throttle.refused == 0, "RDS was asked for what was refused"


def refusal_of(instance: Instance, spec: dict[str, Any]) -> str:
    """What the developer is told, by the parser or by the comparison with what exists."""
    try:
        refusal = instance.bring_to(parse(spec))
    except InvalidSpecError as error:
        return str(error)
    assert refusal is not None
    assert refusal.change, "the instance goes on serving"
    return refusal.message


TOO_LITTLE = {
    "iops of a small gp3": (
        {"storage": {"sizeGiB": 100}},
        {"storage": {"iops": 12000, "type": "gp3"}, "adopt": IDENTIFIER},
        "gp3 of 100 GiB cannot have",
    ),
    "iops of gp2": (
        {"storage": {"sizeGiB": 100, "type": "gp2"}},
        {"storage": {"iops": 12000}, "adopt": IDENTIFIER},
        "type gp2 has no IOPS",
    ),
    "io1 of a small disk": (
        {"storage": {"sizeGiB": 50}},
        {"storage": {"type": "io1", "iops": 1000}, "adopt": IDENTIFIER},
        "io1 of 50 GiB cannot have",
    ),
    "a ceiling below what it has": (
        {"storage": {"sizeGiB": 100}},
        {"storage": {"maxSizeGiB": 105}, "adopt": IDENTIFIER},
        "105 GiB is too small for a disk of 100 GiB; give 110",
    ),
}


@pytest.mark.parametrize("first, second, says", TOO_LITTLE.values(), ids=TOO_LITTLE.keys())
def test_what_the_disk_as_it_is_cannot_have_is_refused(instance, aws, first, second, says):
    """Also where the resource does not say how large the disk is, so that only RDS knows."""
    assert instance.bring_to(parse(first)) is None
    settings = DatabaseSettings(defaults=DatabaseDefaults(storage_type="gp3"))
    aws.throttle_next(1, "ModifyDBInstance")
    refusal = instance.bring_to(parse(second, settings))
    assert refusal is not None
    assert says in refusal.message
    assert aws.throttle.refused == 0


def test_growing_past_the_bound_of_gp3_sends_no_iops_that_nobody_chose(instance):
    """Below 400 GiB RDS reports what it gives by itself, which it would refuse above."""
    assert instance.bring_to(parse({"storage": {"sizeGiB": 100}})) is None
    assert instance.bring_to(parse({"storage": {"sizeGiB": 500}})) is None
    assert instance.describe().storage_gib == 500


LIMITS = NamespaceLimits(
    namespaces=("default",),
    sizes=("small",),
    engines=("postgres",),
    max_storage_gib=100,
    deletion_policies=("Retain",),
    fixed_fields=("subnetGroup",),
    allowed_values={
        "storage.type": ("gp3",),
        "version": ("16",),
        "securityGroups": ("sg-1",),
        "multiAZ": (False,),
    },
    ranges={"backup.retentionDays": (1, 7), "monitoring.intervalSeconds": (0, 0)},
)
LIMITED = {
    "engine": ({"engine": "mysql"}, "spec.engine: 'mysql' is not offered here; allowed: postgres"),
    "size": ({"size": "huge"}, "spec.size: 'huge' is not offered here; allowed: small"),
    "max_storage_gib": (
        {"storage": {"sizeGiB": 200}},
        "spec.storage.sizeGiB: 200 is not between 20 and 100",
    ),
    "ceiling": (
        {"storage": {"maxSizeGiB": 200}},
        "spec.storage.maxSizeGiB: 200 is not between 0 and 100",
    ),
    "policy": (
        {"deletionPolicy": "Delete"},
        "spec.deletionPolicy: 'Delete' is not offered here; allowed: Retain",
    ),
    "fixed": (
        {"subnetGroup": "mine"},
        "spec.subnetGroup: is set by operations in namespace default",
    ),
    "type": (
        {"storage": {"type": "gp2"}},
        "spec.storage.type: gp2 is not offered in namespace default; allowed: gp3",
    ),
    "version": (
        {"version": "15"},
        "spec.version: 15 is not offered in namespace default; allowed: 16",
    ),
    "list": ({"securityGroups": ["sg-1", "sg-9"]}, "spec.securityGroups: sg-9 is not offered"),
    "truth": ({"multiAZ": True}, "spec.multiAZ: True is not offered"),
    "range": (
        {"backup": {"retentionDays": 14}},
        "spec.backup.retentionDays: 14 is not between 1 and 7",
    ),
    "monitoring": (
        {"monitoring": {"intervalSeconds": 60}},
        "spec.monitoring.intervalSeconds: 60 is not between 0",
    ),
}


@pytest.mark.parametrize("spec, says", LIMITED.values(), ids=LIMITED.keys())
def test_operations_may_limit_each_field_by_namespace(spec, says):
    """What is stated beyond the limits is refused with what is offered; elsewhere it may be
    written.
    """
    limited = DatabaseSettings(
        limits=(LIMITS,), defaults=DatabaseDefaults(monitoring_role_arn=ROLE)
    )
    with pytest.raises(InvalidSpecError) as caught:
        parse(spec, limited)
    assert says in str(caught.value)
    assert parse(spec)


def test_monitoring_without_a_role_is_refused():
    """RDS would refuse it, in words that a developer can do nothing about."""
    with pytest.raises(InvalidSpecError, match="operations have not set up enhanced monitoring"):
        parse({"monitoring": {"intervalSeconds": 60}}, DatabaseSettings())


def test_a_restored_database_has_no_key_of_its_own():
    """Known before the restore, and not after hours of it."""
    with pytest.raises(InvalidSpecError, match="keeps the key of its snapshot"):
        parse({"encryptionKey": "key-2", "restoreFrom": {"snapshot": "kept"}})
