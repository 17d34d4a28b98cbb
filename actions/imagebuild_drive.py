"""Bring the build of an ImageBuild one step on."""

from __future__ import annotations

from typing import Any, Dict, Tuple

from kubestorm.building import steps
from kubestorm.building.actions import run_build_step
from kubestorm.building.running import BuildRun
from kubestorm.dispatching import dispatcher
from kubestorm.naming import Identity
from st2common.runners.base_action import Action


class ImagebuildDrive(Action):  # type: ignore[misc]
    """Parameters in, one library call, result out."""

    def run(
        self,
        cluster: str,
        group: str,
        version: str,
        plural: str,
        namespace: str,
        name: str,
        uid: str,
        run_id: str,
        wanted: bool = True,
    ) -> Tuple[bool, Any]:
        identity = Identity(cluster, group, version, plural, namespace, name, uid)

        def drive(run: BuildRun) -> Dict[str, Any]:
            return steps.drive(run, dispatcher(self.action_service))

        return run_build_step(drive, self.config, identity, run_id, wanted=wanted)
