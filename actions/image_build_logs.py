"""Show the logs of a build."""

from __future__ import annotations

from typing import Any, Tuple

from kubestorm.actions import run_with_services
from kubestorm.building import commands
from st2common.runners.base_action import Action


class ImageBuildLogs(Action):  # type: ignore[misc]
    """Parameters in, one library call, result out."""

    def run(self, namespace: str, name: str, image: str = "", tail_bytes: int = 20000) -> Tuple[bool, Any]:
        return run_with_services(
            lambda services: commands.read_logs(services, namespace, name, image=image, tail_bytes=tail_bytes),
            self.config,
        )
