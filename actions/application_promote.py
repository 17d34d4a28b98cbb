"""End the pause that a rollout stands at."""

from __future__ import annotations

from typing import Any, Tuple

from kubestorm.entrypoints.actions import run_with_services
from kubestorm.kinds.application.rollout.commands import promote
from st2common.runners.base_action import Action


class ApplicationPromote(Action):  # type: ignore[misc]
    """Parameters in, one library call, result out."""

    def run(
        self, namespace: str, name: str, full: bool = False, requested_by: str = ""
    ) -> Tuple[bool, Any]:
        return run_with_services(
            lambda services: promote(services, namespace, name, full, requested_by),
            self.config,
        )
