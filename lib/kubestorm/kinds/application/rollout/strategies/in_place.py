"""RollingUpdate and Recreate: one Deployment, whose controller exchanges the pods."""

from __future__ import annotations

from typing import List, Tuple

from kubestorm.kinds.application.rollout.values import (
    PROGRESSING,
    TESTING,
    Layout,
    RolloutSpec,
    Stage,
    Test,
    TrackTarget,
)


def stages(spec: RolloutSpec, base: str, total: int) -> Tuple[Stage, ...]:
    """Update the Deployment, then test it."""
    replicas = None if spec.autoscaled else total
    layout = Layout(
        {base: TrackTarget(spec.digest, replicas)}, active=base, selected=(base,), scaled=base
    )
    way: List[Stage] = [Stage("Update", PROGRESSING, layout, 100)]
    if spec.tested:
        way.append(Stage("Test", TESTING, layout, 100, Test("final", base)))
    return tuple(way)
