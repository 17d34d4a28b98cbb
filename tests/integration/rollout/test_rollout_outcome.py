"""How few runs a rollout takes, and what its last one leaves behind."""

from __future__ import annotations

from typing import Any

from kubestorm.kinds.application.rollout.commands import abort, freeze, promote, unfreeze

from tests.integration.rollout.test_rollout_life import CANARY, waits


def conditions(world: Any) -> dict[str, tuple[str, str]]:
    status = world.get("applications")["status"]
    return {one["type"]: (one["status"], one["reason"]) for one in status["conditions"]}


def versions(world: Any, rollout: str) -> tuple[str, str]:
    """Of what a look could write to."""
    return (
        world.get("rollouts", rollout)["metadata"]["resourceVersion"],
        world.get("applications")["metadata"]["resourceVersion"],
    )


def env(world: Any) -> Any:
    template = world.get("deployments")["spec"]["template"]
    return template["spec"]["containers"][0].get("env")


def test_a_push_takes_two_runs_of_its_rollout(world):
    """One begins it, one sees all pods available; the Application's outcome is written by then."""
    world.apply(replicas={"min": 3})
    world.push("1.0.0")
    world.reconcile_application()
    assert world.over()["phase"] == "Complete"
    world.count = 0
    pushed = world.push("1.1.0")
    world.reconcile_application()
    assert world.over()["phase"] == "Complete"
    assert world.count <= 3
    status = world.get("applications")["status"]
    assert status["image"]["digest"] == pushed
    assert (status["replicas"], status["availableReplicas"]) == (3, 3)
    assert (status["rollout"]["phase"], status["rollout"]["name"]) == (
        "Complete",
        world.newest()["metadata"]["name"],
    )
    assert "requeueAt" not in status
    assert conditions(world)["RolledOut"] == ("True", "RolledOut")
    assert conditions(world)["Ready"] == ("True", "Ready")
    before = world.get("applications")["metadata"]["resourceVersion"]
    world.reconcile_application()
    assert world.get("applications")["metadata"]["resourceVersion"] == before


def test_a_look_without_news_writes_nothing(world):
    """While a person is waited for, and once all is over."""
    world.apply(strategy=CANARY)
    world.roll("1.0.0")
    world.push("1.1.0")
    world.run_application()
    world.drive(waits)
    name = world.newest()["metadata"]["name"]
    assert "requeueAt" not in world.status()
    before = versions(world, name)
    assert world.run_rollout(name)["phase"] == "Paused"
    assert versions(world, name) == before
    promote(world.services(), world.namespace, world.name)
    assert world.over()["phase"] == "Complete"
    before = versions(world, name)
    assert world.run_rollout(name)["message"] == "The Rollout is over."
    assert versions(world, name) == before


def test_an_edit_during_a_rollout_reaches_the_pods_at_its_end(world):
    """The Application's run has left the Deployment to the Rollout meanwhile."""
    world.apply(strategy=CANARY)
    world.roll("1.0.0")
    world.push("1.1.0")
    world.run_application()
    world.drive(waits)
    world.merge("applications", "cart", {"spec": {"env": {"A": "1"}, "expose": {"port": 81}}})
    world.reconcile_application()
    assert env(world) is None
    promote(world.services(), world.namespace, world.name)
    assert world.over()["phase"] == "Complete"
    assert env(world) == [{"name": "A", "value": "1"}]
    assert world.get("services")["spec"]["ports"][0]["port"] == 81


def test_an_edit_that_no_run_has_seen_is_left_to_the_applications_own(world):
    """Its turn comes at once."""
    world.apply(strategy=CANARY)
    world.roll("1.0.0")
    world.push("1.1.0")
    world.run_application()
    world.drive(waits)
    world.merge("applications", "cart", {"spec": {"replicas": {"min": 8}}})
    promote(world.services(), world.namespace, world.name)
    assert world.over()["phase"] == "Complete"
    found = world.get("applications")
    assert found["status"]["observedGeneration"] < found["metadata"]["generation"]
    assert found["status"]["requeueAt"]
    world.reconcile_application()
    assert world.tracks() == {"stable": 8}
    assert "requeueAt" not in world.get("applications")["status"]


