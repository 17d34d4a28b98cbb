"""Roll one image of an Application out."""

from __future__ import annotations

from typing import Any, Tuple

from kubestorm.entrypoints.actions import run_with_services
from kubestorm.kinds.application.rollout.commands import rollout
from st2common.runners.base_action import Action


class ApplicationRollout(Action):  # type: ignore[misc]
    """Parameters in, one library call, result out."""

    def run(
        self, namespace: str, name: str, image: str, requested_by: str = ""
    ) -> Tuple[bool, Any]:
        return run_with_services(
            lambda services: rollout(services, namespace, name, image, requested_by),
            self.config,
        )
