"""Post messages about what happened in the channel of a team."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

from kubestorm.entrypoints.actions import run_with_services
from kubestorm.people.notifications.delivery import Notice, tell, tell_notice
from kubestorm.people.notifications.posted import ToldStore
from st2common.runners.base_action import Action


class AnnouncementTell(Action):  # type: ignore[misc]
    """Parameters in, one library call, result out."""

    def run(
        self, messages: Optional[List[Dict[str, Any]]] = None, **notice: str
    ) -> Tuple[bool, Any]:
        store = ToldStore(self.action_service)
        done, result = run_with_services(
            lambda services: (
                tell(services, store, messages)
                if messages
                else tell_notice(services, store, Notice(**notice))
            ),
            self.config,
        )
        return done and not result["refused"], result
