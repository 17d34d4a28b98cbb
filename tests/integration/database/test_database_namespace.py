"""A namespace that is being deleted takes no data with it, and is not held for ever silently."""

from __future__ import annotations


def test_delete_becomes_snapshot_in_a_namespace_that_is_being_deleted(world):
    """Confirmed or not, the data ends in a snapshot, and what holds the namespace is said until
    then.
    """
    world.config["kubernetes"]["namespace"] = "kubestorm-leases"
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kubestorm-leases"}}
    world.http.post("/api/v1/namespaces", json=body)
    world.apply(deletionPolicy="Delete")
    world.until_ready()
    world.annotate(**{"kubestorm.io/confirm-delete": "orders"})
    identifier = world.get()["status"]["instanceIdentifier"]
    # The object first, then the namespace around it: what the namespace controller does is not in
    # every API.
    world.http.delete(f"/api/v1/namespaces/{world.namespace}").raise_for_status()
    if not world.get()["metadata"].get("deletionTimestamp"):
        world.delete()
    world.reconcile()
    assert world.condition("Ready")[0] == "False"
    assert world.condition("Ready")[1] == "Snapshotting"
    for _ in range(12):
        world.let_aws_finish()
        if world.get() is None:
            break
        world.reconcile()
    assert world.get() is None
    services = world.services()
    assert services.rds.describe(identifier) is None
    assert services.vault.describe(f"kubestorm/test/{world.namespace}/orders") is not None
