"""What counts as drift, what as a leftover on purpose, and what may be repaired."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubestorm.clients.rds import ObservedParameter
from kubestorm.kinds.database.drift.values import CONSUL, EXTRA, MISSING, RDS, VAULT, ObservedState

from tests.unit.drift.conftest import (
    IDENTIFIER,
    PLACE,
    PUBLISHED,
    TAGS,
    UID,
    VAULT_PATH,
    judge,
    make_desired,
    make_instance,
    make_state,
)

OTHER = "99999999-2222-3333-4444-555555555555"
ADDRESS = ("database", "host", "port", "username", "vault_path")
RETAINED = {**TAGS, "kubestorm.io/retained": UID}

GROUP = f"{IDENTIFIER}-postgres16"
WITH_GROUP = (make_instance(parameter_group=GROUP),)
PARAMETERS = make_desired(spec={"parameters": {"work_mem": "4096", "rds.force_ssl": "1"}})


def in_group(**values):
    """What is set in the instance's own group."""
    return {
        GROUP: {
            name.replace("__", "."): ObservedParameter(value, True, False)
            for name, value in values.items()
        }
    }


DATABASE_CASES = {
    "parameters as written": (
        PARAMETERS,
        make_state(instances=WITH_GROUP, parameters=in_group(work_mem="4096", rds__force_ssl="1")),
        [],
    ),
    "parameters changed, taken out and added by hand": (
        PARAMETERS,
        make_state(instances=WITH_GROUP, parameters=in_group(work_mem="1", max_connections="9")),
        [
            (RDS, "parameters.max_connections", "extra", True),
            (RDS, "parameters.rds.force_ssl", "missing", True),
            (RDS, "parameters.work_mem", "different", True),
        ],
    ),
    "another parameter group than its own": (
        PARAMETERS,
        make_state(),
        [(RDS, "parameterGroup", "different", True)],
    ),
    "parameters that the resource does not state": (
        make_desired(),
        make_state(instances=WITH_GROUP, parameters=in_group(work_mem="1")),
        [],
    ),
    "a rotation at work": (
        make_desired(rotation_due=True),
        make_state(pending=frozenset([PLACE])),
        [],
    ),
    "a copy that a rotation left": (
        make_desired(),
        make_state(pending=frozenset([PLACE])),
        [(VAULT, "pending", "extra", True)],
    ),
    "all as wished": (make_desired(), make_state(), []),
    "another class": (
        make_desired(),
        make_state(instances=(make_instance(instance_class="db.t3.large"),)),
        [(RDS, "size", "different", True)],
    ),
    "a change that RDS has accepted": (
        make_desired(),
        make_state(
            instances=(
                make_instance(
                    instance_class="db.t3.large", pending={"DBInstanceClass": "db.t3.small"}
                ),
            )
        ),
        [],
    ),
    "what the resource does not state": (
        make_desired(),
        make_state(instances=(make_instance(multi_az=True),)),
        [],
    ),
    "storage that cannot shrink": (
        make_desired(spec={"storage": {"sizeGiB": 20}}),
        make_state(instances=(make_instance(storage_gib=100),)),
        [(RDS, "StorageShrinkRefused", "different", False)],
    ),
    "a stopped instance": (
        make_desired(),
        make_state(instances=(make_instance(status="stopped"),)),
        [(RDS, "status", "different", False)],
    ),
    "a tag that was taken away": (
        make_desired(),
        make_state(instances=(make_instance(tags={"kubestorm.io/uid": UID}),)),
        [
            (RDS, f"tags.kubestorm.io/{name}", "different", True)
            for name in ("cluster", "name", "namespace")
        ],
    ),
    "somebody else's instance": (
        make_desired(),
        make_state(
            instances=(make_instance(tags={**TAGS, "kubestorm.io/uid": OTHER}),), published={}
        ),
        [
            (RDS, "tags.kubestorm.io/uid", "different", False),
            *((CONSUL, key, "missing", False) for key in ("host", "port", "vault_path")),
        ],
    ),
    "no instance": (
        make_desired(),
        make_state(instances=()),
        [(RDS, "instance", "missing", False)],
    ),
    "no keys": (
        make_desired(),
        make_state(published={}),
        [(CONSUL, key, "missing", True) for key in ADDRESS],
    ),
    "another host": (
        make_desired(),
        make_state(published={PLACE: {**PUBLISHED, "host": "elsewhere"}}),
        [(CONSUL, "host", "different", True)],
    ),
    "no secret": (make_desired(), make_state(secrets={}), [(VAULT, "secret", "missing", True)]),
    "no secret of an adopted one": (
        make_desired(spec={"adopt": IDENTIFIER}),
        make_state(secrets={}),
        [(VAULT, "secret", "missing", False)],
    ),
    "a newer secret": (
        make_desired(),
        make_state(secrets={PLACE: 2}),
        [(VAULT, "version", "different", True)],
    ),
    "being made": (make_desired(under_way="it is not there yet"), ObservedState(), []),
    "nothing can be asked": (
        make_desired(),
        ObservedState(None, frozenset(), None, None, {RDS: "away"}),
        [],
    ),
    "RDS cannot be asked": (
        make_desired(),
        make_state(
            instances=None, published={PLACE: {**PUBLISHED, "port": "1"}}, unknown={RDS: "away"}
        ),
        [(CONSUL, "port", "different", False)],
    ),
}


