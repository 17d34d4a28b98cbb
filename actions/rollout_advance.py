"""Bring a Rollout on."""

from __future__ import annotations

from typing import Any, Tuple

from kubestorm.core.naming import Identity
from kubestorm.entrypoints.actions import run_with_services, running_id
from kubestorm.kinds.application.rollout.act import RolloutRun, advance
from st2common.runners.base_action import Action


class RolloutAdvance(Action):  # type: ignore[misc]
    """Parameters in, one library call, result out."""

    def run(
        self,
        cluster: str,
        namespace: str,
        name: str,
        uid: str,
        group: str = "kubestorm.io",
        version: str = "v1alpha1",
        plural: str = "rollouts",
    ) -> Tuple[bool, Any]:
        identity = Identity(cluster, group, version, plural, namespace, name, uid)
        return run_with_services(
            lambda it: advance(RolloutRun(it, identity, running_id())), self.config
        )
