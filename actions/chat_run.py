"""Answer a text from a chat: who asks, what is meant, whether it may be, and the doing."""

from __future__ import annotations

from typing import Any, Tuple

from kubestorm.people.chat.shell import answer_text
from st2common.runners.base_action import Action


class ChatRun(Action):  # type: ignore[misc]
    """Parameters in, one library call, result out."""

    def run(
        self,
        text: str = "",
        command: str = "",
        user: str = "",
        speaker: str = "",
        channel: str = "",
        **options: str,
    ) -> Tuple[bool, Any]:
        return answer_text(self.config, text, user, channel, options, speaker, command)
