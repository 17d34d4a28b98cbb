"""Show the logs of a build."""

from __future__ import annotations

import sys
from typing import Any, Tuple

from kubestorm.clients.services import Services
from kubestorm.entrypoints.actions import run_with_services
from kubestorm.kinds.build import commands
from st2common.runners.base_action import Action


class ImageBuildLogs(Action):  # type: ignore[misc]
    """Parameters in, one library call, result out; what is followed is the execution's output."""

    def run(
        self,
        namespace: str,
        name: str,
        image: str = "",
        tail_bytes: int = 20000,
        follow_seconds: int = 0,
    ) -> Tuple[bool, Any]:
        def say(line: str) -> None:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()

        def read(services: Services) -> Any:
            if follow_seconds:
                commands.follow_logs(
                    services, namespace, name, say, image=image, seconds=follow_seconds
                )
            return commands.read_logs(services, namespace, name, image=image, tail_bytes=tail_bytes)

        return run_with_services(read, self.config)
