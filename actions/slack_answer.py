"""Answer what somebody asked in Slack."""

from __future__ import annotations

from typing import Any, Tuple

from kubestorm.clients.services import open_services
from kubestorm.core.errors import Error
from kubestorm.entrypoints.actions import failure
from kubestorm.people.slack.answering import answer
from st2common.runners.base_action import Action


class SlackAnswer(Action):  # type: ignore[misc]
    """Parameters in, one library call, result out."""

    def run(self, **asked: Any) -> Tuple[bool, Any]:
        try:
            return answer(
                open_services(self.config), self.action_service, asked, config=self.config
            )
        except Error as error:
            return False, failure(error)
