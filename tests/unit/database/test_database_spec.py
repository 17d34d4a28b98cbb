"""What a Database may ask for, and the sentence that refuses what it may not."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubestorm.core.settings import DatabaseDefaults, DatabaseSettings, EngineOffer, NamespaceLimits
from kubestorm.core.spec_reader import InvalidSpecError
from kubestorm.kinds.database.spec import PointInTime, parse_database

SETTINGS = DatabaseSettings(
    sizes={"small": "db.t3.small", "huge": "db.r6i.2xlarge"},
    engines={"postgres": EngineOffer(("16", "15")), "mysql": EngineOffer(("8.0",))},
    defaults=DatabaseDefaults(size="small", subnet_group="databases"),
    limits=(
        NamespaceLimits(
            namespaces=("dev-*",),
            sizes=("small",),
            max_storage_gib=50,
            fixed_fields=("subnetGroup",),
        ),
        NamespaceLimits(namespaces=("*",), deletion_policies=("Retain", "Snapshot")),
    ),
    label_overrides={"example.com/size": "size", "example.com/disk": "storage.sizeGiB"},
)


def test_the_least_resource_gets_what_operations_decided(resource):
    """Only the engine is stated; the rest are the defaults."""
    spec = parse_database(resource(), SETTINGS)
    assert (spec.version, spec.size, spec.instance_class) == ("16", "small", "db.t3.small")
    assert (spec.storage_gib, spec.deletion_policy, spec.subnet_group) == (
        20,
        "Retain",
        "databases",
    )
    assert spec.database_name == "orders"
    assert spec.stated == {"engine"}


@pytest.mark.parametrize(
    "spec, field, says",
    [
        pytest.param({"engine": "oracle"}, "spec.engine", "postgres, mysql", id="unknown-engine"),
        pytest.param({"engine": None}, "spec.engine", "is required", id="no-engine"),
        pytest.param({"version": "9.6"}, "spec.version", "16, 15", id="version-not-offered"),
        pytest.param({"size": "enormous"}, "spec.size", "small, huge", id="size-not-offered"),
        pytest.param(
            {"storage": {"sizeGiB": 5}}, "spec.storage.sizeGiB", "20", id="storage-below-minimum"
        ),
        pytest.param(
            {"storage": {"sizeGiB": "40"}},
            "spec.storage.sizeGiB",
            "must be an integer, not '40'",
            id="storage-as-text",
        ),
        pytest.param(
            {"storage": {"sizeGiB": 40, "maxSizeGiB": 40}},
            "spec.storage.maxSizeGiB",
            "above",
            id="ceiling-too-low",
        ),
        pytest.param(
            {"storage": {"type": "io1"}}, "spec.storage.iops", "is required", id="io1-without-iops"
        ),
        pytest.param(
            {"storage": {"type": "gp2", "iops": 3000}},
            "spec.storage.iops",
            "gp2",
            id="gp2-with-iops",
        ),
        pytest.param(
            {"deletionPolicy": "Delete"},
            "spec.deletionPolicy",
            "Retain, Snapshot",
            id="policy-not-allowed",
        ),
        pytest.param(
            {"databaseName": "9lives"}, "spec.databaseName", "letter first", id="bad-database-name"
        ),
        pytest.param(
            {"backup": {"retentionDays": 36}},
            "spec.backup.retentionDays",
            "35",
            id="backups-too-long",
        ),
        pytest.param(
            {"restoreFrom": {"snapshot": "s", "pointInTime": {"sourceInstance": "i"}}},
            "spec.restoreFrom",
            "exactly one",
            id="snapshot-and-point-in-time",
        ),
        pytest.param(
            {"restoreFrom": {"snapshot": "s"}, "adopt": "old"},
            "spec.restoreFrom",
            "adopt",
            id="restore-and-adopt",
        ),
        pytest.param(
            {"multiAZ": "yes"},
            "spec.multiAZ",
            "must be true or false, not 'yes'",
            id="truth-as-text",
        ),
    ],
)
def test_a_problem_names_its_field_and_what_would_be_right(resource, spec, field, says):
    """The condition's message is what the developer acts on."""
    with pytest.raises(InvalidSpecError) as caught:
        parse_database(resource(**spec), SETTINGS)
    assert [problem.field for problem in caught.value.problems] == [field]
    assert says in str(caught.value)


def test_all_problems_are_found_at_once(resource):
    """Nobody wants to hear of the second mistake after mending the first."""
    with pytest.raises(InvalidSpecError) as caught:
        parse_database(resource(engine="oracle", size="enormous", storage={"sizeGiB": 1}), SETTINGS)
    assert [problem.field for problem in caught.value.problems] == [
        "spec.engine",
        "spec.size",
        "spec.storage.sizeGiB",
    ]


def test_the_first_limits_that_fit_the_namespace_count(resource):
    """dev-* may have no huge database, a small disk and no subnet group of its own."""
    with pytest.raises(InvalidSpecError) as caught:
        parse_database(
            resource(namespace="dev-1", size="huge", storage={"sizeGiB": 51}, subnetGroup="mine"),
            SETTINGS,
        )
    fields = {problem.field for problem in caught.value.problems}
    assert fields == {"spec.size", "spec.storage.sizeGiB", "spec.subnetGroup"}
    assert (
        parse_database(
            resource(namespace="dev-1", deletionPolicy="Delete"), SETTINGS
        ).deletion_policy
        == "Delete"
    )


def test_a_label_decides_where_the_spec_says_nothing(resource):
    """spec, then label, then default."""
    labels = {"example.com/size": "huge", "example.com/disk": "40"}
    from_label = parse_database(resource(labels=labels), SETTINGS)
    assert (from_label.size, from_label.storage_gib) == ("huge", 40)
    assert parse_database(resource(labels=labels, size="small"), SETTINGS).size == "small"


def test_a_restore_from_a_point_in_time_is_read(resource):
    """Without a time it is the latest possible."""
    source = {"pointInTime": {"sourceInstance": "old"}}
    assert parse_database(resource(restoreFrom=source), SETTINGS).restore_point == PointInTime(
        "old", None
    )


KEYS = ["sizeGiB", "type", "iops", "snapshot", "pointInTime", "sourceInstance", "intervalSeconds"]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["", "x", "16", "gp2"]),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3)
    ),
    max_leaves=5,
)
FIELDS = [
    "engine",
    "version",
    "size",
    "storage",
    "multiAZ",
    "backup",
    "adopt",
    "databaseName",
    "tags",
    "restoreFrom",
]


@given(
    spec=st.dictionaries(st.sampled_from([*FIELDS, "securityGroups", "monitoring"]), json_values)
)
def test_whatever_is_in_the_spec_is_parsed_or_refused(spec):
    """No input makes the parser stumble: it returns a value or says what is wrong."""
    resource = {"metadata": {"name": "orders", "namespace": "default"}, "spec": spec}
    with contextlib.suppress(InvalidSpecError):
        assert parse_database(resource, SETTINGS).instance_class
