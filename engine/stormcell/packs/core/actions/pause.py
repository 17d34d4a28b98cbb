"""core.pause: wait, so that a workflow can."""

from __future__ import annotations

import random as randomness
import time

from st2common.runners.base_action import Action


class Pause(Action):
    """Waits."""

    def run(self, max_pause: int, random: bool = False) -> int:
        """Wait, and return the seconds waited."""
        seconds = randomness.randint(1, int(max_pause)) if random else max_pause  # noqa: S311 - no secret
        time.sleep(seconds)
        return seconds
