"""Take the Lease of a Rollout's Application."""

from __future__ import annotations

from typing import Any, Tuple

from kubestorm.actions import run_with_services
from kubestorm.naming import Identity
from kubestorm.rollout import steps
from st2common.runners.base_action import Action


class RolloutLock(Action):  # type: ignore[misc]
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
    ) -> Tuple[bool, Any]:
        identity = Identity(cluster, group, version, plural, namespace, name, uid)
        done, result = run_with_services(
            lambda it: steps.lock(steps.RolloutRun(it, identity, run_id)), self.config
        )
        result = {"taken": False, "uid": uid, **result}
        return done and not result["taken"], result
