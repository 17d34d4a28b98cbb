"""Finish the deletion of an ImageBuild."""

from __future__ import annotations

from typing import Any, Tuple

from kubestorm.core.naming import Identity
from kubestorm.entrypoints.actions import run_step
from kubestorm.kinds.build.act import teardown
from kubestorm.kinds.build.run import run_maker
from st2common.runners.base_action import Action


class ImagebuildTeardown(Action):  # type: ignore[misc]
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
    ) -> Tuple[bool, Any]:
        identity = Identity(cluster, group, version, plural, namespace, name, uid)
        return run_step(teardown, run_maker(self.action_service), self.config, identity)
