"""Carry out a build."""

from __future__ import annotations

import sys
from typing import Any, Tuple

from kubestorm.core.naming import Identity
from kubestorm.entrypoints.actions import run_with_services, running_id
from kubestorm.kinds.build.execution import run_build
from kubestorm.kinds.build.run import run_maker
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
    ) -> Tuple[bool, Any]:
        def say(line: str) -> None:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()

        identity = Identity(cluster, group, version, plural, namespace, name, uid)
        make_run = run_maker(self.action_service, say)
        return run_with_services(
            lambda services: run_build(make_run(services, identity, running_id())), self.config
        )
