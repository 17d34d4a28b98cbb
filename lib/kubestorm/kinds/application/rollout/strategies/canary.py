"""Canary: a growing share of the pods runs the new image, behind the one Service; the share is a
number of pods.

At every step the canary grows first and the stable pods shrink when it is available, so that there
are never fewer pods than wanted. At the end the stable Deployment takes the new image while the
canary still serves.
"""

from __future__ import annotations

from typing import Dict, List, Tuple

from kubestorm.kinds.application.rollout.values import (
    AWAITING_APPROVAL,
    CANARY_TRACK,
    PAUSED,
    PROGRESSING,
    PROMOTING,
    TESTING,
    Approve,
    Layout,
    Pause,
    RolloutSpec,
    Stage,
    Test,
    TrackTarget,
)
from kubestorm.kinds.application.rollout.weights import PERCENT, pods_for


def stages(spec: RolloutSpec, base: str, total: int) -> Tuple[Stage, ...]:
    """The steps with a share of the pods, and the promotion. A last step of 100 % is the promotion
    itself.
    """
    way: List[Stage] = []
    stable, canary = total, 0
    for number, step in enumerate(
        (step for step in spec.strategy.steps if step.weight < PERCENT), start=1
    ):
        pods = pods_for(step.weight, total)
        grown = _layout(spec, base, max(stable, total - pods), max(canary, pods))
        stable, canary = total - pods, pods
        layout = _layout(spec, base, stable, canary)
        if grown != layout:
            way.append(Stage(f"Grow{number}", PROGRESSING, grown, step.weight))
        way.append(Stage(f"Step{number}", PROGRESSING, layout, step.weight))
        if spec.tested and step.test:
            way.append(
                Stage(
                    f"TestStep{number}",
                    TESTING,
                    layout,
                    step.weight,
                    Test(f"step-{number}", CANARY_TRACK),
                )
            )
        if step.until_promoted:
            way.append(Stage(f"Pause{number}", PAUSED, layout, step.weight, Pause(None)))
        elif step.pause_seconds:
            way.append(
                Stage(f"Pause{number}", PAUSED, layout, step.weight, Pause(step.pause_seconds))
            )
    weight = way[-1].weight if way else 0
    if way:
        way.append(Stage("ApprovePromotion", AWAITING_APPROVAL, way[-1].layout, weight, Approve()))
    way += _promotion(spec, base, total, canary)
    return tuple(way)


def _promotion(spec: RolloutSpec, base: str, total: int, canary: int) -> List[Stage]:
    held = total if spec.autoscaled else None
    both: Dict[str, TrackTarget] = {base: TrackTarget(spec.digest, total)}
    if canary:
        both[CANARY_TRACK] = TrackTarget(spec.digest, canary)
    promoted = Layout(both, active=base, selected=() if canary else (base,), scaled=base, held=held)
    alone = Layout(
        {base: TrackTarget(spec.digest, total)},
        active=base,
        selected=(base,),
        scaled=base,
        held=held,
    )
    way = [
        Stage("Promote", PROMOTING, promoted, PERCENT),
        Stage("RemoveCanary", PROMOTING, alone, PERCENT),
    ]
    final = alone
    if spec.autoscaled:
        final = Layout(
            {base: TrackTarget(spec.digest, None)}, active=base, selected=(base,), scaled=base
        )
        way.append(Stage("ReleaseAutoscaler", PROMOTING, final, PERCENT))
    if spec.tested:
        way.append(Stage("Test", TESTING, final, PERCENT, Test("final", base)))
    return way


def _layout(spec: RolloutSpec, base: str, stable: int, canary: int) -> Layout:
    return Layout(
        {
            base: TrackTarget(spec.previous, stable),
            CANARY_TRACK: TrackTarget(spec.digest, canary),
        },
        active=base,
        selected=(),
        scaled=base,
        held=stable if spec.autoscaled else None,
    )
