"""Hold new rollouts of an Application."""

from __future__ import annotations

from typing import Any, Tuple

from kubestorm.entrypoints.actions import run_with_services
from kubestorm.kinds.application.rollout.commands import freeze
from st2common.runners.base_action import Action


class ApplicationFreeze(Action):  # type: ignore[misc]
    """Parameters in, one library call, result out."""

    def run(self, namespace: str, name: str, owner: str, reason: str) -> Tuple[bool, Any]:
        return run_with_services(
            lambda services: freeze(services, namespace, name, owner, reason), self.config
        )
