"""The main job as three acts, and the end state that it must come to in any weather."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.e2e import leaks

CONSUL_KEYS = ("host", "port", "database", "username", "vault_path")


@dataclass(frozen=True)
class Act:
    """What a developer does, and how it shows that it has happened."""

    do: Callable[[Any], object]
    is_done: Callable[[Any], bool]


def _has_grown(world: Any) -> bool:
    return world.is_ready() and world.instances()[0]["DBInstanceClass"] == "db.m6i.large"


ACTS = {
    "create": Act(
        lambda world: world.apply_example(size="small", deletionPolicy="Snapshot"),
        lambda world: world.is_ready(),
    ),
    "resize": Act(
        lambda world: world.apply_example(size="large", deletionPolicy="Snapshot"), _has_grown
    ),
    "delete": Act(lambda world: world.delete(), lambda world: world.database() is None),
}


def play(world: Any, **troubles: Any) -> None:
    """Play the three acts; `troubles` names one for some of them.

    A trouble is a function of the world that gives a context around doing the act, and the context
    gives a question: once its answer is true the trouble has been met and ends, and the act must
    still succeed.
    """
    for name, act in ACTS.items():
        if name in troubles:
            with troubles[name](world) as is_met:
                act.do(world)
                world.wait_until(is_met, f"the trouble in {name} is met")
        else:
            act.do(world)
        world.wait_until(lambda act=act: act.is_done(world), f"{name} is done")
        if name != "delete":
            check_living(world)
    check_gone(world)


def check_living(world: Any) -> None:
    """One instance, one version of the password and the one that it has, its address in Consul."""
    (instance,) = world.instances()
    assert len(world.vault_versions()) == 1
    assert world.environment.aws.password_matches(
        instance["DBInstanceIdentifier"], world.password()
    )
    published = world.published()
    assert set(published) == {world.path + "orders/" + key for key in CONSUL_KEYS}
    assert published[world.path + "orders/host"] == instance["Endpoint"]["Address"]
    assert world.database()["status"]["endpoint"]["host"] == instance["Endpoint"]["Address"]


def check_gone(world: Any) -> None:
    """The snapshots and the password are there, nothing else; no Lease is held and nothing runs."""
    assert world.instances() == []
    assert {snapshot["Status"] for snapshot in world.snapshots()} == {"available"}
    assert world.published() == {}
    assert len(world.vault_versions()) == 1, "the secret stays while the snapshot exists"
    assert world.password()
    world.wait_until(lambda: not world.unfinished(), "nothing stays running")
    assert world.lease_holders() == set()
    check_nothing_told(world)


def check_nothing_told(world: Any) -> None:
    """The password is in nothing that the engine wrote, whatever errors there were."""
    written = [*leaks.files_below(world.engine.data), ("log", world.engine.log_path.read_bytes())]
    assert list(leaks.find(world.password(), written)) == []
