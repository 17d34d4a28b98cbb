"""Power cuts: stormcell is killed while a database is on its way, and started again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.e2e import journey

LEASE = r".*/leases/.*"
STEPS = {
    "credentials": "vault_ensure_credentials",
    "instance": "rds_ensure_instance",
    "publish": "consul_publish",
    "teardown": "database_teardown",
}
ROTATE = "kubestorm.io/rotate-credentials"


@contextlib.contextmanager
def slow_steps(world: Any) -> Iterator[None]:
    """Each step, which begins with taking the Lease, is long enough to be met in the middle."""
    faults = world.environment.faults["kubernetes"]
    fault = faults.add(path=LEASE, delay_seconds=0.3, times=None)
    yield
    faults.remove(fault)


def is_running(world: Any, action: str) -> bool:
    """Whether an action is under way for this namespace."""
    try:
        found = world.engine.get(
            "executions", action=f"kubestorm.{action}", status="running", limit=5
        )
    except httpx.TransportError:
        return False
    return any(each["parameters"].get("namespace") == world.namespace for each in found)


def restart(world: Any) -> None:
    """Pull the plug and come back."""
    world.engine.kill()
    world.engine.start()


def kill_during(world: Any, action: str) -> None:
    """Wait for the step to be under way, and kill."""
    world.wait_until(lambda: is_running(world, action), f"{action} is under way")
    restart(world)


def make_ready(world: Any) -> None:
    """A database to go on from."""
    journey.ACTS["create"].do(world)
    world.wait_until(world.is_ready, "Ready")


def rotate(world: Any) -> None:
    """Ask for new credentials."""
    world.annotate(**{ROTATE: "now"})


def is_rotated(world: Any) -> bool:
    """Whether they are there, and it is Ready with them."""
    return world.database()["status"].get("credentialsRotation") == "now" and world.is_ready()


def check_rotated(world: Any) -> None:
    """One new version, the password of the instance, and no pending copy."""
    (instance,) = world.instances()
    assert len(world.vault_versions()) == 2
    world.wait_until(
        lambda: world.vault_paths() == [f"{world.path}orders"], "the pending copy is forgotten"
    )
    assert world.environment.aws.password_matches(
        instance["DBInstanceIdentifier"], world.password()
    )
    assert world.database()["status"]["vaultVersion"] == 2


ALIVE = ("credentials", "instance", "publish")


def test_a_kill_at_each_step_of_the_creation(world):
    """Killed with SIGKILL in each step in turn: one instance, one password, Ready."""
    with slow_steps(world):
        journey.ACTS["create"].do(world)
        for step in ALIVE:
            kill_during(world, STEPS[step])
    world.wait_until(world.is_ready, "Ready")
    journey.check_living(world)
    world.wait_until(lambda: not world.unfinished(), "nothing stays running for ever")


def test_a_kill_at_each_step_of_a_change_and_of_the_end(world):
    """Resized and deleted with a snapshot under the same conditions; the end is the usual one."""
    make_ready(world)
    for name, steps in (
        ("resize", ("credentials", "instance", "publish")),
        ("delete", ("teardown", "teardown")),
    ):
        act = journey.ACTS[name]
        with slow_steps(world):
            act.do(world)
            for step in steps:
                kill_during(world, STEPS[step])
        world.wait_until(lambda act=act: act.is_done(world), f"{name} is done")
    journey.check_gone(world)


def test_a_kill_at_each_step_of_a_rotation(world):
    """One new version of the password, and it opens the instance."""
    make_ready(world)
    with slow_steps(world):
        rotate(world)
        for step in ("credentials", "instance"):
            kill_during(world, STEPS[step])
    world.wait_until(lambda: is_rotated(world), "the rotation is done")
    check_rotated(world)


def test_a_rotation_goes_from_the_annotation_to_a_new_password(world):
    """Undisturbed, the old one is replaced, once, and the application's place to look stays."""
    make_ready(world)
    old, published = world.password(), world.published()
    rotate(world)
    world.wait_until(lambda: is_rotated(world), "the rotation is done")
    check_rotated(world)
    assert world.password() != old
    assert world.published() == published
    journey.check_nothing_told(world)


# The request is on its way when the plug is pulled: it is carried out, and nobody hears the answer.
# Service, method, path, and how many requests that fit come before it.
LOST_ANSWERS = {
    "create-finalizer": (
        "create",
        "kubernetes",
        "PATCH",
        r".*/databases/orders\?fieldManager=kubestorm",
        0,
    ),
    "create-secret": ("create", "vault", "POST|PUT", "/v1/secret/data/.*", 0),
    "create-instance": ("create", "aws", "POST", ".*", 1),
    "create-keys": ("create", "consul", "PUT", "/v1/txn.*", 0),
    "resize-modify": ("resize", "aws", "POST", ".*", 2),
    "rotate-pending": ("rotate", "vault", "POST|PUT", "/v1/secret/data/.*/pending", 0),
    "rotate-modify": ("rotate", "aws", "POST", ".*", 2),
    "rotate-promote": ("rotate", "vault", "POST|PUT", "/v1/secret/data/.*/orders", 0),
    "rotate-forget": ("rotate", "vault", "DELETE", "/v1/secret/metadata/.*/pending", 0),
    "delete-snapshot": ("delete", "aws", "POST", ".*", 3),
    "delete-keys": ("delete", "consul", "DELETE", "/v1/kv/.*", 0),
    "delete-finalizer": (
        "delete",
        "kubernetes",
        "PATCH",
        r".*/databases/orders\?fieldManager=kubestorm",
        0,
    ),
}


@pytest.mark.parametrize("case", LOST_ANSWERS.values(), ids=LOST_ANSWERS.keys())
def test_an_answer_that_nobody_hears_changes_nothing_about_the_end(world, case):
    """Whatever was in flight at the kill, the next run finds it done and goes on from there."""
    name, service, method, path, after = case
    if name != "create":
        make_ready(world)
    faults = world.environment.faults[service]
    fault = faults.add(method=method, path=path, delay_seconds=0.5, after=after)
    act = journey.Act(rotate, is_rotated) if name == "rotate" else journey.ACTS[name]
    act.do(world)
    world.wait_until(lambda: fault.hits, "the request is on its way")
    restart(world)
    world.wait_until(lambda: act.is_done(world), f"{name} is done")
    {"rotate": check_rotated, "delete": journey.check_gone}.get(name, journey.check_living)(world)
    world.wait_until(lambda: not world.unfinished(), "nothing stays running for ever")


def test_an_outage_of_the_engine_loses_no_event(world):
    """A resource made and another deleted while stormcell is down are noticed when it is back."""
    world.apply_example(deletionPolicy="Retain")
    world.wait_until(world.is_ready, "Ready")
    assert world.engine.stop() == 0
    world.delete()
    second = world.apply_example("billing")
    assert second["metadata"]["name"] == "billing"
    world.engine.start()
    world.wait_until(lambda: world.is_ready("billing"), "billing is Ready")
    world.wait_until(lambda: world.database("orders") is None, "orders is gone")
    assert len(world.instances()) == 2, "Retain keeps the instance"
