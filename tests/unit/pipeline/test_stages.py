"""Where a delivery is, as it follows from the ImageBuild and the Rollouts."""

from __future__ import annotations

from typing import Any

import pytest
from kubestorm.kinds.build.pipeline import plan as pipeline
from kubestorm.kinds.build.pipeline.plan import (
    Follower,
    Stage,
    build_stages,
    outcome_of,
    rollout_stages,
    sentence,
    stopped_stages,
    why_stopped,
)


def status(phase: str, outcome: str = "", *images: dict[str, Any]) -> dict[str, Any]:
    build = {"requestId": "r1", "number": 3, "phase": phase, "outcome": outcome, "message": "said"}
    return {"build": build, "images": [{"build": 3, **each} for each in images]}


def image(state: str, **more: Any) -> dict[str, Any]:
    return {"name": "cart", "state": state, **more}


BUILDS: dict[str, tuple[dict[str, Any], tuple[str, str, str]]] = {
    "another build": (
        {"build": {"requestId": "r0", "phase": "Finished"}},
        ("waiting", "waiting", "waiting"),
    ),
    "nothing yet": ({}, ("waiting", "waiting", "waiting")),
    "requested": (status("Requested"), ("waiting", "waiting", "waiting")),
    "building": (status("Running", "", image("Building")), ("waiting", "waiting", "waiting")),
    "one waits": (
        status("Running", "", image("Pushed"), image("Waiting")),
        ("waiting", "waiting", "waiting"),
    ),
    "testing": (status("Running", "", image("Testing")), ("succeeded", "waiting", "waiting")),
    "pushing": (status("Running", "", image("Pushing")), ("succeeded", "succeeded", "waiting")),
    "pushed": (
        status("Finished", "Succeeded", image("Pushed")),
        ("succeeded", "succeeded", "succeeded"),
    ),
    "nothing to do": (
        status("Finished", "NothingToDo", image("Skipped")),
        ("skipped", "skipped", "skipped"),
    ),
    "the build failed": (
        status("Finished", "Failed", image("Failed", failedStage="build", message="no")),
        ("failed", "skipped", "skipped"),
    ),
    "the test failed": (
        status("Finished", "Failed", image("Failed", failedStage="test")),
        ("succeeded", "failed", "skipped"),
    ),
    "the push failed": (
        status("Finished", "Failed", image("Failed", failedStage="push")),
        ("succeeded", "succeeded", "failed"),
    ),
    "canceled": (
        status("Finished", "Canceled", image("Canceled")),
        ("failed", "skipped", "skipped"),
    ),
}


@pytest.mark.parametrize("found, outcomes", BUILDS.values(), ids=BUILDS.keys())
def test_the_stages_of_a_build(found: dict[str, Any], outcomes: tuple[str, str, str]) -> None:
    """build, test and push, from the build that answers the request."""
    assert tuple(stage.outcome for stage in build_stages(found, "r1", has_test=True)) == outcomes


def image_build(
    asked: str, build: str = "", *, by: str = "ben", valid: tuple[str, int] = ("Valid", 2)
) -> dict[str, Any]:
    request = {"kubestorm.io/build-request": f'{{"id": "{asked}", "by": "{by}"}}'} if asked else {}
    condition = {"type": "SpecValid", "status": "False", "reason": valid[0], "message": "Says why."}
    return {
        "metadata": {"generation": 2, "annotations": request},
        "status": {
            "build": {"requestId": build} if build else {},
            "conditions": [{**condition, "observedGeneration": valid[1]}],
        },
    }


STOPPED: dict[str, tuple[dict[str, Any], str]] = {
    "it is being built": (image_build("r1", "r1"), ""),
    "it was built, and another is asked for": (image_build("r2", "r1"), ""),
    "it waits to begin": (image_build("r1", "r0"), ""),
    "another took its place": (
        image_build("r2", "r2"),
        "Replaced by another build, requested by ben.",
    ),
    "another came before it began": (
        image_build("r2", "r0", by=""),
        "Replaced by another build, requested by somebody.",
    ),
    "it was taken away": (image_build("", "r0"), "The request for the build was removed."),
    "the spec is refused": (image_build("r1", valid=("InvalidSpec", 2)), "Says why."),
    "an older spec was refused": (image_build("r1", valid=("InvalidSpec", 1)), ""),
    "Kubernetes was away for a moment": (image_build("r1", valid=("KubernetesUnavailable", 2)), ""),
}


