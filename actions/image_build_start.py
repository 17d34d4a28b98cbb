"""Ask for a build."""

from __future__ import annotations

from typing import Any, List, Optional, Tuple

from kubestorm.entrypoints.actions import run_with_services
from kubestorm.kinds.build import commands
from st2common.runners.base_action import Action


class ImageBuildStart(Action):  # type: ignore[misc]
    """Parameters in, one library call, result out."""

    def run(
        self,
        namespace: str,
        name: str,
        images: Optional[List[str]] = None,
        force: bool = True,
        requested_by: str = "",
    ) -> Tuple[bool, Any]:
        return run_with_services(
            lambda services: commands.start(
                services, namespace, name, by=requested_by, images=images or [], force=force
            ),
            self.config,
        )
