"""List Applications."""

from __future__ import annotations

from typing import Any, Tuple

from kubestorm.entrypoints.actions import run_with_services
from kubestorm.kinds.application.commands import list_applications
from st2common.runners.base_action import Action


class ApplicationList(Action):  # type: ignore[misc]
    """Parameters in, one library call, result out."""

    def run(self, namespace: str = "") -> Tuple[bool, Any]:
        return run_with_services(
            lambda services: list_applications(services, namespace), self.config
        )
