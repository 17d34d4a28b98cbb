"""Whose Database is woken by what RDS does."""

from __future__ import annotations

import dataclasses

import pytest
from kubestorm.clients.rds import ListedSnapshot
from kubestorm.sources.watching.rds_poller import (
    Owner,
    ResourceState,
    compare,
    instance_states,
    snapshot_states,
)

from tests.unit.instances import make_instance

OWNER = Owner("shop", "orders", "uid-1")
WAITS = {"shop/orders"}
BUSY, OLD, NEW = ResourceState(OWNER, ""), ResourceState(OWNER, "old"), ResourceState(OWNER, "new")


@pytest.mark.parametrize(
    "states, now, waits, woken",
    [
        pytest.param(None, {"i": NEW}, WAITS, True, id="the first look, and it waits"),
        pytest.param(None, {"i": NEW}, (), False, id="the first look, and it does not"),
        pytest.param({}, {"i": BUSY}, WAITS, False, id="RDS begins"),
        pytest.param({"i": BUSY}, {"i": NEW}, WAITS, True, id="RDS is done"),
        pytest.param({}, {"i": NEW}, WAITS, True, id="it was done between two looks"),
        pytest.param(
            {"i": NEW._replace(notified=True)},
            {"i": NEW},
            WAITS,
            False,
            id="it has been woken for it",
        ),
        pytest.param({"i": NEW}, {"i": NEW}, WAITS, True, id="it began to wait since"),
        pytest.param({"i": OLD}, {"i": NEW}, (), True, id="somebody changed the instance"),
        pytest.param({"i": OLD}, {"i": OLD}, (), False, id="nothing happened"),
        pytest.param({"i": OLD}, {}, (), True, id="the instance is gone"),
        pytest.param({}, {}, WAITS, False, id="there is none yet"),
        pytest.param(None, {}, WAITS, True, id="it went before the first look"),
    ],
)
def test_an_owner_is_woken_by_what_concerns_it(states, now, waits, woken):
    """By a state in which it can act, once for each."""
    assert [one.key for one in compare(now, states, waits).wake] == (
        ["shop/orders"] if woken else []
    )


def test_a_nightly_backup_wakes_nobody():
    """Available, backing up, available: the same state as before."""
    first = compare({"i": OLD}, None, ())
    second = compare({"i": BUSY}, first.states, ())
    assert (second.wake, second.under_way) == ([], True)
    assert compare({"i": OLD}, second.states, ()).wake == []


def test_a_change_wakes_once_when_it_is_done():
    """From the request for a larger class to the end, however often it is looked."""
    looks = [({"i": OLD}, ()), ({"i": BUSY}, WAITS), ({"i": BUSY}, WAITS), ({"i": NEW}, WAITS)]
    looks += [({"i": NEW}, WAITS), ({"i": NEW}, ())]
    states, woken = None, []
    for found, waits in looks:
        verdict = compare(found, states, waits)
        states = verdict.states
        woken.append(len(verdict.wake))
    assert woken == [0, 0, 0, 1, 0, 0]


def test_one_that_waits_anew_is_woken_anew():
    """A password is applied without a state that a look would see; the wait alone tells."""
    notified = compare({"i": NEW}, {"i": BUSY}, WAITS).states
    ready = compare({"i": NEW}, notified, ()).states
    assert compare({"i": NEW}, ready, WAITS).wake == [OWNER]


def test_an_owner_of_several_things_is_woken_once():
    """An instance and its snapshot end together."""
    before = {"instance/i": BUSY, "snapshot/s": BUSY}
    assert compare({"instance/i": NEW, "snapshot/s": NEW}, before, WAITS).wake == [OWNER]


def test_only_what_is_ours_is_looked_at():
    """By the tags that say which cluster's, and whose."""
    ours = make_instance(tags=_tags("dev"))
    found = instance_states(
        [ours, make_instance(tags=_tags("other")), make_instance(tags={})], "dev"
    )
    assert [one.owner for one in found.values()] == [OWNER]
    snapshots = [
        ListedSnapshot("s", "creating", _tags("dev")),
        ListedSnapshot("t", "available", {}),
    ]
    assert snapshot_states(snapshots, "dev") == {"snapshot/s": BUSY}


@pytest.mark.parametrize(
    "change, other",
    [
        pytest.param({"instance_class": "db.m6i.large"}, True, id="another class"),
        pytest.param({"host": "elsewhere"}, True, id="another address"),
        pytest.param({"pending": {"Iops": 1}}, False, id="something waits for its window"),
        pytest.param({"status": "stopped"}, True, id="stopped"),
    ],
)
def test_a_state_is_what_may_concern_the_owner(change, other):
    """Two looks at an instance with something changed."""
    one = make_instance(tags=_tags("dev"))
    two = dataclasses.replace(one, **change)
    states = [next(iter(instance_states([each], "dev").values())).state for each in (one, two)]
    assert (states[0] != states[1]) is other


def _tags(cluster: str) -> dict[str, str]:
    return {
        "kubestorm.io/cluster": cluster,
        "kubestorm.io/namespace": "shop",
        "kubestorm.io/name": "orders",
        "kubestorm.io/uid": "uid-1",
    }