def test_the_end_of_one_rollout_begins_the_next(world):
    """A push that had to settle needs no other run once its time has come."""
    world.apply(strategy={**CANARY, "settleSeconds": 3600})
    world.roll("1.0.0")
    world.push("1.1.0")
    world.run_application()
    world.drive(waits)
    first = world.newest()["metadata"]["name"]
    third = world.push("1.2.0")
    world.reconcile_application()
    assert world.newest()["metadata"]["name"] == first
    assert world.get("applications")["status"]["requeueAt"]
    promote(world.services(), world.namespace, world.name)
    assert world.over(first)["phase"] == "Complete"
    assert world.newest()["spec"]["image"]["digest"] == third
    assert "requeueAt" not in world.get("applications")["status"]


def test_a_newer_rollout_ends_the_older_one_itself(world):
    """The older one needs no run for that."""
    world.apply(strategy=CANARY)
    world.roll("1.0.0")
    world.push("1.1.0")
    world.run_application()
    world.drive(waits)
    older = world.newest()["metadata"]["name"]
    pods = world.status(older)["pods"]
    world.count = 0
    world.push("1.2.0")
    newer = world.run_application()["created"]
    status = world.status(older)
    assert (status["phase"], status["message"]) == ("Superseded", f"Superseded by {newer}.")
    assert status["finishedAt"]
    assert status["pods"] == pods
    assert world.count == 0
    assert ("RolloutSuperseded", True) in [(why, older in said) for why, said in world.events()]


def test_an_abort_by_an_action_leaves_the_application_alone(world):
    """One event, the Rollout's own, leads to one run of it."""
    world.apply(strategy=CANARY)
    world.roll("1.0.0")
    world.push("1.1.0")
    world.run_application()
    world.drive(waits)
    before = world.get("applications")["metadata"]
    abort(world.services(), world.namespace, world.name, "bob")
    assert world.get("applications")["metadata"] == before
    world.over()
    assert world.status()["message"].startswith("Aborted by bob.")


def test_what_people_write_on_the_application_wakes_its_rollout(world):
    """Once: the end of a freeze, and a spec that is valid again."""
    world.apply(strategy=CANARY)
    world.roll("1.0.0")
    world.push("1.1.0")
    world.run_application()
    name = world.newest()["metadata"]["name"]
    freeze(world.services(), world.namespace, world.name, "carol", "audit")
    assert world.run_rollout(name)["reason"] == "Frozen"
    world.run_application()
    assert "requeueAt" not in world.status(), "it is frozen, and knows"
    unfreeze(world.services(), world.namespace, world.name)
    world.run_application()
    assert world.status()["requeueAt"]
    world.drive(waits)
    health = world.get("applications")["spec"]["health"]
    world.merge("applications", "cart", {"spec": {"health": None}})
    assert "spec is invalid" in world.run_rollout(name)["message"]
    assert "requeueAt" not in world.status()
    world.merge("applications", "cart", {"spec": {"health": health}})
    world.run_application()
    world.drive(waits)
    promote(world.services(), world.namespace, world.name)
    assert world.over()["phase"] == "Complete"


def test_a_promotion_on_the_rollout_counts_once(world):
    """Also where it does not say of which stage."""
    steps = [{"weight": 25, "untilPromoted": True}, {"weight": 50, "untilPromoted": True}]
    world.apply(strategy={"type": "Canary", "steps": steps})
    world.roll("1.0.0")
    world.push("1.1.0")
    world.run_application()
    world.drive(waits)
    name = world.newest()["metadata"]["name"]
    said = {"status": {"requests": {"promote": {"by": "ann"}}}}
    world.merge("rollouts", name, said, "status")
    world.drive(lambda status: waits(status) and status["weight"] == 50)
    assert not world.status()["requests"]


def test_a_rollout_whose_spec_was_changed_is_followed_no_more(world):
    """It says so, and nothing of it is carried out; once it is deleted the Application makes
    another.
    """
    world.apply(strategy=CANARY)
    world.roll("1.0.0")
    first = world.newest()["spec"]["image"]["digest"]
    second = world.push("1.1.0")
    world.run_application()
    name = world.newest()["metadata"]["name"]
    changed = {"image": {"digest": "sha256:" + "e" * 64}, "cause": "rollback"}
    world.merge("rollouts", name, {"spec": changed})
    assert "changed after the Rollout was created" in world.run_rollout(name)["message"]
    assert "changed after the Rollout was created" in world.status(name)["message"]
    assert world.pods() == {first: 4}
    world.http.delete(world.path("rollouts", name)).raise_for_status()
    world.run_application()
    world.drive(waits)
    promote(world.services(), world.namespace, world.name)
    assert world.over()["phase"] == "Complete"
    world.eventually_pods({second: 4})
