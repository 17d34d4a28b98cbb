"""The stages of a delivery, as they follow from the ImageBuild and the Rollouts. Pure.

    build -> test -> push -> rollout -> post-deploy test

The first three are the ImageBuild's, whose test command runs in the built image before the push.
The last two are those of the Rollouts of the Applications that follow the pushed images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, List, Mapping, Optional, Sequence, Tuple

from kubestorm.core import untrusted
from kubestorm.core.conditions import FALSE, TRUE, condition_in
from kubestorm.kinds.application.rollout.status import TESTED
from kubestorm.kinds.application.rollout.status import Reason as RolloutReason
from kubestorm.kinds.application.rollout.values import COMPLETE, TERMINAL
from kubestorm.kinds.build.status import (
    SPEC_VALID,
    ImageState,
    Outcome,
    Phase,
    Reason,
    images_of,
    read_request,
)

BUILD, TEST, PUSH, ROLLOUT, POST_DEPLOY_TEST = (
    "build",
    "test",
    "push",
    "rollout",
    "post-deploy test",
)
NAMES = (BUILD, TEST, PUSH, ROLLOUT, POST_DEPLOY_TEST)
WAITING, SUCCEEDED, FAILED, SKIPPED = "waiting", "succeeded", "failed", "skipped"
DONE = frozenset((SUCCEEDED, FAILED, SKIPPED))


@dataclass(frozen=True)
class Stage:
    name: str
    outcome: str
    message: str = ""


@dataclass(frozen=True)
class Follower:
    """An Application that follows one of the pushed images, with its Rollout of that image."""

    name: str
    digest: str
    rollout: Optional[Mapping[str, Any]] = None


def build_stages(
    status: Mapping[str, Any], request_id: str, *, has_test: bool
) -> Tuple[Stage, ...]:
    """build, test and push of the build that answers a request."""
    build = untrusted.mapping(status.get("build"))
    if build.get("requestId") != request_id:
        return _waiting((BUILD, TEST, PUSH), "Waiting for the build to start.")
    images = [each for each in images_of(status) if each.get("build") == build.get("number")]
    message = str(build.get("message") or "")
    if build.get("phase") != Phase.FINISHED:
        return _under_way(images, message, has_test=has_test)
    outcome = build.get("outcome")
    if outcome == Outcome.NOTHING_TO_DO:
        return tuple(
            Stage(name, SKIPPED, "No image had to be built.") for name in (BUILD, TEST, PUSH)
        )
    if outcome == Outcome.SUCCEEDED:
        return Stage(BUILD, SUCCEEDED, message), _test(has_test), Stage(PUSH, SUCCEEDED, message)
    failed: Mapping[str, Any] = next(
        (each for each in images if each.get("state") == ImageState.FAILED), {}
    )
    where = str(failed.get("failedStage") or BUILD)
    why = f"{failed['name']}: {failed.get('message', '')}" if failed else message
    return _failed_at(where if where in (BUILD, TEST, PUSH) else BUILD, why, has_test=has_test)


def _test(has_test: bool) -> Stage:
    return (
        Stage(TEST, SUCCEEDED)
        if has_test
        else Stage(TEST, SKIPPED, "The ImageBuild has no test command.")
    )


def _under_way(
    images: Sequence[Mapping[str, Any]], message: str, *, has_test: bool
) -> Tuple[Stage, ...]:
    states = {str(each.get("state")) for each in images}
    if not images or states & {ImageState.WAITING, ImageState.BUILDING}:
        return _waiting((BUILD, TEST, PUSH), message or "Building.")
    if ImageState.TESTING in states:
        return Stage(BUILD, SUCCEEDED), Stage(TEST, WAITING, "Testing."), Stage(PUSH, WAITING)
    return Stage(BUILD, SUCCEEDED), _test(has_test), Stage(PUSH, WAITING, "Pushing.")


def _failed_at(where: str, why: str, *, has_test: bool) -> Tuple[Stage, ...]:
    stages: List[Stage] = []
    for name in (BUILD, TEST, PUSH):
        if name == where:
            stages.append(Stage(name, FAILED, why))
        elif any(each.outcome == FAILED for each in stages):
            stages.append(Stage(name, SKIPPED, f"{where} failed."))
        else:
            stages.append(_test(has_test) if name == TEST else Stage(name, SUCCEEDED))
    return tuple(stages)


def rollout_stages(followers: Sequence[Follower]) -> Tuple[Stage, ...]:
    """rollout and post-deploy test of all Applications that follow the pushed images."""
    if not followers:
        return tuple(
            Stage(name, SKIPPED, "No Application follows the pushed images.")
            for name in (ROLLOUT, POST_DEPLOY_TEST)
        )
    unfinished = [each for each in followers if _phase(each) not in TERMINAL]
    bad = [each for each in followers if _phase(each) in TERMINAL and _phase(each) != COMPLETE]
    untested = [each for each in bad if _tested(each) == FALSE]
    if bad:
        why = "; ".join(f"{each.name}: {_message(each)}" for each in bad)
        if len(untested) == len(bad):
            return Stage(ROLLOUT, SUCCEEDED), Stage(POST_DEPLOY_TEST, FAILED, why)
        return Stage(ROLLOUT, FAILED, why), Stage(POST_DEPLOY_TEST, SKIPPED, "The rollout failed.")
    if unfinished:
        where = "; ".join(
            f"{each.name}: {_phase(each) or 'waiting for its rollout to start'}"
            for each in unfinished
        )
        return _waiting((ROLLOUT, POST_DEPLOY_TEST), where)
    names = ", ".join(each.name for each in followers)
    tested = any(_tested(each) == TRUE for each in followers)
    after = (
        Stage(POST_DEPLOY_TEST, SUCCEEDED)
        if tested
        else Stage(POST_DEPLOY_TEST, SKIPPED, "No Application has a post-deploy test.")
    )
    return Stage(ROLLOUT, SUCCEEDED, f"Rolled out to {names}."), after


def why_stopped(resource: Mapping[str, Any], request_id: str) -> str:
    """Why the requested build will not start; empty while it may, or has started.

    The status has room for one build and the annotations for one request: a later request replaces
    an earlier one.
    """
    status, metadata = untrusted.status(resource), resource["metadata"]
    if untrusted.mapping(status.get("build")).get("requestId") == request_id:
        return ""
    request = read_request(untrusted.texts(metadata.get("annotations")))
    if request is None:
        return "The request for the build was removed."
    if request.id != request_id:
        return f"Replaced by another build, requested by {request.by or 'somebody'}."
    valid = condition_in(status, SPEC_VALID)
    is_about_it = valid.get("observedGeneration") == metadata.get("generation")
    if valid.get("reason") == Reason.INVALID_SPEC and is_about_it:
        return str(valid.get("message") or "The ImageBuild's spec is invalid.")
    return ""


def stopped_stages(before: Sequence[Stage], why: str) -> Tuple[Stage, ...]:
    """The stages of a delivery that cannot continue: finished ones stay, the current one failed."""
    done = {stage.name: stage for stage in before if stage.outcome in DONE}
    stages: List[Stage] = []
    for name in NAMES:
        if any(each.outcome == FAILED for each in stages):
            stages.append(Stage(name, SKIPPED, why))
        else:
            stages.append(done.get(name) or Stage(name, FAILED, why))
    return tuple(stages)


def skipped_rollout(why: str) -> Tuple[Stage, ...]:
    """The last two stages, where they are not reached."""
    return tuple(Stage(name, SKIPPED, why) for name in (ROLLOUT, POST_DEPLOY_TEST))


def outcome_of(stages: Sequence[Stage]) -> str:
    """The delivery's outcome: failed as soon as a stage is, succeeded when all are done."""
    if any(stage.outcome == FAILED for stage in stages):
        return FAILED
    return SUCCEEDED if all(stage.outcome in DONE for stage in stages) else WAITING