@pytest.mark.parametrize(
    "desired, state, expected", DATABASE_CASES.values(), ids=DATABASE_CASES.keys()
)
def test_a_database_against_the_world(rows, desired, state, expected):
    """Service, field, direction, and whether a run mends it."""
    assert rows(judge([desired], state)) == sorted(expected)


ORPHAN_CASES = {
    "everything of a forgotten one": (
        make_state(),
        {(RDS, IDENTIFIER), (VAULT, VAULT_PATH), (CONSUL, "kubestorm/test/default/orders/")},
        set(),
    ),
    "retained": (
        make_state(instances=(make_instance(tags=RETAINED),)),
        set(),
        {RDS, VAULT, CONSUL},
    ),
    "a secret beside its snapshot": (
        make_state(instances=(), published={}, snapshots=frozenset((PLACE,))),
        set(),
        {VAULT},
    ),
    "keys beside a snapshot": (
        make_state(instances=(), secrets={}, snapshots=frozenset((PLACE,))),
        {(CONSUL, "kubestorm/test/default/orders/")},
        set(),
    ),
    "an instance of another cluster": (
        ObservedState(instances=(make_instance(tags={**TAGS, "kubestorm.io/cluster": "prod"}),)),
        set(),
        set(),
    ),
    "an instance that lost its tags": (
        ObservedState(instances=(make_instance(tags={}),)),
        {(RDS, IDENTIFIER)},
        set(),
    ),
    "an instance that is not ours": (
        ObservedState(instances=(make_instance(identifier="theirs", tags={}),)),
        set(),
        set(),
    ),
    "an instance that is being deleted": (
        ObservedState(instances=(make_instance(status="deleting"),)),
        set(),
        set(),
    ),
    "RDS cannot be asked": (make_state(instances=None, unknown={RDS: "away"}), set(), set()),
}


@pytest.mark.parametrize("state, extra, kept", ORPHAN_CASES.values(), ids=ORPHAN_CASES.keys())
def test_what_nothing_asks_for(state, extra, kept):
    """Orphans are told and never repairable; what Retain and Snapshot leave is kept, with why."""
    report = judge([], state)
    found = [one for finding in report.findings for one in finding.differences]
    assert {(one.service, one.found) for one in found} == extra
    assert {one.what for one in found} <= {EXTRA}
    assert not any(finding.repairable for finding in report.findings)
    assert {one.service for one in report.kept} == kept


SERVICES = {RDS: "instances", VAULT: "secrets", CONSUL: "published"}


@pytest.mark.parametrize(
    "gone",
    [set(names) for count in range(4) for names in itertools.combinations(SERVICES, count)],
    ids=lambda gone: "+".join(sorted(gone)) or "none",
)
def test_both_directions_are_the_same_question(gone):
    """Missing for a desired is exactly what is not extra without it, and the other way round."""
    state = make_state(**{SERVICES[service]: () if service == RDS else {} for service in gone})

    def services(databases, what):
        report = judge(databases, state)
        return {
            one.service
            for finding in report.findings
            for one in finding.differences
            if one.what == what
        }

    assert services([make_desired()], MISSING) == gone
    assert services([], EXTRA) == set(SERVICES) - gone


@given(
    names=st.lists(st.from_regex(r"[a-z]{1,12}", fullmatch=True), unique=True, max_size=5),
    version=st.integers(1, 9),
    status=st.sampled_from(("available", "backing-up", "storage-optimization")),
)
def test_a_world_that_equals_the_wishes_has_no_drift(names, version, status):
    """Whatever the names, the version of the secret and the state in which it serves."""
    databases, instances, published, secrets = [], [], {}, {}
    for name in names:
        place = PLACE._replace(name=name)
        tags = {**TAGS, "kubestorm.io/name": name, "kubestorm.io/uid": f"uid-{name}"}
        identifier, path = f"ks-test-default-{name}", f"secret/kubestorm/test/default/{name}"
        databases.append(
            make_desired(
                place=place, uid=f"uid-{name}", identifier=identifier, vault_path=path, tags=tags
            )
        )
        given_tags = {**tags, "kubestorm.io/credentials-version": str(version)}
        instances.append(make_instance(identifier=identifier, tags=given_tags, status=status))
        published[place] = {**PUBLISHED, "vault_path": path}
        secrets[place] = version
    report = judge(databases, ObservedState(tuple(instances), frozenset(), published, secrets))
    assert (report.findings, report.kept, report.compared) == ((), (), len(names))
