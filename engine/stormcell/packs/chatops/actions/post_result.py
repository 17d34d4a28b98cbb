"""chatops.post_result: tell the chat how an execution ended."""

from __future__ import annotations

from typing import Any

from st2common.runners.base_action import Action


class PostResult(Action):
    """Formats a result and announces it, unless the alias wants silence."""

    def run(
        self,
        execution_id: str,
        channel: str,
        user: str | None = None,
        whisper: bool = False,
        route: str = "chatops",
        context: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Return what was told, under `note`, as StackStorm's workflow of this name does."""
        result = self.action_service.format_execution_result(execution_id)
        if not result["enabled"]:
            return {"note": "Execution result is disabled."}
        announcement = {
            "user": user,
            "whisper": whisper,
            "channel": channel,
            "context": context,
            "message": result["message"],
            "extra": result.get("extra") or {},
        }
        self.action_service.announce(route, announcement)
        return {"note": "Execution result has been posted."}
