"""Look once at work that a chat waits for."""

from __future__ import annotations

from typing import Any, Dict, Tuple

from kubestorm.entrypoints.actions import run_with_services
from kubestorm.people.chat.shell import look
from st2common.runners.base_action import Action


class ChatLook(Action):  # type: ignore[misc]
    """Parameters in, one library call, result out."""

    def run(self, follow: Dict[str, Any]) -> Tuple[bool, Any]:
        return run_with_services(lambda services: look(services, follow), self.config)
