"""Show one Database from all sides."""

from __future__ import annotations

from typing import Any, Tuple

from kubestorm.entrypoints.actions import run_with_services
from kubestorm.kinds.database.commands import show_database
from st2common.runners.base_action import Action


class DatabaseShow(Action):  # type: ignore[misc]
    """Parameters in, one library call, result out."""

    def run(self, namespace: str, name: str) -> Tuple[bool, Any]:
        return run_with_services(
            lambda services: show_database(services, namespace, name), self.config
        )
