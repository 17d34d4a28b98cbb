"""Hold an object's deletion."""

from __future__ import annotations

from typing import Any, Tuple

from kubestorm.core.naming import Identity
from kubestorm.entrypoints import actions
from st2common.runners.base_action import Action


class ResourceEnsureFinalizer(Action):  # type: ignore[misc]
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
        return actions.run_on_resource(
            lambda handle: {"written": handle.ensure_finalizer()}, self.config, identity
        )
