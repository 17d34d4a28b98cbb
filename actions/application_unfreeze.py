"""Let the rollouts of an Application go on."""

from __future__ import annotations

from typing import Any, Tuple

from kubestorm.entrypoints.actions import run_with_services
from kubestorm.kinds.application.rollout.commands import unfreeze
from st2common.runners.base_action import Action


class ApplicationUnfreeze(Action):  # type: ignore[misc]
    """Parameters in, one library call, result out."""

    def run(
        self, namespace: str, name: str, requested_by: str = "", reason: str = ""
    ) -> Tuple[bool, Any]:
        return run_with_services(
            lambda services: unfreeze(services, namespace, name, requested_by, reason),
            self.config,
        )
