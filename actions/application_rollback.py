"""Go back to an image that was good."""

from __future__ import annotations

from typing import Any, Tuple

from kubestorm.entrypoints.actions import run_with_services
from kubestorm.kinds.application.rollout.commands import rollback
from st2common.runners.base_action import Action


class ApplicationRollback(Action):  # type: ignore[misc]
    """Parameters in, one library call, result out."""

    def run(
        self, namespace: str, name: str, to: str = "", requested_by: str = ""
    ) -> Tuple[bool, Any]:
        return run_with_services(
            lambda services: rollback(services, namespace, name, to, requested_by),
            self.config,
        )
