"""Look where a delivery is, and tell of each stage that has ended."""

from __future__ import annotations

from typing import Any, Tuple

from kubestorm.actions import run_with_services
from kubestorm.dispatching import dispatcher
from kubestorm.pipeline.steps import look
from st2common.runners.base_action import Action


class PipelineLook(Action):  # type: ignore[misc]
    """Parameters in, one library call, result out."""

    def run(self, namespace: str, name: str, request_id: str, run_id: str) -> Tuple[bool, Any]:
        dispatch = dispatcher(self.action_service)
        return run_with_services(
            lambda services: look(services, namespace, name, request_id, run_id, dispatch),
            self.config,
        )
