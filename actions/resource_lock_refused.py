"""End a run that did not get its Lease."""

from __future__ import annotations

from typing import Any, Tuple

from st2common.runners.base_action import Action


class ResourceLockRefused(Action):  # type: ignore[misc]
    """Parameters in, one library call, result out."""

    def run(self, taken: bool, message: str = "") -> Tuple[bool, Any]:
        return bool(taken), {"taken": bool(taken), "message": message}
