"""What every action about ImageBuilds does around its one library call."""

from __future__ import annotations

from typing import Any, Callable, Dict, Mapping, Optional

from kubestorm.actions import Outcome, run_with_services
from kubestorm.building.running import BuildRun
from kubestorm.naming import Identity

Config = Optional[Mapping[str, Any]]


def run_build_step(
    step: Callable[[BuildRun], Dict[str, Any]],
    config: Config,
    identity: Identity,
    run_id: str,
    *,
    wanted: bool = True,
    say: Callable[[str], None] = lambda line: None,
) -> Outcome:
    """Run one step of an ImageBuild's run, or nothing where the plan saw no need for it."""
    if not wanted:
        return True, {"skipped": True}
    return run_with_services(
        lambda services: step(BuildRun(services, identity, run_id, say=say)), config
    )
