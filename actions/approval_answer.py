"""Say yes or no to what waits for approval."""

from __future__ import annotations

from typing import Any, Tuple

from kubestorm.entrypoints.actions import run_with_services
from kubestorm.people.approval.steps import person_of, respond
from st2common.runners.base_action import Action


class ApprovalAnswer(Action):  # type: ignore[misc]
    """Parameters in, one library call, result out.

    `person` is no parameter of the action: a conversation that knows who asks gives it within the
    same process.
    """

    def run(
        self, number: str, decision: str, comment: str = "", user: str = "", person: str = ""
    ) -> Tuple[bool, Any]:
        done, result = run_with_services(
            lambda services: respond(
                services,
                person=person_of(services, account=user, name=person),
                decision=decision,
                number=number,
                comment=comment,
                via="chat" if person else "api",
            ),
            self.config,
        )
        return done and bool(result.get("counted")), result
