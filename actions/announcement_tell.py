"""Tell a team's channel what happened, and all that was held back until now."""

from __future__ import annotations

from typing import Any, Tuple

from kubestorm.actions import run_with_services, running_id
from kubestorm.announce.keep import Keep
from kubestorm.announce.steps import Notice, tell
from kubestorm.naming import Identity
from st2common.runners.base_action import Action


class AnnouncementTell(Action):  # type: ignore[misc]
    """Parameters in, one library call, result out."""

    def run(
        self,
        sentence: str = "",
        topic: str = "",
        tone: str = "info",
        subject: str = "",
        state: str = "",
        **identity: Any,
    ) -> Tuple[bool, Any]:
        about = Identity(**{key: identity.get(key) or "" for key in Identity._fields})
        notice = (
            Notice(about.namespace, sentence, topic or "notices", tone, subject, state)
            if sentence
            else None
        )
        done, result = run_with_services(
            lambda services: tell(
                services,
                Keep(self.action_service),
                running_id(),
                about=about if about.plural and not notice else None,
                notice=notice,
            ),
            self.config,
        )
        return done and not result.get("refused"), result
