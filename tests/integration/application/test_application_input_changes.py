"""One pass over all Applications instead of a run of each: who gets something else from outside."""

from __future__ import annotations

from kubestorm.clients.resources import APPLICATIONS, SERVICES
from kubestorm.kinds.application.input_changes import changed_inputs

from tests.integration.application.test_application_config import database, publish


def changed(world) -> list[str]:
    """Names of this namespace's Applications that a run would change something for."""
    services = world.services()
    found = changed_inputs(services, services.kube.list_all(APPLICATIONS))
    services.close()
    assert {identity.plural for identity in found} <= {"applications"}
    return [identity.name for identity in found if identity.namespace == world.namespace]


def test_a_changed_value_and_a_new_version_are_found(world, kv):
    """Once; what has been brought to the pods is not found again."""
    kv.key(f"{world.own}/level", "info")
    kv.secret(f"{world.own}/stripe", key="1")
    world.apply("flags", config=[{"key": f"{world.own}/level"}])
    world.apply("pay", secrets=[{"path": f"{world.own}/stripe"}])
    world.apply("plain")
    for name in ("flags", "pay", "plain"):
        world.reconcile(name)
    assert changed(world) == []
    kv.key(f"{world.own}/level", "debug")
    assert changed(world) == ["flags"]
    kv.secret(f"{world.own}/stripe", key="2")
    assert changed(world) == ["flags", "pay"]
    world.reconcile("flags")
    assert changed(world) == ["pay"]


def test_what_was_waited_for_is_found(world, kv):
    """Not while it is missing; a Database that comes on changes nothing before it serves."""
    world.apply("late", config=[{"key": f"{world.own}/late"}])
    world.apply("orders", databases=[{"name": "orders"}])
    database(world, serves=False)
    for name in ("late", "orders"):
        world.reconcile(name)
    assert changed(world) == []
    kv.key(f"{world.own}/late", "now")
    assert changed(world) == ["late"]
    publish(world, kv)
    database(world, serves=True)
    assert changed(world) == ["late", "orders"]


def test_a_sealed_vault_hides_nothing_of_consul(world, kv):
    """And wakes nobody: the pods keep what they have."""
    kv.key(f"{world.own}/level", "info")
    kv.secret(f"{world.own}/stripe", key="1")
    world.apply("a-pay", secrets=[{"path": f"{world.own}/stripe"}])
    world.apply("flags", config=[{"key": f"{world.own}/level"}])
    for name in ("a-pay", "flags"):
        world.reconcile(name)
    kv.key(f"{world.own}/level", "debug")
    kv.secret(f"{world.own}/stripe", key="2")
    kv.seal()
    try:
        assert changed(world) == ["flags"]
    finally:
        kv.unseal()
    assert changed(world) == ["a-pay", "flags"]


def test_an_edit_that_no_run_has_seen_is_left_to_its_own_event(world, kv):
    """So is a spec that is invalid."""
    kv.key(f"{world.own}/level", "info")
    world.apply(config=[{"key": f"{world.own}/level"}])
    assert changed(world) == []
    world.apply(health=None)
    world.reconcile()
    assert changed(world) == []


def test_the_address_of_a_load_balancer_is_found(world):
    """It comes minutes after the Service was made."""
    world.apply(expose={"type": "loadBalancer"})
    world.reconcile()
    assert changed(world) == []
    services = world.services()
    status = {"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}}
    services.kube.patch_status(SERVICES, "cart", status, world.namespace)
    services.close()
    assert changed(world) == ["cart"]
    world.reconcile()
    assert changed(world) == []
    assert world.get()["status"]["url"] == "http://192.0.2.7/"
