"""Asking for a deletion: what becomes of the data is the policy's, and destruction takes a second
key here too.
"""

from __future__ import annotations

import pytest


@pytest.mark.parametrize("policy", ["Retain", "Snapshot"])
def test_a_deletion_that_keeps_the_data_is_one_word(world, act, policy):
    """The object goes as with kubectl, and who asked is in an Event."""
    world.apply(deletionPolicy=policy)
    world.until_ready()
    identifier = world.get()["status"]["instanceIdentifier"]
    succeeded, result = act("database_delete", requested_by="alice")
    assert succeeded, result
    assert result["policy"] == policy
    assert world.get()["metadata"]["deletionTimestamp"]
    assert "kubestorm.io/confirm-delete" not in world.get()["metadata"]["annotations"]
    assert any(
        each["reason"] == "DeletionRequested" and "alice" in each["message"]
        for each in world.events()
    )
    world.until_gone()
    left = world.services().rds.describe(identifier)
    assert (left is not None) is (policy == "Retain")


def test_destruction_needs_the_name_once_more(world, act):
    """Without it nothing is touched; with it the annotation is the second key, nothing is left."""
    world.apply(deletionPolicy="Delete")
    world.until_ready()
    identifier = world.get()["status"]["instanceIdentifier"]
    before = world.get()
    for confirm in ("", "order"):
        succeeded, result = act("database_delete", confirm=confirm, requested_by="alice")
        assert not succeeded
        assert "orders" in result["message"]
        assert world.get() == before
    succeeded, result = act("database_delete", confirm="orders", requested_by="alice")
    assert succeeded, result
    assert world.get()["metadata"]["annotations"]["kubestorm.io/confirm-delete"] == "orders"
    world.until_gone()
    assert world.services().rds.describe(identifier) is None


def test_the_second_key_can_be_given_later(world, act):
    """Deleted with kubectl and held, then confirmed here."""
    world.apply(deletionPolicy="Delete")
    world.until_ready()
    world.delete()
    world.reconcile()
    assert world.condition("Ready") == ("False", "ConfirmationMissing")
    succeeded, result = act("database_delete", confirm="orders")
    assert succeeded, result
    assert "already" in result["message"]
    world.until_gone()


def test_a_key_that_is_not_needed_is_not_left_lying_about(world, act):
    """It would confirm a destruction that nobody has thought of yet."""
    world.apply(deletionPolicy="Snapshot")
    succeeded, result = act("database_delete", confirm="orders")
    assert not succeeded
    assert "nothing to confirm" in result["message"]
    assert not world.get()["metadata"].get("deletionTimestamp")


def test_a_policy_that_a_label_sets_counts(world, act):
    """The teardown and the action read it in the same place."""
    world.config["database"]["label_overrides"] = {"keep": "deletionPolicy"}
    world.apply()
    world.until_ready()
    url = f"/apis/kubestorm.io/v1alpha1/namespaces/{world.namespace}/databases/orders"
    headers = {"content-type": "application/merge-patch+json"}
    world.http.patch(
        url, json={"metadata": {"labels": {"keep": "Snapshot"}}}, headers=headers
    ).raise_for_status()
    _, result = act("database_delete")
    assert result["policy"] == "Snapshot"
    world.until_gone()
    path = f"kubestorm/test/{world.namespace}/orders"
    assert world.services().consul.read_tree(f"{path}/") == {}
    assert world.services().vault.describe(path)


def test_what_is_not_there_is_said(act):
    """With kind, name and namespace."""
    succeeded, result = act("database_delete", name="nobody")
    assert not succeeded
    assert "databases.kubestorm.io nobody not found" in result["message"]
