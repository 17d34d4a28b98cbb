"""Say yes or no to what waits for approval."""

from __future__ import annotations

from typing import Any, Tuple

from kubestorm.entrypoints.actions import run_with_services
from kubestorm.people.approval.act import person_of, respond
from st2common.runners.base_action import Action


class ApprovalAnswer(Action):  # type: ignore[misc]
    """Parameters in, one library call, result out."""

    def run(
        self, number: str, decision: str, comment: str = "", user: str = "", via: str = "api"
    ) -> Tuple[bool, Any]:
        done, result = run_with_services(
            lambda services: respond(
                services,
                person=person_of(services, account=user),
                decision=decision,
                number=number,
                comment=comment,
                via=via,
            ),
            self.config,
        )
        return done and bool(result.get("counted")), result
