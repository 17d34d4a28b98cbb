"""Somebody clicked a button of an approval in Slack."""

from __future__ import annotations

from typing import Any, Tuple

from kubestorm.entrypoints.actions import run_with_services
from kubestorm.people.slack.answering import click
from st2common.runners.base_action import Action


class SlackClick(Action):  # type: ignore[misc]
    """Parameters in, one library call, result out."""

    def run(self, **clicked: Any) -> Tuple[bool, Any]:
        return run_with_services(
            lambda services: click(services, self.action_service, clicked), self.config
        )
