"""Look once at what somebody in Slack waits for."""

from __future__ import annotations

from typing import Any, Dict, Tuple

from kubestorm.entrypoints.actions import run_with_services
from kubestorm.people.slack.answering import follow_up
from st2common.runners.base_action import Action


class SlackFollow(Action):  # type: ignore[misc]
    """Parameters in, one library call, result out."""

    def run(self, follow: Dict[str, Any], channel: str, thread: str) -> Tuple[bool, Any]:
        return run_with_services(
            lambda services: follow_up(services, follow, channel, thread), self.config
        )
