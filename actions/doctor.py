"""Try everything that the pack's configuration needs."""

from __future__ import annotations

from typing import Any, Tuple

from kubestorm.entrypoints.doctor import as_result, examine, sensor_lines
from st2common.runners.base_action import Action


class Doctor(Action):  # type: ignore[misc]
    """Parameters in, one library call, result out."""

    def run(self) -> Tuple[bool, Any]:
        def stored(name: str) -> Any:
            return self.action_service.get_value(name=name, local=False)

        result = as_result([*examine(self.config or {}), *sensor_lines(stored)])
        return result["ok"], result
