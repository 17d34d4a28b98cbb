"""Try everything that the pack's configuration needs."""

from __future__ import annotations

from typing import Any, Tuple

from kubestorm.entrypoints.doctor import as_result, examine
from st2common.runners.base_action import Action


class Doctor(Action):  # type: ignore[misc]
    """Parameters in, one library call, result out."""

    def run(self) -> Tuple[bool, Any]:
        result = as_result(examine(self.config or {}))
        return result["ok"], result
