"""The strategies: each says through which stages a rollout goes, and how the cluster looks in each
of them.

Pure. `stages` is the way forward, `way_back` the way to 100 % stable from wherever it was; both are
the same every time they are asked for, because what they depend on is written down when the rollout
begins (`Status.base`, `.total`).
"""

from __future__ import annotations

from typing import Tuple

from kubestorm.kinds.application.rollout.strategies import blue_green, canary, in_place
from kubestorm.kinds.application.rollout.values import (
    CANARY_TRACK,
    GREEN,
    RETURNING,
    STABLE,
    Layout,
    RolloutSpec,
    Stage,
    TrackTarget,
)
from kubestorm.kinds.application.values import BLUE_GREEN, CANARY


def stages(spec: RolloutSpec, base: str, total: int) -> Tuple[Stage, ...]:
    """The way from the last good image on track `base` to the new one, with `total` pods."""
    if not spec.previous:
        # There is no good image to protect or to compare with yet.
        return in_place.stages(spec, base, total)
    if spec.strategy.type == CANARY:
        return canary.stages(spec, base, total)
    if spec.strategy.type == BLUE_GREEN:
        return blue_green.stages(spec, base, total)
    return in_place.stages(spec, base, total)


def way_back(spec: RolloutSpec, base: str, total: int) -> Tuple[Stage, ...]:
    """The way to 100 % stable: all pods of the last good image, all requests to them, everything
    else gone.
    """
    if not spec.previous:
        nothing = Layout({}, active=base, selected=(base,), scaled=base)
        return (Stage("Remove", RETURNING, nothing, 0),)
    free = stable_layout(spec, base, total)
    if not (spec.autoscaled and spec.strategy.type == CANARY):
        return (Stage("Return", RETURNING, free, 0),)
    # The autoscaler was held below the whole number: restore the pods first, then release it.
    held = Layout(
        {base: TrackTarget(spec.previous, total)},
        active=base,
        selected=(base,),
        scaled=base,
        held=total,
    )
    return (Stage("Return", RETURNING, held, 0), Stage("Release", RETURNING, free, 0))


def stable_layout(spec: RolloutSpec, base: str, total: int) -> Layout:
    """100 % stable."""
    replicas = None if spec.autoscaled else total
    return Layout(
        {base: TrackTarget(spec.previous, replicas)}, active=base, selected=(base,), scaled=base
    )


def waiting_layout(spec: RolloutSpec, base: str, total: int) -> Layout:
    """100 % stable, without touching pods that an earlier rollout keeps for an instant rollback."""
    layout = stable_layout(spec, base, total)
    spared = tuple(track for track in (STABLE, GREEN) if track != base)
    return Layout(layout.tracks, layout.active, layout.selected, spared=spared, scaled=base)


__all__ = ["CANARY_TRACK", "stable_layout", "stages", "waiting_layout", "way_back"]
