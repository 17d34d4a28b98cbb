"""Ask for the deletion of one Database."""

from __future__ import annotations

from typing import Any, Tuple

from kubestorm.entrypoints.actions import run_with_services
from kubestorm.kinds.database import commands
from st2common.runners.base_action import Action


class DatabaseDelete(Action):  # type: ignore[misc]
    """Parameters in, one library call, result out."""

    def run(
        self,
        namespace: str,
        name: str,
        confirm: str = "",
        requested_by: str = "",
        kind: str = "",
    ) -> Tuple[bool, Any]:
        return run_with_services(
            lambda services: commands.delete(
                services, namespace, name, confirm=confirm, requested_by=requested_by, kind=kind
            ),
            self.config,
        )
