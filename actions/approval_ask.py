"""Ask, remind or give up, as one object's approval needs it now."""

from __future__ import annotations

from typing import Any, Tuple

from kubestorm.core.naming import Identity
from kubestorm.entrypoints.actions import run_with_services, running_id
from kubestorm.people.approval.act import ask
from st2common.runners.base_action import Action


class ApprovalAsk(Action):  # type: ignore[misc]
    """Parameters in, one library call, result out."""

    def run(self, **identity: str) -> Tuple[bool, Any]:
        return run_with_services(
            lambda services: ask(services, Identity(**identity), running_id()), self.config
        )
