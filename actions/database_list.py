"""List Databases."""

from __future__ import annotations

from typing import Any, Tuple

from kubestorm.entrypoints.actions import run_with_services
from kubestorm.kinds.database.commands import list_databases
from st2common.runners.base_action import Action


class DatabaseList(Action):  # type: ignore[misc]
    """Parameters in, one library call, result out."""

    def run(self, namespace: str = "") -> Tuple[bool, Any]:
        return run_with_services(lambda services: list_databases(services, namespace), self.config)
