"""Tell the Applications that follow an image of a push."""

from __future__ import annotations

from typing import Any, Tuple

from kubestorm.entrypoints.actions import run_with_services
from kubestorm.kinds.application.image_policy import route
from st2common.runners.base_action import Action


class ImageRoute(Action):  # type: ignore[misc]
    """Parameters in, one library call, result out."""

    def run(
        self,
        registry: str,
        repository: str,
        digest: str,
        tag: str = "",
        pushed_at: str = "",
        actor: str = "",
        event_id: str = "",
    ) -> Tuple[bool, Any]:
        pushed = {
            "registry": registry,
            "repository": repository,
            "tag": tag,
            "digest": digest,
            "pushed_at": pushed_at,
            "actor": actor,
            "event_id": event_id,
        }
        return run_with_services(lambda services: route(services, pushed), self.config)
