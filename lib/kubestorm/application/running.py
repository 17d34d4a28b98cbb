"""What every action of an Application's run does around its one step."""

from __future__ import annotations

from typing import Any, Callable, Dict, Mapping, Optional, Tuple

from kubestorm.actions import run_with_services
from kubestorm.application.steps import SKIPPED, ApplicationRun
from kubestorm.naming import Identity

Step = Callable[[ApplicationRun], Dict[str, Any]]


def run_step(
    step: Step,
    config: Optional[Mapping[str, Any]],
    identity: Identity,
    run_id: str,
    *,
    wanted: bool = True,
) -> Tuple[bool, Any]:
    """Run one step, or nothing where the plan saw no need for it."""
    if not wanted:
        return True, dict(SKIPPED)
    return run_with_services(
        lambda services: step(ApplicationRun(services, identity, run_id)), config
    )
