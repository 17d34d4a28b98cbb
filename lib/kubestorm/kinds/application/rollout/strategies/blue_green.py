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


def stages(request: RolloutSpec, base: str, total: int) -> Tuple[Stage, ...]:
    """Preview, test, wait for whoever has to agree, switch, and look once more."""
    beside = other(base)
    theirs = None if request.autoscaled else total
    old, new = TrackTarget(request.previous, theirs), TrackTarget(request.digest, total)
    preview = Layout({base: old, beside: new}, active=base, selected=(base,), scaled=base)
    # The old pods serve no requests any more: their number is nobody's concern, so it is left as it
    # is.
    switched = Layout(
        {beside: TrackTarget(request.digest, theirs), base: TrackTarget(request.previous, None)},
        active=beside,
        selected=(beside,),
        scaled=beside,
    )
    way: List[Stage] = [Stage("Preview", PROGRESSING, preview, 0)]
    if request.tested:
        way.append(Stage("TestPreview", TESTING, preview, 0, Test("preview", beside)))
    if request.strategy.until_promoted:
        way.append(Stage("AwaitPromotion", PAUSED, preview, 0, Pause(None)))
    way.append(Stage("ApproveSwitch", AWAITING_APPROVAL, preview, 0, Approve()))
    way.append(Stage("Switch", PROMOTING, switched, 100))
    if request.tested:
        way.append(Stage("Test", TESTING, switched, 100, Test("final", beside)))
    return tuple(way)
