"""A namespace is deleted around a database: its data stay, and what holds the namespace is said."""

from __future__ import annotations

from tests.e2e.conftest import World


def terminating(world: World) -> str:
    """What kubectl describe namespace tells, while it is there."""
    found = world.environment.read("v1", "Namespace", world.namespace)
    return "" if found is None else str(found["status"].get("phase"))


def test_a_namespace_takes_no_data_with_it_and_is_let_go(world):
    """Confirmed destruction becomes two snapshots; until then the Database says what holds it; then
    all is gone.
    """
    world.apply_example(deletionPolicy="Delete")
    world.wait_until(world.is_ready, "Ready")
    world.annotate(**{"kubestorm.io/confirm-delete": "orders"})
    world.environment.delete("v1", "Namespace", world.namespace)
    world.wait_until(
        lambda: world.says("snapshot") or world.database() is None, "what holds it is said"
    )
    world.wait_until(lambda: terminating(world) == "", "the namespace is gone")
    assert world.database() is None
    assert world.instances() == []
    assert {snapshot["Status"] for snapshot in world.snapshots()} == {"available"}
    assert len(world.snapshots()) == 2
    assert world.password(), "the secret stays while the snapshots exist"


def test_a_service_that_is_away_holds_the_namespace_no_longer_than_it_is_away(world):
    """Consul without a leader is named in the object's conditions, and the end comes by itself when
    it is back.
    """
    world.apply_example(deletionPolicy="Snapshot")
    world.wait_until(world.is_ready, "Ready")
    world.environment.consul.lose_leader()
    world.environment.delete("v1", "Namespace", world.namespace)
    world.wait_until(lambda: world.says("No cluster leader"), "Consul is named")
    assert terminating(world) == "Terminating"
    world.environment.consul.regain_leader()
    world.wait_until(lambda: terminating(world) == "", "the namespace is gone")


def test_what_only_a_person_can_decide_is_said_and_one_word_lets_go(world):
    """Deletion protection blocks for ever unless somebody speaks; Retain is always the way out."""
    world.apply_example(deletionPolicy="Snapshot", deletionProtection=True)
    world.wait_until(world.is_ready, "Ready")
    world.environment.delete("v1", "Namespace", world.namespace)
    world.wait_until(
        lambda: world.condition("Ready")[1] == "DeletionProtected", "what holds it is said"
    )
    assert "--no-deletion-protection" in world.condition("Ready")[2]
    world.environment.merge(
        "kubestorm.io/v1alpha1",
        "Database",
        {"name": "orders", "namespace": world.namespace},
        spec={"deletionPolicy": "Retain"},
    )
    world.wait_until(lambda: terminating(world) == "", "the namespace is gone")
    (instance,) = world.instances()
    assert instance["DeletionProtection"]
