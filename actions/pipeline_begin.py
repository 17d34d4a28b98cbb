"""Request the build of a delivery."""

from __future__ import annotations

from typing import Any, Sequence, Tuple

from kubestorm.core.dispatching import dispatcher
from kubestorm.entrypoints.actions import run_with_services
from kubestorm.kinds.build.pipeline.act import begin
from st2common.runners.base_action import Action


class PipelineBegin(Action):  # type: ignore[misc]
    """Parameters in, one library call, result out."""

    def run(
        self,
        namespace: str,
        name: str,
        run_id: str,
        images: Sequence[str] = (),
        force: bool = True,
        requested_by: str = "",
    ) -> Tuple[bool, Any]:
        dispatch = dispatcher(self.action_service)
        return run_with_services(
            lambda services: begin(
                services,
                namespace,
                name,
                run_id,
                by=requested_by,
                images=images,
                force=force,
                dispatch=dispatch,
            ),
            self.config,
        )
