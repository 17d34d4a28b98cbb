"""Ask for new credentials of one Database."""

from __future__ import annotations

from typing import Any, Tuple

from kubestorm.entrypoints.actions import run_with_services
from kubestorm.kinds.database.commands import rotate
from st2common.runners.base_action import Action


class DatabaseRotate(Action):  # type: ignore[misc]
    """Parameters in, one library call, result out."""

    def run(
        self, namespace: str, name: str, request: str = "", kind: str = "", requested_by: str = ""
    ) -> Tuple[bool, Any]:
        return run_with_services(
            lambda services: rotate(services, namespace, name, request, kind, requested_by),
            self.config,
        )
