"""Describe an RDS instance."""

from __future__ import annotations

from typing import Any, Tuple

from kubestorm.entrypoints.actions import run_with_services
from kubestorm.kinds.database.commands import describe_instance
from st2common.runners.base_action import Action


class RdsDescribe(Action):  # type: ignore[misc]
    """Parameters in, one library call, result out."""

    def run(self, identifier: str) -> Tuple[bool, Any]:
        return run_with_services(
            lambda services: describe_instance(services, identifier), self.config
        )
