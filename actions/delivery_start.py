"""Begin a delivery."""

from __future__ import annotations

from typing import Any, Tuple

from kubestorm.clients.engine_api import EngineApi
from kubestorm.entrypoints.actions import run_with_services
from kubestorm.kinds.build.pipeline.act import start
from st2common.runners.base_action import Action


class DeliveryStart(Action):  # type: ignore[misc]
    """Parameters in, one library call, result out."""

    def run(self, namespace: str, name: str, requested_by: str = "") -> Tuple[bool, Any]:
        engine = EngineApi.of_this_action()
        return run_with_services(
            lambda services: start(services, namespace, name, by=requested_by, engine=engine),
            self.config,
        )
