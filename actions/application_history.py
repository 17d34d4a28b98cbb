"""Show the rollouts of an Application."""

from __future__ import annotations

from typing import Any, Tuple

from kubestorm.entrypoints.actions import run_with_services
from kubestorm.kinds.application.rollout.commands import show_history
from st2common.runners.base_action import Action


class ApplicationHistory(Action):  # type: ignore[misc]
    """Parameters in, one library call, result out."""

    def run(self, namespace: str, name: str) -> Tuple[bool, Any]:
        return run_with_services(
            lambda services: show_history(services, namespace, name), self.config
        )
