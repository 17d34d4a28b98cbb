"""Show one Application from all sides."""

from __future__ import annotations

from typing import Any, Tuple

from kubestorm.entrypoints.actions import run_with_services
from kubestorm.kinds.application.commands import show_application
from st2common.runners.base_action import Action


class ApplicationShow(Action):  # type: ignore[misc]
    """Parameters in, one library call, result out."""

    def run(self, namespace: str, name: str) -> Tuple[bool, Any]:
        return run_with_services(
            lambda services: show_application(services, namespace, name), self.config
        )
