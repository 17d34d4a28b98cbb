"""End the rollout that is under way."""

from __future__ import annotations

from typing import Any, Tuple

from kubestorm.entrypoints.actions import run_with_services
from kubestorm.kinds.application.rollout.commands import abort
from st2common.runners.base_action import Action


class ApplicationAbort(Action):  # type: ignore[misc]
    """Parameters in, one library call, result out."""

    def run(self, namespace: str, name: str, requested_by: str = "") -> Tuple[bool, Any]:
        return run_with_services(
            lambda services: abort(services, namespace, name, requested_by), self.config
        )