@pytest.mark.parametrize("found, why", STOPPED.values(), ids=STOPPED.keys())
def test_a_run_that_cannot_go_on(found: dict[str, Any], why: str) -> None:
    """Nobody waits for a build that will not come."""
    assert why_stopped(found, "r1") == why


def test_what_was_done_stays_done_when_a_run_stops() -> None:
    """The stage that it stood at failed, with the reason, and so the run."""
    before = [
        Stage("build", "succeeded"),
        Stage("test", "skipped"),
        Stage("push", "succeeded"),
        Stage("rollout", "waiting"),
    ]
    stages = stopped_stages(before, "Why.")
    assert [each.outcome for each in stages] == [
        "succeeded",
        "skipped",
        "succeeded",
        "failed",
        "skipped",
    ]
    assert sentence(stages) == "rollout failed: Why."
    assert outcome_of(stopped_stages((), "Why.")) == "failed"


def test_a_build_without_a_test() -> None:
    """The stage is skipped, and says why."""
    found = build_stages(status("Finished", "Succeeded", image("Pushed")), "r1", has_test=False)
    assert (found[1].outcome, found[1].message) == (
        "skipped",
        "The ImageBuild has no test command.",
    )


def follower(phase: str, tested: str = "", name: str = "cart", **more: Any) -> Follower:
    told = {"type": "Tested", "status": "True", "reason": "NotAsked"}
    conditions = [{"type": "Tested", "status": tested, "reason": "Passed"}] if tested else [told]
    rollout = {"status": {"phase": phase, "conditions": conditions, **more}} if phase else None
    return Follower(name, "sha256:0", rollout)


ROLLOUTS: dict[str, tuple[list[Follower], tuple[str, str]]] = {
    "nobody follows": ([], ("skipped", "skipped")),
    "not begun": ([follower("")], ("waiting", "waiting")),
    "under way": ([follower("Progressing")], ("waiting", "waiting")),
    "asked": ([follower("AwaitingApproval")], ("waiting", "waiting")),
    "complete without a test": ([follower("Complete")], ("succeeded", "skipped")),
    "complete and tested": ([follower("Complete", "True")], ("succeeded", "succeeded")),
    "one of two": ([follower("Complete"), follower("Testing", name="b")], ("waiting", "waiting")),
    "failed": ([follower("Failed", message="CrashLoop")], ("failed", "skipped")),
    "failed beside one under way": (
        [follower("Failed"), follower("Progressing", name="b")],
        ("failed", "skipped"),
    ),
    "the test failed": ([follower("Failed", "False")], ("succeeded", "failed")),
    "aborted": ([follower("Aborted")], ("failed", "skipped")),
    "superseded": ([follower("Superseded")], ("failed", "skipped")),
}


@pytest.mark.parametrize("followers, outcomes", ROLLOUTS.values(), ids=ROLLOUTS.keys())
def test_the_stages_of_a_rollout(followers: list[Follower], outcomes: tuple[str, str]) -> None:
    """rollout and post-deploy test, of all Applications that follow."""
    assert tuple(stage.outcome for stage in rollout_stages(followers)) == outcomes


def test_the_sentence_says_what_failed() -> None:
    """The stage and its reason."""
    found = rollout_stages([follower("Failed", message="CrashLoop: ended with 1")])
    assert outcome_of(found) == pipeline.FAILED
    assert sentence(found) == "rollout failed: cart: CrashLoop: ended with 1"


def test_the_sentence_says_what_is_waited_for() -> None:
    """The first stage that has not ended."""
    found = (
        *build_stages(status("Finished", "Succeeded", image("Pushed")), "r1", has_test=True),
        *rollout_stages([follower("")]),
    )
    assert outcome_of(found) == pipeline.WAITING
    assert sentence(found) == "rollout: cart: waiting for its rollout to start"
