"""Check once on work that a chat waits for."""

from __future__ import annotations

from typing import Any, Dict, Tuple

from kubestorm.entrypoints.actions import run_with_services
from kubestorm.people.chat.shell import check_progress
from st2common.runners.base_action import Action


class ChatCheck(Action):  # type: ignore[misc]
    """Parameters in, one library call, result out."""

    def run(self, follow: Dict[str, Any]) -> Tuple[bool, Any]:
        return run_with_services(lambda services: check_progress(services, follow), self.config)
