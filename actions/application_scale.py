"""Change how many pods an Application asks for."""

from __future__ import annotations

from typing import Any, Optional, Tuple

from kubestorm.entrypoints.actions import run_with_services
from kubestorm.kinds.application.rollout.commands import scale
from st2common.runners.base_action import Action


class ApplicationScale(Action):  # type: ignore[misc]
    """Parameters in, one library call, result out."""

    def run(
        self,
        namespace: str,
        name: str,
        replicas: int,
        most: Optional[int] = None,
        requested_by: str = "",
    ) -> Tuple[bool, Any]:
        return run_with_services(
            lambda services: scale(services, namespace, name, replicas, most, requested_by),
            self.config,
        )
