"""What happens to rollouts on a living cluster: people, storms, autoscalers, tests, and why pods
fail.
"""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest
from kubestorm.core.errors import DefinitionError, NotFoundError
from kubestorm.kinds.application.image_policy import route
from kubestorm.kinds.application.rollout.commands import (
    abort,
    freeze,
    logs,
    promote,
    rollback,
    rollout,
    scale,
    show_history,
    unfreeze,
)

from tests.integration.rollout.conftest import digest
from tests.kube_fixtures import eventually

CANARY = {"type": "Canary", "steps": [{"weight": 25}, {"weight": 50, "untilPromoted": True}]}
BLUE_GREEN = {"type": "BlueGreen", "keepSeconds": 600}
HTTP_TEST = {
    "http": [{"path": "/healthz", "contains": "ok", "json": {"$.ok": "true"}, "withinSeconds": 5}]
}
JOB_TEST = {"job": {"command": ["./smoke-test"]}}


def waits(status: dict[str, Any]) -> bool:
    return status.get("reason") == "AwaitingPromotion"


@pytest.mark.parametrize("looks", [1, 3, 6])
@pytest.mark.parametrize(
    "strategy", [CANARY, BLUE_GREEN, {"type": "RollingUpdate"}], ids=["canary", "bg", "rolling"]
)
def test_an_abort_at_every_step_ends_at_100_percent_stable(world, strategy, looks):
    """However far it had come."""
    world.apply(strategy=strategy)
    good = world.roll("1.0.0") and world.newest()["spec"]["image"]["digest"]
    world.push("1.1.0")
    world.run_application()
    name = world.newest()["metadata"]["name"]
    for _ in range(looks):
        world.run_rollout(name)
    if world.status(name).get("finishedAt"):
        pytest.skip("it was complete before")
    abort(world.services(), world.namespace, world.name, "bob")
    status = world.over(name)
    assert status["phase"] == "Aborted"
    assert "bob" in status["message"]
    world.eventually_pods({good: 4})
    assert world.tracks() == {"stable": 4}
    assert not status.get("requests")
    assert world.run_application()["created"] == ""


def test_a_canary_goes_on_when_a_person_promotes(world):
    """Until then half of the pods run the new image; a promotion when nothing waits is refused."""
    world.apply(strategy=CANARY)
    world.roll("1.0.0")
    first = world.newest()["spec"]["image"]["digest"]
    second = world.push("1.1.0")
    world.run_application()
    world.run_rollout(world.newest()["metadata"]["name"])
    with pytest.raises(DefinitionError, match="not waiting for promotion"):
        promote(world.services(), world.namespace, world.name)
    world.drive(waits)
    world.eventually_pods({first: 2, second: 2})
    promote(world.services(), world.namespace, world.name, requested_by="ann")
    assert world.over()["phase"] == "Complete"
    world.eventually_pods({second: 4})
    with pytest.raises(NotFoundError, match="no rollout under way"):
        promote(world.services(), world.namespace, world.name)


def test_blue_green_returns_at_once_within_its_time(world):
    """The old pods are still there: a rollback needs no new one."""
    world.apply(strategy=BLUE_GREEN)
    world.roll("1.0.0")
    first = world.newest()["spec"]["image"]["digest"]
    world.roll("1.1.0")
    assert world.tracks() == {"stable": 4, "green": 4}
    before = {pod["metadata"]["name"] for pod in world.list("pods")}
    rollback(world.services(), world.namespace, world.name, requested_by="bob")
    world.run_application()
    assert world.over()["phase"] == "Complete"
    assert world.pods() == {first: 4}
    assert {pod["metadata"]["name"] for pod in world.list("pods")} <= before
    assert world.newest()["spec"]["requestedBy"] == "bob"
    # The push that was undone does not come again.
    assert world.run_application()["created"] == ""


def test_a_rollout_that_is_deleted_leaves_nothing_behind(world):
    """The Application's own run goes back to the good image, and what is over is not looked at any
    more.
    """
    world.apply(strategy=CANARY)
    world.roll("1.0.0")
    first = world.newest()["metadata"]["name"]
    assert world.run_rollout(first)["message"] == "The Rollout is over."
    world.push("1.1.0")
    world.run_application()
    world.drive(waits)
    name = world.newest()["metadata"]["name"]
    world.http.delete(world.path("rollouts", name)).raise_for_status()
    world.annotate(wanted_image=None)
    world.run_application()
    assert "canary" not in world.tracks()


def test_a_newer_push_takes_over(world):
    """The older ends as superseded; one pod of a canary does not linger."""
    world.apply(strategy=CANARY)
    world.roll("1.0.0")
    world.push("1.1.0")
    world.run_application()
    older = world.newest()["metadata"]["name"]
    world.drive(waits)
    third = world.push("1.2.0")
    assert world.run_application()["created"]
    assert world.over(older)["phase"] == "Superseded"
    world.drive(waits)
    promote(world.services(), world.namespace, world.name, full=True)
    assert world.over()["phase"] == "Complete"
    world.eventually_pods({third: 4})
    assert world.tracks() == {"stable": 4}


