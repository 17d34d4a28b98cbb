"""chatops.format_execution_result: what a chat is told of an execution that ended."""

from __future__ import annotations

from typing import Any

from st2common.runners.base_action import Action


class FormatExecutionResult(Action):
    """Asks the engine, which knows the alias and has StackStorm's filters."""

    def run(self, execution_id: str) -> dict[str, Any]:
        """Return `enabled`, `message` and, where the alias has one, `extra`."""
        result: dict[str, Any] = self.action_service.format_execution_result(execution_id)
        return result
