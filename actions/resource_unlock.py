"""Release an object's Lease."""

from __future__ import annotations

from typing import Any, Tuple

from kubestorm import actions
from kubestorm.naming import Identity
from st2common.runners.base_action import Action


class ResourceUnlock(Action):  # type: ignore[misc]
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
        failed: bool = False,
    ) -> Tuple[bool, Any]:
        identity = Identity(cluster, group, version, plural, namespace, name, uid)
        done, result = actions.run_on_resource(
            lambda handle: handle.unlock(), self.config, identity, run_id
        )
        return done and not failed, {"failed": failed, "unlocked": done, "error": result}
