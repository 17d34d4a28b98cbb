"""BlueGreen: the new pods stand beside the old ones until all of them are good, then all requests
go to them at once.

The old Deployment stays for some time after the rollout is complete; returning within it is a
rollout whose pods are there already.
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
    """The track beside this one."""
    return STABLE if track == GREEN else GREEN


def stages(spec: RolloutSpec, base: str, total: int) -> Tuple[Stage, ...]:
    """Preview, test, wait for whoever has to agree, switch, and look once more."""
    beside = other(base)
    theirs = None if spec.autoscaled else total
    old, new = TrackTarget(spec.previous, theirs), TrackTarget(spec.digest, total)
    preview = Layout({base: old, beside: new}, active=base, selected=(base,), scaled=base)
    # The old pods serve no requests any more: their number is nobody's concern, so it is left as it
    # is.
    switched = Layout(
        {beside: TrackTarget(spec.digest, theirs), base: TrackTarget(spec.previous, None)},
        active=beside,
        selected=(beside,),
        scaled=beside,
    )
    way: List[Stage] = [Stage("Preview", PROGRESSING, preview, 0)]
    if spec.tested:
        way.append(Stage("TestPreview", TESTING, preview, 0, Test("preview", beside)))
    if spec.strategy.until_promoted:
        way.append(Stage("AwaitPromotion", PAUSED, preview, 0, Pause(None)))
    way.append(Stage("ApproveSwitch", AWAITING_APPROVAL, preview, 0, Approve()))
    way.append(Stage("Switch", PROMOTING, switched, 100))
    if spec.tested:
        way.append(Stage("Test", TESTING, switched, 100, Test("final", beside)))
    return tuple(way)
