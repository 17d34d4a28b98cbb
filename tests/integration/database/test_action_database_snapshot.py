"""A snapshot on demand: asked for on the resource, made by the journey, once for each word."""

from __future__ import annotations

import boto3
import pytest


@pytest.fixture
def rds(aws):
    """Somebody else's plain client."""
    return boto3.client("rds", endpoint_url=aws.url, region_name="eu-central-1")


@pytest.fixture
def ready(world):
    """A Database that is Ready."""
    world.apply()
    world.until_ready()
    return world


def manual(rds):
    return [
        each["DBSnapshotIdentifier"]
        for each in rds.describe_db_snapshots(SnapshotType="manual")["DBSnapshots"]
    ]


def told(world):
    return (world.get()["status"].get("requestedSnapshot") or {}).get("state")


def test_a_snapshot_is_made_once_for_a_word(ready, act, rds):
    """The Database stays Ready, status says how far it is, and one that was deleted later is not
    made again.
    """
    succeeded, result = act("database_snapshot", snapshot="before-upgrade", requested_by="alice")
    assert succeeded, result
    assert manual(rds) == [], "the action itself asks nothing of RDS"
    ready.reconcile()
    assert manual(rds) == [result["snapshot"]]
    assert told(ready) == "Creating"
    assert ready.condition("Ready")[0] == "True"
    ready.let_aws_finish()
    ready.reconcile()
    assert told(ready) == "Available"
    assert any(
        "alice requested snapshot before-upgrade" in each["message"] for each in ready.events()
    )
    before = ready.get()
    rds.delete_db_snapshot(DBSnapshotIdentifier=result["snapshot"])
    ready.reconcile()
    assert manual(rds) == []
    assert ready.get() == before
    act("database_snapshot")
    ready.reconcile()
    assert len(manual(rds)) == 1, "without a word, the time makes it another one"


def test_it_is_tagged_as_the_databases_own(ready, act, rds):
    """Drift and people see whose it is."""
    _, result = act("database_snapshot", snapshot="tagged")
    ready.reconcile()
    (found,) = rds.describe_db_snapshots(DBSnapshotIdentifier=result["snapshot"])["DBSnapshots"]
    assert {"Key": "kubestorm.io/name", "Value": "orders"} in found["TagList"]


def test_it_waits_while_the_instance_is_being_changed(ready, act, rds):
    """First the change that was asked for, then the snapshot; neither is lost."""
    ready.apply(size="large")
    act("database_snapshot", snapshot="after")
    ready.reconcile()
    assert (manual(rds), told(ready)) == ([], "Pending")
    ready.let_aws_finish()
    for _ in range(2):
        ready.reconcile()
        ready.let_aws_finish()
    ready.reconcile()
    assert (len(manual(rds)), told(ready)) == (1, "Available")
    ready.until_ready()


def test_a_run_that_dies_after_the_call_makes_no_second_one(ready, act, rds):
    """The name holds the word, so the next look finds what was begun."""
    act("database_snapshot", snapshot="once")
    services = ready.services()
    services.rds.create_snapshot(
        ready.get()["status"]["instanceIdentifier"],
        act("database_snapshot", snapshot="once")[1]["snapshot"],
        {},
    )
    ready.reconcile()
    assert len(manual(rds)) == 1


@pytest.mark.parametrize("word", ["final", "manual"])
def test_no_word_takes_the_name_of_a_snapshot_that_a_deletion_makes(world, act, rds, word):
    """Otherwise a deletion would take an old snapshot for the one it has to make first."""
    world.apply(deletionPolicy="Snapshot")
    world.until_ready()
    act("database_snapshot", snapshot=word)
    world.reconcile()
    world.let_aws_finish()
    world.reconcile()
    world.delete()
    world.until_gone()
    assert len(manual(rds)) == 3


def test_what_a_person_wrote_by_hand_and_cannot_be_is_said(ready, rds):
    """In status, without a word about the Database being any less Ready."""
    ready.annotate(**{"kubestorm.io/snapshot": "no such/word"})
    ready.reconcile()
    assert told(ready) == "Refused"
    assert ready.condition("Ready")[0] == "True"
    assert manual(rds) == []


def test_the_refusal_of_aws_is_told_and_not_repeated(ready, act, rds, monkeypatch):
    """A quota that is used up, for instance."""
    monkeypatch.setenv("MOTO_RDS_SNAPSHOT_LIMIT", "0")
    act("database_snapshot", snapshot="too-many")
    ready.reconcile()
    assert told(ready) == "Refused"
    assert "SnapshotQuotaExceeded" in ready.get()["status"]["requestedSnapshot"]["message"]
    assert ready.condition("Ready")[0] == "True"


REFUSED = {
    "word": ({"snapshot": "no such/word"}, "cannot be part of a snapshot's name"),
    "unknown": ({"name": "nobody"}, "databases.kubestorm.io nobody not found"),
}


@pytest.mark.parametrize("parameters, says", REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_is_refused_in_a_sentence(ready, act, parameters, says):
    """Before anything is written."""
    before = ready.get()
    succeeded, result = act("database_snapshot", **parameters)
    assert not succeeded
    assert says in result["message"]
    assert ready.get() == before


def test_there_is_nothing_to_take_a_snapshot_of_before_there_is_an_instance(world, act):
    """The sentence says so."""
    world.apply()
    succeeded, result = act("database_snapshot")
    assert not succeeded
    assert "no instance yet" in result["message"]