def test_a_freeze_holds_pushes_and_persons_but_not_the_way_back(world):
    """And names whom to ask."""
    world.apply()
    world.roll("1.0.0")
    first = world.newest()["spec"]["image"]["digest"]
    world.roll("1.1.0")
    services = world.services()
    freeze(services, world.namespace, world.name, "carol", "audit week")
    world.push("1.2.0")
    held = world.run_application()
    assert (held["created"], held["reason"]) == ("", "Frozen")
    assert "carol: audit week" in held["message"]
    with pytest.raises(DefinitionError, match="carol"):
        rollout(services, world.namespace, world.name, digest("other"))
    rollback(services, world.namespace, world.name)
    world.run_application()
    assert world.over()["phase"] == "Complete"
    world.eventually_pods({first: 4})
    unfreeze(services, world.namespace, world.name)
    assert world.run_application()["created"] == "", "the rollback has answered that push"
    third = world.push("1.3.0")
    assert world.run_application()["created"]
    world.over()
    world.eventually_pods({third: 4})


def test_a_digest_that_failed_is_tried_again_when_a_person_asks(world):
    """It may have been the cluster's fault."""
    world.apply()
    world.roll("1.0.0")
    bad = world.push("1.1.0", "broken")
    world.run_application()
    assert world.over()["phase"] == "Failed"
    from sandbox.kubernetes import podlife

    podlife.FATES_OF_DIGESTS.pop(bad)
    rollout(world.services(), world.namespace, world.name, bad, "dan")
    assert world.run_application()["created"]
    assert world.over()["phase"] == "Complete"
    world.eventually_pods({bad: 4})
    rows = show_history(world.services(), world.namespace, world.name)["rollouts"]
    assert [(row["outcome"], row["requested_by"]) for row in rows] == [
        ("Complete", "dan"),
        ("Failed", "ann"),
        ("Complete", "ann"),
    ]
    assert [row["good"] for row in rows] == [True, False, False]
    assert "pull" in rows[1]["why"]


def payload(world: Any, number: int) -> dict[str, Any]:
    moment = dt.datetime(2026, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=number)
    return {
        "registry": "registry.test",
        "repository": "team/cart",
        "tag": f"1.{number}.0",
        "digest": digest(f"{world.namespace} {number}"),
        "pushed_at": moment.isoformat().replace("+00:00", "Z"),
        "actor": "ann",
        "event_id": f"e{number}",
    }


def test_a_storm_of_500_pushes_makes_at_most_three_rollouts_and_the_last_one_wins(world):
    """Some of them late and twice; the runs of Application and Rollout go on between."""
    world.config["rollout"]["settle_seconds"] = 1.0
    world.apply()
    services = world.services()
    order = [*range(500), 17, 400, 499]
    for count, number in enumerate(order):
        route(services, payload(world, number))
        if count % 50 == 0:
            world.run_application()
            for one in world.rollouts():
                world.run_rollout(one["metadata"]["name"])
    last = payload(world, 499)["digest"]

    def settled() -> bool:
        world.run_application()
        for one in world.rollouts():
            world.run_rollout(one["metadata"]["name"])
        return world.pods() == {last: 4} and all(
            phase in ("Complete", "Superseded") for phase in world.phases()
        )

    eventually(settled, "the last one runs", 60)
    assert len(world.rollouts()) <= 3


def test_a_push_reaches_those_who_follow_it(world):
    """By repository and tag; no older version comes back, the same event changes nothing."""
    world.apply(follow={"semver": ">=1.5"})
    services = world.services()
    where = f"{world.namespace}/cart"
    assert where not in route(services, payload(world, 3))["followers"]
    assert where in route(services, payload(world, 7))["updated"]
    again = route(services, payload(world, 7))
    assert where in again["followers"]
    assert where not in again["updated"]
    assert where not in route(services, payload(world, 6))["updated"]
    elsewhere = {**payload(world, 9), "repository": "team/other"}
    assert where not in route(services, elsewhere)["followers"]
    wish = json.loads(
        world.get("applications")["metadata"]["annotations"]["kubestorm.io/wanted-image"]
    )
    assert wish["tag"] == "1.7.0"


def autoscaler(world: Any) -> tuple[int, int]:
    found = world.http.get(
        f"/apis/autoscaling/v1/namespaces/{world.namespace}/horizontalpodautoscalers/cart"
    ).json()
    return found["spec"]["minReplicas"], found["spec"]["maxReplicas"]


def test_the_autoscaler_keeps_its_number(world):
    """It had made six pods of four; no rollout changes that, and a canary holds it meanwhile."""
    world.apply(replicas={"min": 4, "max": 12, "targetCPU": 80})
    world.roll("1.0.0")
    assert world.tracks() == {"stable": 4}
    world.merge("deployments", "cart", {"spec": {"replicas": 6}}, "scale")
    world.roll("1.1.0")
    assert world.tracks() == {"stable": 6}
    strategy = {"type": "Canary", "steps": [{"weight": 25, "untilPromoted": True}]}
    world.merge("applications", "cart", {"spec": {"strategy": strategy}})
    world.push("1.2.0")
    world.run_application()
    world.drive(waits)
    # Eight is the next number of which a quarter is a whole one.
    assert world.tracks() == {"stable": 6, "canary": 2}
    assert autoscaler(world) == (6, 6)
    abort(world.services(), world.namespace, world.name)
    world.over()
    assert world.tracks() == {"stable": 8}
    assert autoscaler(world) == (4, 12)


