"""Carry out a build."""

from __future__ import annotations

import sys
from typing import Any, Tuple

from kubestorm.building.actions import run_build_step
from kubestorm.building.running import run_build
from kubestorm.naming import Identity
from st2common.runners.base_action import Action


class BuildRun(Action):  # type: ignore[misc]
    """Parameters in, one library call, result out; the build's log is the execution's output."""

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
        def say(line: str) -> None:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()

        identity = Identity(cluster, group, version, plural, namespace, name, uid)
        return run_build_step(run_build, self.config, identity, run_id, say=say)
