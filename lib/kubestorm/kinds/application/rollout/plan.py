"""What a Rollout does next: one pure function of its spec, its status, the observed state, requests
and approvals.

Each decision brings the cluster nearer to the layout of the present stage, or goes on to the next
stage once that layout is reached and its gate is open. The caller carries out the effects, writes
the status, and decides again at once (`again`), when a watched object changes state
(`sources/watching/owned_state`), or at `requeue_at`, which names only what time alone ends. Asked
twice it decides the same; a terminal status stays as it is.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

from kubestorm.core.image_names import short_digest
from kubestorm.core.pod_failures import PodFailure
from kubestorm.kinds.application.rollout import strategies, weights
from kubestorm.kinds.application.rollout.status import Reason
from kubestorm.kinds.application.rollout.values import (
    ABORTED,
    ASKED,
    AWAITING_APPROVAL,
    COMPLETE,
    EXPIRED,
    FAILED,
    NOT_PASSED,
    PASSED,
    PENDING,
    RETURNING,
    ROLLBACK,
    SUPERSEDED,
    TERMINAL,
    WAITING,
    Activate,
    ApplyTrack,
    Approval,
    Approve,
    Autoscale,
    ClearRequest,
    Decision,
    Effect,
    Layout,
    ObservedState,
    Pause,
    Promotion,
    RemoveTrack,
    RolloutRequests,
    RolloutSpec,
    RunTest,
    Select,
    Stage,
    Status,
    Test,
)
from kubestorm.kinds.application.values import BLUE_GREEN, CANARY


def decide(
    spec: RolloutSpec,
    status: Status,
    observed: ObservedState,
    requests: RolloutRequests,
    approval: Approval,
    now: dt.datetime,
) -> Decision:
    """What to do now, what to remember, and what is waited for."""
    if status.phase in TERMINAL:
        return _after_the_end(status, observed, requests, now)
    if requests.superseded_by:
        return _supersede(status, requests, now)
    if status.phase == RETURNING:
        return _walk_back(spec, status, observed, requests, now)
    if requests.abort:
        message = f"Aborted by {requests.abort}."
        return _turn_back(spec, status, observed, now, ABORTED, Reason.ABORTED_BY_REQUEST, message)
    if status.phase in WAITING and not status.base:
        held = _hold(spec, status, observed, requests, approval, now)
        if held is not None:
            return held
        # Written down before anything is changed: where it began is what it returns to.
        return Decision((), _begin(spec, status, observed, now), again=True)
    return _walk(spec, status, observed, requests, approval, now)


def strategy_problem(spec: RolloutSpec) -> Optional[str]:
    """What is wrong with the strategy, as a sentence; None where it can be carried out."""
    strategy = spec.strategy
    if strategy.type != CANARY:
        return None
    if not strategy.steps:
        return "a Canary needs at least one step with a weight, for instance steps: [{weight: 25}]."
    wrong = weights.problem((step.weight for step in strategy.steps), spec.replicas)
    if wrong is None and spec.replicas < 2:
        return "a Canary needs at least two replicas: one stable, one canary."
    return wrong


# Before it begins.


def _hold(
    spec: RolloutSpec,
    status: Status,
    observed: ObservedState,
    requests: RolloutRequests,
    approval: Approval,
    now: dt.datetime,
) -> Optional[Decision]:
    """Why it may not begin yet, with all pods kept stable meanwhile. None where it may."""
    if requests.freeze is not None and spec.cause != ROLLBACK:
        message = f"Frozen by {requests.freeze.owner}: {requests.freeze.reason}"
        return _wait_stable(spec, status, observed, PENDING, Reason.FROZEN, message)
    wrong = strategy_problem(spec)
    if wrong is not None:
        return _turn_back(spec, status, observed, now, FAILED, Reason.STRATEGY_REFUSED, wrong)
    answer = approval.rollout
    if answer.is_open:
        return None
    if answer.state == ASKED:
        message = "Waiting for approval."
        return _wait_stable(
            spec, status, observed, AWAITING_APPROVAL, Reason.AWAITING_APPROVAL, message
        )
    reason, message = _unapproved(answer.state, answer.by)
    return _turn_back(spec, status, observed, now, ABORTED, reason, message)


def _unapproved(state: str, by: str) -> Tuple[str, str]:
    if state == EXPIRED:
        return Reason.APPROVAL_EXPIRED, "Not approved in time."
    return Reason.APPROVAL_REFUSED, f"Refused by {by or 'an unnamed approver'}."


def _wait_stable(
    spec: RolloutSpec,
    status: Status,
    observed: ObservedState,
    phase: str,
    reason: str,
    message: str,
) -> Decision:
    effects: Tuple[Effect, ...] = ()
    if spec.previous:
        total = _total(spec, observed)
        effects = effects_toward(
            strategies.waiting_layout(spec, observed.active, total), observed, total, spec
        )
    waiting = replace(status, phase=phase, reason=reason, message=message, weight=0)
    return Decision(effects, waiting, again=bool(effects))


def _begin(spec: RolloutSpec, status: Status, observed: ObservedState, now: dt.datetime) -> Status:
    total = _total(spec, observed)
    first = strategies.stages(spec, observed.active, total)[0]
    return replace(
        status,
        base=observed.active,
        total=total,
        stage=0,
        phase=first.phase,
        weight=first.weight,
        started_at=status.started_at or now,
        reason=first.name,
        message="Starting.",
        **_fresh(now),
    )


def _fresh(now: dt.datetime) -> Dict[str, Any]:
    """What a stage begins with."""
    return {"since": now, "trouble": "", "trouble_since": None, "unsettled_since": None}


def _total(spec: RolloutSpec, observed: ObservedState) -> int:
    if not spec.autoscaled:
        return spec.replicas
    found = observed.tracks.get(observed.active)
    present = max(found.wanted if found is not None else 0, spec.replicas)
    if spec.strategy.type == CANARY:
        # A canary that was cut short left the stable pods below their number.
        present = max(present, sum(track.wanted for track in observed.tracks.values()))
        steps = (step.weight for step in spec.strategy.steps)
        return weights.total_for(steps, present, spec.replicas, spec.max_replicas)
    return min(present, spec.max_replicas)


# The way forward.


def _walk(
    spec: RolloutSpec,
    status: Status,
    observed: ObservedState,
    requests: RolloutRequests,
    approval: Approval,
    now: dt.datetime,
) -> Decision:
    way = strategies.stages(spec, status.base, status.total)
    came_with = status.stage
    consumed: List[Effect] = []
    promote = requests.promote
    if promote is not None and not promote.full and not _is_about(promote, way, status.stage):
        consumed.append(ClearRequest("promote"))  # it was about another stage
        promote = None
    while status.stage < len(way):
        stage = way[status.stage]
        status = replace(status, phase=stage.phase, weight=stage.weight)
        effects = effects_toward(stage.layout, observed, status.total, spec)
        trouble = _trouble(stage.layout, spec, observed)
        status = _remember_trouble(status, trouble, now)
        if trouble is not None and _is_failure(status, trouble, spec, now):
            return _turn_back(
                spec, status, observed, now, FAILED, trouble.reason, trouble.message, consumed
            )
        if effects or not is_reached(stage.layout, observed, spec.digest):
            status = replace(status, unsettled_since=status.unsettled_since or now)
            if _is_late(status, spec, now):
                reason, message = _late(stage, spec, trouble)
                return _turn_back(spec, status, observed, now, FAILED, reason, message, consumed)
            status = replace(status, **_saying(_progress(stage, observed, spec, trouble)))
            if effects and status.stage != came_with:
                # The stage is written down before anything is done for it: a crash then never goes
                # a stage back.
                return Decision(tuple(consumed), status, again=True)
            requeue_at = _end_of_patience(status, trouble, spec, now)
            return Decision((*consumed, *effects), status, requeue_at, again=bool(effects))
        status = replace(status, unsettled_since=None)
        opening = _gate(stage, status, observed, promote is not None, approval, now)
        if opening.turn_back is not None:
            outcome, reason, message = opening.turn_back
            return _turn_back(spec, status, observed, now, outcome, reason, message, consumed)
        if not opening.is_open:
            status = replace(status, **_saying((opening.reason, opening.message)))
            if opening.tested:
                status = replace(status, tested=opening.tested)
            return Decision((*consumed, *opening.effects), status, opening.requeue_at)
        if isinstance(stage.gate, Pause) and promote is not None and not promote.full:
            consumed.append(ClearRequest("promote"))
            promote = None
        status = replace(
            status, stage=status.stage + 1, tested=opening.tested or status.tested, **_fresh(now)
        )
    if promote is not None or requests.promote is not None:
        consumed = [ClearRequest("promote")]
    return _complete(spec, status, now, consumed)


def _is_about(promote: Promotion, way: Sequence[Stage], stage: int) -> bool:
    paused = stage < len(way) and isinstance(way[stage].gate, Pause)
    return paused and promote.stage in (-1, stage)


class _Opening(NamedTuple):
    """Whether a gate is open, and if not, what to do and to say meanwhile."""

    is_open: bool = False
    reason: str = ""
    message: str = ""
    effects: Tuple[Effect, ...] = ()
    requeue_at: Optional[dt.datetime] = None
    turn_back: Optional[Tuple[str, str, str]] = None
    """Outcome, reason and message."""
    tested: str = ""


def _gate(
    stage: Stage,
    status: Status,
    observed: ObservedState,
    promoted: bool,
    approval: Approval,
    now: dt.datetime,
) -> _Opening:
    gate = stage.gate
    if isinstance(gate, Test):
        return _test_gate(gate, observed)
    if isinstance(gate, Approve):
        return _approval_gate(approval)
    if isinstance(gate, Pause) and not promoted:
        share = (
            f"{stage.weight} % of the pods run the new image"
            if stage.weight
            else "New pods are ready"
        )
        if gate.seconds is None:
            return _Opening(
                reason=Reason.AWAITING_PROMOTION, message=f"{share}; waiting for promotion."
            )
        ends_at = (status.since or now) + dt.timedelta(seconds=gate.seconds)
        if now < ends_at:
            message = f"{share}; continuing after {gate.seconds:.0f} s, or when promoted."
            return _Opening(reason=Reason.PAUSED, message=message, requeue_at=ends_at)
    return _Opening(is_open=True)


def _test_gate(gate: Test, observed: ObservedState) -> _Opening:
    found = observed.test if observed.test is not None and observed.test.key == gate.key else None
    if found is not None and found.state == PASSED:
        return _Opening(is_open=True, tested=found.message or "Passed.")
    if found is not None and found.state == NOT_PASSED:
        return _Opening(
            turn_back=(FAILED, Reason.TEST_FAILED, f"The post-deploy test failed: {found.message}")
        )
    said = f" So far: {found.message}" if found is not None and found.message else ""
    run = (RunTest(gate.key, gate.track),)
    # The caller runs it and says when to try again.
    return _Opening(
        reason=Reason.TESTING, message=f"Running the post-deploy test.{said}", effects=run
    )


def _approval_gate(approval: Approval) -> _Opening:
    answer = approval.promote
    if answer.is_open:
        return _Opening(is_open=True)
    if answer.state == ASKED:
        return _Opening(
            reason=Reason.AWAITING_APPROVAL, message="Waiting for the promotion to be approved."
        )
    reason, message = _unapproved(answer.state, answer.by)
    return _Opening(turn_back=(ABORTED, reason, message))


def _complete(
    spec: RolloutSpec, status: Status, now: dt.datetime, effects: Sequence[Effect]
) -> Decision:
    keeps = spec.strategy.type == BLUE_GREEN and bool(spec.previous)
    until = now + dt.timedelta(seconds=spec.strategy.keep_seconds) if keeps else None
    message = "All pods run the new image."
    if keeps:
        kept = f"{spec.strategy.keep_seconds:.0f} s"
        message += f" The old pods are kept for {kept} for an instant rollback."
    done = replace(
        status,
        phase=COMPLETE,
        weight=100,
        reason=Reason.COMPLETE,
        message=message,
        finished_at=now,
        keep_until=until,
    )
    return Decision(tuple(effects), done, until)


def _after_the_end(
    status: Status, observed: ObservedState, requests: RolloutRequests, now: dt.datetime
) -> Decision:
    """A rollout that has ended only removes, in its time, the old pods that it kept."""
    if status.keep_until is None:
        return Decision((), status)
    if not requests.latest:
        return Decision((), replace(status, keep_until=None))  # the pods are the newer one's
    if now < status.keep_until:
        return Decision((), status, status.keep_until)
    if status.base in observed.tracks and status.base != observed.active:
        return Decision((RemoveTrack(status.base),), status, again=True)
    return Decision((), replace(status, keep_until=None))


def _supersede(status: Status, requests: RolloutRequests, now: dt.datetime) -> Decision:
    """End it for a newer rollout, which takes over the cluster as it is."""
    if status.outcome:
        ended = replace(status, phase=status.outcome, finished_at=now)
    else:
        message = f"Superseded by {requests.superseded_by}."
        ended = replace(
            status, phase=SUPERSEDED, reason=Reason.SUPERSEDED, message=message, finished_at=now
        )
    return Decision((), replace(ended, weight=0))


# The way back.


def _turn_back(
    spec: RolloutSpec,
    status: Status,
    observed: ObservedState,
    now: dt.datetime,
    outcome: str,
    reason: str,
    message: str,
    before: Sequence[Effect] = (),
) -> Decision:
    begun = status.base or observed.active
    turned = replace(
        status,
        phase=RETURNING,
        outcome=outcome,
        reason=reason,
        message=message,
        stage=0,
        base=begun,
        total=status.total or _total(spec, observed),
        weight=0,
        **_fresh(now),
    )
    if reason == Reason.TEST_FAILED:
        turned = replace(turned, tested=message)
    # Written down before anything is done about it: a crash meanwhile never tries the image again.
    return Decision(tuple(before), turned, again=True)


def _walk_back(
    spec: RolloutSpec,
    status: Status,
    observed: ObservedState,
    requests: RolloutRequests,
    now: dt.datetime,
) -> Decision:
    """Return to 100 % stable, and wait for the pods of the last good image without a limit."""
    way = strategies.way_back(spec, status.base, status.total)
    consumed: List[Effect] = [ClearRequest("abort")] if requests.abort else []
    if requests.promote is not None:
        consumed.append(ClearRequest("promote"))
    while status.stage < len(way):
        stage = way[status.stage]
        effects = effects_toward(stage.layout, observed, status.total, spec)
        if effects or not is_reached(stage.layout, observed, spec.previous):
            requeue_at = _next_of(status.since or now, spec.strategy.deadline_seconds, now)
            return Decision((*consumed, *effects), status, requeue_at, again=bool(effects))
        status = replace(status, stage=status.stage + 1, **_fresh(now))
    message = status.message if status.message.endswith((".", "!", "?")) else f"{status.message}."
    if spec.previous:
        message = f"{message} Rolled back to {short_digest(spec.previous)}."
    ended = replace(status, phase=status.outcome, message=message, finished_at=now)
    return Decision(tuple(consumed), ended)


# The cluster and the layout.


def effects_toward(
    layout: Layout, observed: ObservedState, total: int, spec: RolloutSpec
) -> Tuple[Effect, ...]:
    """What differs from the layout, ordered so that pods that serve are removed only once others
    serve.
    """
    grow: List[Effect] = []
    shrink: List[Effect] = []
    for track, place in layout.tracks.items():
        found = observed.tracks.get(track)
        if found is None:
            count = total if place.replicas is None else place.replicas
            grow.append(ApplyTrack(track, place.digest, count, by_scale=spec.autoscaled))
        elif found.digest != place.digest or (
            place.replicas is not None and found.wanted != place.replicas
        ):
            apply = ApplyTrack(track, place.digest, place.replicas, by_scale=spec.autoscaled)
            is_less = (
                place.replicas is not None
                and place.replicas < found.wanted
                and found.digest == place.digest
            )
            (shrink if is_less else grow).append(apply)
    effects: List[Effect] = []
    scaler = observed.autoscaler
    if scaler is not None and (scaler.track, scaler.held) != (layout.scaled, layout.held):
        # Held before the numbers change, or it would change them back; released last.
        (effects if layout.held is not None else shrink).append(
            Autoscale(layout.scaled, layout.held)
        )
    effects += grow
    if observed.selected is not None and observed.selected != layout.selected:
        effects.append(Select(layout.selected))
    if observed.active != layout.active:
        effects.append(Activate(layout.active))
    effects += shrink
    kept = {*layout.tracks, *layout.spared}
    effects += [RemoveTrack(track) for track in sorted(observed.tracks) if track not in kept]
    return tuple(effects)


def is_reached(layout: Layout, observed: ObservedState, digest: str) -> bool:
    """Whether the pods that serve, or run `digest`, are all there and available."""
    needed = [
        track
        for track, place in layout.tracks.items()
        if place.digest == digest or not layout.selected or track in layout.selected
    ]
    return all(track in observed.tracks and observed.tracks[track].is_settled() for track in needed)


def _trouble(layout: Layout, spec: RolloutSpec, observed: ObservedState) -> Optional[PodFailure]:
    """Why pods of the new image are not available; pods of the old one do not count."""
    for track, place in layout.tracks.items():
        found = observed.tracks.get(track)
        if found is None or place.digest != spec.digest or found.digest != spec.digest:
            continue
        if found.failure is not None:
            return found.failure
    return None


def _remember_trouble(status: Status, trouble: Optional[PodFailure], now: dt.datetime) -> Status:
    if trouble is None:
        return replace(status, trouble="", trouble_since=None)
    return replace(status, trouble=trouble.reason, trouble_since=status.trouble_since or now)


def _is_failure(status: Status, trouble: PodFailure, spec: RolloutSpec, now: dt.datetime) -> bool:
    patient = trouble.slow or _elapsed(status.trouble_since, now) < spec.patience_seconds
    return trouble.final or not patient


def _is_late(status: Status, spec: RolloutSpec, now: dt.datetime) -> bool:
    return _elapsed(status.unsettled_since, now) >= spec.strategy.deadline_seconds


def _end_of_patience(
    status: Status, trouble: Optional[PodFailure], spec: RolloutSpec, now: dt.datetime
) -> dt.datetime:
    """When pods that are not all available are judged without anything having happened: as failed,
    or once to report what their probes answer, which is in Events, which are not watched.
    """
    deadline = dt.timedelta(seconds=spec.strategy.deadline_seconds)
    patience = dt.timedelta(seconds=spec.patience_seconds)
    late = (status.unsettled_since or now) + deadline
    if trouble is not None and not trouble.slow:
        return min(late, (status.trouble_since or now) + patience)
    told = (status.unsettled_since or now) + patience
    return min(late, told) if now < told else late


def _next_of(since: dt.datetime, seconds: float, now: dt.datetime) -> dt.datetime:
    """The next of the moments `since` plus a multiple of `seconds`: the same for some time, and
    never over.
    """
    passed = int((now - since).total_seconds() // seconds) if now > since else 0
    return since + dt.timedelta(seconds=seconds * (passed + 1))


def _late(stage: Stage, spec: RolloutSpec, trouble: Optional[PodFailure]) -> Tuple[str, str]:
    seconds = spec.strategy.deadline_seconds
    if trouble is not None:
        return trouble.reason, f"{trouble.message} (deadline of {seconds:.0f} s)"
    return (
        Reason.DEADLINE_EXCEEDED,
        f"The pods of stage {stage.name} were not available within {seconds:.0f} s.",
    )


def _progress(
    stage: Stage, observed: ObservedState, spec: RolloutSpec, trouble: Optional[PodFailure]
) -> Tuple[str, str]:
    tracks = [
        observed.tracks[track]
        for track, place in stage.layout.tracks.items()
        if track in observed.tracks
    ]
    new = [track for track in tracks if track.digest == spec.digest]
    updated, wanted = sum(track.updated for track in new), sum(track.wanted for track in new)
    available = sum(track.updated_available for track in new)
    text = f"{stage.name}: {updated} of {wanted} pods run the new image, {available} available."
    if trouble is not None:
        return trouble.reason, f"{text} {trouble.message}"
    return stage.name, text


def _saying(said: Tuple[str, str]) -> Dict[str, Any]:
    return {"reason": said[0], "message": said[1]}


def _elapsed(since: Optional[dt.datetime], now: dt.datetime) -> float:
    return (now - since).total_seconds() if since is not None else 0.0
