"""Go back to an image that was good."""

from __future__ import annotations

from typing import Any, Tuple

from kubestorm.entrypoints.actions import run_with_services
from kubestorm.kinds.application.rollout import requests
from st2common.runners.base_action import Action


class ApplicationRollback(Action):  # type: ignore[misc]
    """Parameters in, one library call, result out."""

    def run(
        self, namespace: str, name: str, to: str = "", requested_by: str = ""
    ) -> Tuple[bool, Any]:
        return run_with_services(
            lambda services: requests.rollback(services, namespace, name, to, requested_by),
            self.config,
        )