@pytest.mark.parametrize("test", [HTTP_TEST, JOB_TEST], ids=["http", "job"])
def test_the_post_deploy_test_decides(world, living_kube, test):
    """Before the switch, and once more after it."""
    if living_kube.is_real and test is HTTP_TEST:
        pytest.skip("a pretend node's pods have no address that a real API server could reach")
    world.apply(
        strategy={"type": "BlueGreen", "keepSeconds": 0}, test={**test, "timeoutSeconds": 3}
    )
    status = world.roll("1.0.0")
    assert status["phase"] == "Complete", status
    assert "Passed" in status["tested"]
    first = world.newest()["spec"]["image"]["digest"]
    status = world.roll("1.1.0", "unwell fail" if test is HTTP_TEST else "fail")
    assert (status["phase"], status["reason"]) == ("Failed", "TestFailed")
    tested = {one["type"]: one for one in status["conditions"]}["Tested"]
    assert tested["status"] == "False"
    assert ("answered 500" if test is HTTP_TEST else "Job cart-") in tested["message"]
    world.eventually_pods({first: 4})
    assert world.tracks() == {"stable": 4}


def test_a_crash_is_told_with_its_last_lines(world):
    """Without the secrets in them."""
    world.apply()
    world.roll("1.0.0")
    world.config["rollout"]["patience_seconds"] = 60.0
    crashing = world.push("1.1.0", "crash")
    world.run_application()
    lines = "starting\nconnect postgres://cart:opensesame@db/cart\nfatal: no table carts\n"

    def told(status: dict[str, Any]) -> bool:
        for pod in world.list("pods"):
            if crashing in pod["spec"]["containers"][0]["image"]:
                annotations = {"sandbox.kubestorm.io/log": lines}
                world.merge(
                    "pods", pod["metadata"]["name"], {"metadata": {"annotations": annotations}}
                )
        return bool(status.get("finishedAt"))

    status = world.drive(told)
    assert (status["phase"], status["reason"]) == ("Failed", "CrashLoop")
    assert "exit code 1" in status["message"]
    assert "fatal: no table carts" in status["message"]
    assert "opensesame" not in json.dumps([status, world.events()])


def test_a_probe_that_fails_is_told_while_it_is_waited_for(world):
    """Which one, and what it answered; an abort ends the waiting."""
    world.apply()
    world.roll("1.0.0")
    # No watch tells what a probe answers: one look when the patience is over.
    world.config["rollout"]["patience_seconds"] = 3.0
    world.push("1.1.0", "unready")
    world.run_application()
    status = world.drive(lambda status: status.get("reason") == "ProbeFailing")
    assert "Readiness probe failed" in status["message"]
    abort(world.services(), world.namespace, world.name)
    assert world.over()["phase"] == "Aborted"


def test_a_quota_is_told(world, living_kube):
    """In the words of the admission that refuses the pods."""
    if not living_kube.is_real:
        pytest.skip("the sandbox has no quotas")
    world.apply(strategy={"type": "BlueGreen"})
    world.roll("1.0.0")
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "few"},
        "spec": {"hard": {"pods": "5"}},
    }
    world.http.post(
        f"/api/v1/namespaces/{world.namespace}/resourcequotas", json=quota
    ).raise_for_status()
    eventually(
        lambda: "hard" in (world.get("resourcequotas", "few").get("status") or {}),
        "the quota is in force",
    )
    status = world.roll("1.1.0")
    assert (status["phase"], status["reason"]) == ("Failed", "QuotaExceeded")
    assert "exceeded quota: few" in status["message"]


def test_scaling_changes_what_the_application_asks_for(world):
    """Refused with the sentence of its spec where that cannot be."""
    world.apply(strategy=CANARY)
    services = world.services()
    scale(services, world.namespace, world.name, 8)
    assert world.get("applications")["spec"]["replicas"] == {"min": 8}
    scale(services, world.namespace, world.name, 4, 12)
    assert world.get("applications")["spec"]["replicas"]["max"] == 12
    with pytest.raises(DefinitionError, match="cannot express a weight"):
        scale(services, world.namespace, world.name, 3)


def test_logs_are_shown_without_secrets(world):
    """Of every pod, bounded."""
    world.apply(replicas={"min": 1})
    world.roll("1.0.0")
    (pod,) = world.list("pods")
    annotations = {"sandbox.kubestorm.io/log": "one\npassword=hunter22\n"}
    world.merge("pods", pod["metadata"]["name"], {"metadata": {"annotations": annotations}})
    found = eventually(
        lambda: logs(world.services(), world.namespace, world.name)["pods"][
            pod["metadata"]["name"]
        ],
        "a log",
    )
    assert "one" in found
    assert "hunter22" not in found
