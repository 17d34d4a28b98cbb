"""End the workflow of a delivery whose last stage has ended."""

from __future__ import annotations

from typing import Any, Tuple

from kubestorm.clients.engine_api import EngineApi
from kubestorm.clients.services import Services
from kubestorm.core.errors import DefinitionError
from kubestorm.entrypoints.actions import run_with_services
from kubestorm.kinds.build.pipeline.act import Result, end
from st2common.runners.base_action import Action


class PipelineEnd(Action):  # type: ignore[misc]
    """Parameters in, one library call, result out."""

    def run(self, namespace: str, name: str, run_id: str) -> Tuple[bool, Any]:
        def call(services: Services) -> Result:
            engine = EngineApi.of_this_action()
            if engine is None:
                raise DefinitionError("Only a running engine has deliveries to end.")
            return end(services, namespace, name, run_id, engine)

        return run_with_services(call, self.config)
