"""BlueGreen: the new pods run next to the old ones until all of them are available, then all
requests go to them at once.

The old Deployment stays for some time after the rollout is complete; a rollback within that time
finds its pods running.
"""

from __future__ import annotations

from typing import List, Tuple

from kubestorm.kinds.application.rollout.values import (
    AWAITING_APPROVAL,
    GREEN,
    PAUSED,
    PROGRESSING,
    PROMOTING,
    STABLE,
    TESTING,
    Approve,
    Layout,
    Pause,
    RolloutSpec,
    Stage,
    Test,
    TrackTarget,
)


def other(track: str) -> str:
    """The other track."""
    return STABLE if track == GREEN else GREEN


def stages(spec: RolloutSpec, base: str, total: int) -> Tuple[Stage, ...]:
    """Preview, test, wait for approval, switch, and test once more."""
    target = other(base)
    theirs = None if spec.autoscaled else total
    old, new = TrackTarget(spec.previous, theirs), TrackTarget(spec.digest, total)
    preview = Layout({base: old, target: new}, active=base, selected=(base,), scaled=base)
    # The old pods serve no requests any more: their number is left as it is.
    switched = Layout(
        {target: TrackTarget(spec.digest, theirs), base: TrackTarget(spec.previous, None)},
        active=target,
        selected=(target,),
        scaled=target,
    )
    way: List[Stage] = [Stage("Preview", PROGRESSING, preview, 0)]
    if spec.tested:
        way.append(Stage("TestPreview", TESTING, preview, 0, Test("preview", target)))
    if spec.strategy.until_promoted:
        way.append(Stage("AwaitPromotion", PAUSED, preview, 0, Pause(None)))
    way.append(Stage("ApproveSwitch", AWAITING_APPROVAL, preview, 0, Approve()))
    way.append(Stage("Switch", PROMOTING, switched, 100))
    if spec.tested:
        way.append(Stage("Test", TESTING, switched, 100, Test("final", target)))
    return tuple(way)
