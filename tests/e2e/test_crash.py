"""Power cuts: stormcell is killed while a database is on its way, and started again."""

from __future__ import annotations

import pytest


@pytest.fixture
def world(own_world):
    """A world that may be killed."""
    return own_world


MOMENTS = {
    "before the password": lambda world: world.engine.get("executions", limit=1),
    "after the password": lambda world: world.environment.vault_paths("kubestorm/"),
    "while RDS creates": lambda world: world.instances(),
    "once published": lambda world: world.environment.consul_tree("kubestorm/"),
}


@pytest.mark.parametrize("moment", MOMENTS.values(), ids=MOMENTS.keys())
def test_a_kill_in_the_middle_ends_with_exactly_one_of_everything(world, moment):
    """Killed with SIGKILL at any stage and started again: one instance, one password, Ready=True."""
    world.apply_example()
    world.wait_until(lambda: moment(world), "the moment to kill")
    world.engine.kill()
    world.engine.start()
    world.wait_until(world.is_ready, "Ready")
    (instance,) = world.instances()
    assert len(world.vault_versions()) == 1
    assert world.environment.aws.password_matches(instance["DBInstanceIdentifier"], world.password())
    world.wait_until(
        lambda: not world.engine.get("executions", status="running", limit=1), "nothing stays running for ever"
    )


def test_an_outage_of_the_engine_loses_no_event(world):
    """A resource made and another deleted while stormcell is down are both noticed when it is back."""
    world.apply_example(deletionPolicy="Retain")
    world.wait_until(world.is_ready, "Ready")
    assert world.engine.stop() == 0
    world.environment.delete("kubestorm.io/v1alpha1", "Database", "orders", "default")
    second = world.apply_example("billing")
    assert second["metadata"]["name"] == "billing"
    world.engine.start()
    world.wait_until(lambda: world.is_ready("billing"), "billing is Ready")
    world.wait_until(lambda: world.database("orders") is None, "orders is gone")
    assert len(world.instances()) == 2, "Retain keeps the instance"
