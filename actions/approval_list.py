"""What waits for approval."""

from __future__ import annotations

from typing import Any, Tuple

from kubestorm.entrypoints.actions import run_with_services
from kubestorm.people.approval.act import open_list
from st2common.runners.base_action import Action


class ApprovalList(Action):  # type: ignore[misc]
    """Parameters in, one library call, result out."""

    def run(self) -> Tuple[bool, Any]:
        return run_with_services(open_list, self.config)
