"""Bring the deletion of a Database one step on."""

from __future__ import annotations

from typing import Any, Tuple

from kubestorm.core.naming import Identity
from kubestorm.entrypoints.actions import run_step
from kubestorm.kinds.database.act_deletion import tear_down
from kubestorm.kinds.database.run import DatabaseRun
from kubestorm.people.approval import gate
from st2common.runners.base_action import Action


class DatabaseTeardown(Action):  # type: ignore[misc]
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
        return run_step(
            lambda run: tear_down(run, gate.deletion), DatabaseRun, self.config, identity
        )
