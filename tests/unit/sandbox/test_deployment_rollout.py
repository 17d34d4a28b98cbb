"""The Deployment controller's arithmetic: how far each step of a rollout goes."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.kubernetes.controllers import rollout
from sandbox.kubernetes.controllers.rollout import Scale

NOW = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)


def deployment(
    replicas: int, surge: int | str = "25%", unavailable: int | str = "25%", **spec: Any
) -> dict[str, Any]:
    """A Deployment with these bounds."""
    rolling = {"maxSurge": surge, "maxUnavailable": unavailable}
    strategy = {"type": "RollingUpdate", "rollingUpdate": rolling}
    made = {"replicas": replicas, "strategy": strategy, "template": {"spec": {}}, **spec}
    return {"metadata": {"name": "web", "generation": 1}, "spec": made}


def replica_set(
    name: str, replicas: int, available: int = 0, most: int | None = None
) -> dict[str, Any]:
    """A ReplicaSet of so many wanted pods, of which some are available."""
    annotations = {} if most is None else {rollout.MAX_REPLICAS: str(most)}
    return {
        "metadata": {
            "name": name,
            "creationTimestamp": f"2026-01-01T00:00:0{name[-1]}Z",
            "annotations": annotations,
        },
        "spec": {"replicas": replicas},
        "status": {"replicas": replicas, "availableReplicas": available},
    }


@pytest.mark.parametrize(
    "surge, unavailable, expected",
    [
        pytest.param("25%", "25%", (3, 2), id="surge up, unavailable down"),
        pytest.param(0, 0, (0, 1), id="one of them is above zero"),
        pytest.param("100%", 0, (10, 0), id="whole"),
        pytest.param(2, 50, (2, 10), id="no more unavailable than wanted"),
    ],
)
def test_bounds(surge: int | str, unavailable: int | str, expected: tuple[int, int]) -> None:
    """Percentages become numbers as the documentation of Deployments says."""
    bounds = rollout.bounds_of(deployment(10, surge, unavailable))
    assert (bounds.surge, bounds.unavailable) == expected


@pytest.mark.parametrize(
    "new, old, steps",
    [
        pytest.param((0, 0), (10, 10), [Scale("new-2", 3)], id="surge first"),
        pytest.param(
            (3, 0), (10, 10), [Scale("old-1", 8)], id="then as many as may be unavailable"
        ),
        pytest.param((3, 0), (8, 8), [Scale("new-2", 5)], id="then up to the surge again"),
        pytest.param((5, 0), (8, 8), [], id="wait for the new ones"),
        pytest.param((5, 0), (8, 6), [], id="unavailable old ones go only where the budget allows"),
        pytest.param((5, 3), (8, 6), [Scale("old-1", 5)], id="unavailable old ones go first"),
        pytest.param((10, 10), (3, 3), [Scale("old-1", 0)], id="the last old ones go"),
        pytest.param((10, 10), (0, 0), [], id="done"),
    ],
)
def test_rolling_steps(new: tuple[int, int], old: tuple[int, int], steps: list[Scale]) -> None:
    """Each step goes as far as surge and unavailability of ten pods (3 and 2) allow."""
    planned = rollout.plan_rolling_update(
        deployment(10), replica_set("new-2", *new), [replica_set("old-1", *old)]
    )
    assert planned == steps


@given(
    replicas=st.integers(1, 20),
    surge=st.integers(0, 10),
    unavailable=st.integers(0, 10),
    order=st.lists(st.booleans(), max_size=60),
)
def test_rollout_stays_within_its_bounds(
    replicas: int, surge: int, unavailable: int, order: list[bool]
) -> None:
    """Whatever the order in which pods become ready, there are never too many, nor too few
    available; and it ends.
    """
    wanted = deployment(replicas, surge, unavailable)
    bounds = rollout.bounds_of(wanted)
    sets = {"new-2": replica_set("new-2", 0), "old-1": replica_set("old-1", replicas, replicas)}
    for ready in [*order, *[True] * 100]:
        if ready:
            item = sets["new-2"]
            item["status"]["availableReplicas"] = min(
                item["spec"]["replicas"], rollout.available_of(item) + 1
            )
        for step in rollout.plan_rolling_update(wanted, sets["new-2"], [sets["old-1"]]):
            item = sets[step.name]
            item["spec"]["replicas"] = step.replicas
            item["status"]["availableReplicas"] = min(step.replicas, rollout.available_of(item))
        assert sum(item["spec"]["replicas"] for item in sets.values()) <= bounds.most
        assert sum(rollout.available_of(item) for item in sets.values()) >= bounds.least_available
    assert {name: item["spec"]["replicas"] for name, item in sets.items()} == {
        "new-2": replicas,
        "old-1": 0,
    }


def test_scaling_in_the_middle_of_a_rollout_is_proportional() -> None:
    """The documented example: 10 pods as 8 and 5 (surge 3), scaled to 15, add 3 and 2."""
    steps = rollout.plan_scaling(
        deployment(15, 3, 2), replica_set("new-2", 5, most=13), [replica_set("old-1", 8, most=13)]
    )
    assert steps == [Scale("old-1", 11), Scale("new-2", 7)]


def test_template_hash_ignores_nothing_but_its_own_label() -> None:
    """Templates that differ have other names; the label of the hash itself does not count."""
    plain = {"metadata": {"labels": {"app": "web"}}, "spec": {"a": 1}}
    labelled = {**plain, "metadata": {"labels": {"app": "web", rollout.HASH_LABEL: "x"}}}
    assert rollout.without_hash(labelled) == plain
    assert rollout.template_hash(plain) != rollout.template_hash({**plain, "spec": {"a": 2}})
    assert rollout.template_hash(plain) != rollout.template_hash(plain, 1)


@pytest.mark.parametrize(
    "seconds, reason",
    [
        pytest.param(60, "ReplicaSetUpdated", id="in time"),
        pytest.param(61, "ProgressDeadlineExceeded", id="late"),
    ],
)
def test_progress_deadline(seconds: int, reason: str) -> None:
    """Without progress the rollout counts as failed once the deadline has passed, not before."""
    before = {
        "type": "Progressing",
        "status": "True",
        "reason": "ReplicaSetUpdated",
        "message": "",
        "lastUpdateTime": rollout.timestamp(NOW - dt.timedelta(seconds=seconds)),
        "lastTransitionTime": rollout.timestamp(NOW),
    }
    wanted = deployment(2, progressDeadlineSeconds=60)
    wanted["status"] = {"replicas": 2, "updatedReplicas": 2, "conditions": [before]}
    status = rollout.deployment_status(wanted, replica_set("new-2", 2), [], NOW)
    assert {entry["type"]: entry["reason"] for entry in status["conditions"]}[
        "Progressing"
    ] == reason
