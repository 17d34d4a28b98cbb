"""Set a condition in an object's status."""

from __future__ import annotations

from typing import Any, Tuple

from kubestorm.core.conditions import Condition
from kubestorm.core.naming import Identity
from kubestorm.entrypoints import actions
from st2common.runners.base_action import Action


class ResourceSetCondition(Action):  # type: ignore[misc]
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
        type: str,
        status: str,
        reason: str,
        message: str = "",
    ) -> Tuple[bool, Any]:
        identity = Identity(cluster, group, version, plural, namespace, name, uid)
        condition = Condition(type, status, reason, message)
        return actions.run_on_resource(
            lambda handle: {"exists": handle.write_status(condition) is not None},
            self.config,
            identity,
        )
