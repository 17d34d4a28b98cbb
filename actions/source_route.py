"""Follow a push to a branch where it concerns somebody."""

from __future__ import annotations

from typing import Any, List, Tuple

from kubestorm.entrypoints.actions import run_with_services
from kubestorm.kinds.build.descriptor.act import follow_push
from st2common.runners.base_action import Action


class SourceRoute(Action):  # type: ignore[misc]
    """Parameters in, one library call, result out."""

    def run(
        self, urls: List[str], branch: str, commit: str, actor: str = "", event_id: str = ""
    ) -> Tuple[bool, Any]:
        return run_with_services(
            lambda services: follow_push(
                services, urls, branch, commit, actor=actor, event_id=event_id
            ),
            self.config,
        )