def sentence(stages: Sequence[Stage]) -> str:
    """How far the delivery is, for people."""
    failed = next((stage for stage in stages if stage.outcome == FAILED), None)
    if failed:
        return f"{failed.name} failed: {failed.message}"
    waiting = next((stage for stage in stages if stage.outcome == WAITING), None)
    if waiting:
        return f"{waiting.name}: {waiting.message}"
    return "; ".join(f"{stage.name} {stage.outcome}" for stage in stages) + "."


def _waiting(names: Sequence[str], message: str) -> Tuple[Stage, ...]:
    return tuple(Stage(name, WAITING, message if name == names[0] else "") for name in names)


def _phase(follower: Follower) -> str:
    return untrusted.text(untrusted.status(follower.rollout).get("phase"))


def _message(follower: Follower) -> str:
    status = untrusted.status(follower.rollout)
    texts = (untrusted.text(status.get(field)) for field in ("message", "reason", "phase"))
    return next(filter(None, texts), "")


def _tested(follower: Follower) -> str:
    """The status of the Rollout's condition Tested; empty where there is no test."""
    condition = condition_in(untrusted.status(follower.rollout), TESTED)
    return (
        ""
        if condition.get("reason") == RolloutReason.NOT_ASKED
        else str(condition.get("status") or "")
    )
