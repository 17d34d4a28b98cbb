"""Show the last log lines of an Application's pods."""

from __future__ import annotations

from typing import Any, Tuple

from kubestorm.entrypoints.actions import run_with_services
from kubestorm.kinds.application.rollout.commands import logs
from st2common.runners.base_action import Action


class ApplicationLogs(Action):  # type: ignore[misc]
    """Parameters in, one library call, result out."""

    def run(
        self, namespace: str, name: str, lines: int = 50, previous: bool = False, pod: str = ""
    ) -> Tuple[bool, Any]:
        return run_with_services(
            lambda services: logs(services, namespace, name, lines, previous, pod),
            self.config,
        )
