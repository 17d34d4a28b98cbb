"""Take the answer of a workflow's inquiry."""

from __future__ import annotations

from typing import Any, Tuple

from kubestorm.core.naming import Identity
from kubestorm.entrypoints.actions import run_with_services
from kubestorm.people.approval.act import collect, this_execution
from st2common.runners.base_action import Action


class ApprovalCollect(Action):  # type: ignore[misc]
    """Parameters in, one library call, result out."""

    def run(self, **identity: str) -> Tuple[bool, Any]:
        return run_with_services(
            lambda services: collect(services, Identity(**identity), this_execution()), self.config
        )
