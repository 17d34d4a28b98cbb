"""Compare Databases with what exists, now."""

from __future__ import annotations

from typing import Any, Tuple

from kubestorm.entrypoints.actions import run_with_services
from kubestorm.kinds.database.drift.observe import Scope, inspect
from kubestorm.kinds.database.drift.report import as_result
from st2common.runners.base_action import Action


class DriftCheck(Action):  # type: ignore[misc]
    """Parameters in, one library call, result out."""

    def run(self, kind: str = "", namespace: str = "", name: str = "") -> Tuple[bool, Any]:
        scope = Scope(namespace, name, kind)
        return run_with_services(lambda services: as_result(inspect(services, scope)), self.config)
