"""Bring an Application's active Deployment to what is asked for."""

from __future__ import annotations

from typing import Any, Tuple

from kubestorm.core.naming import Identity
from kubestorm.entrypoints.actions import run_step
from kubestorm.kinds.application.act import ApplicationRun, ensure_deployment
from st2common.runners.base_action import Action


class ApplicationDeploy(Action):  # type: ignore[misc]
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
        return run_step(ensure_deployment, ApplicationRun, self.config, identity)
