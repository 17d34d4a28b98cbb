"""The acts of the demo for whoever counts: the same steps, without a line for each and without a
question to the engine, which would be load.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from sandbox.demo.follow import Follower, Line
from sandbox.demo.screen import Screen
from sandbox.demo.stage import Stage
from sandbox.environment import Environment
from sandbox.tally import Api

POLL_SECONDS = 0.5
SAY_AGAIN_SECONDS = 30.0


class WaitingScreen(Screen):
    """Says what it waits for, and waits as long as a slow machine takes."""

    def __init__(self, say: Callable[[str], None], timeout_seconds: float) -> None:
        super().__init__()
        self._say, self._timeout_seconds = say, timeout_seconds

    def title(self, text: str) -> None:
        self._say(text)

    def say(self, text: str) -> None:
        self._say(f"  {text}")

    def table(self, title: str, rows: object) -> None:
        """Nothing: what exists is asked, not shown."""

    def follow(
        self,
        waiting_for: str,
        read: Callable[[], list[Line]],
        is_done: Callable[[], bool],
        *,
        timeout_seconds: float,
    ) -> None:
        self.wait(waiting_for, is_done)

    def wait(self, waiting_for: str, is_done: Callable[[], bool]) -> None:
        """Wait until it is done, and say so now and then. Raises TimeoutError."""
        begin = said = time.monotonic()
        while not is_done():
            now = time.monotonic()
            if now - begin > self._timeout_seconds:
                raise TimeoutError(f"{waiting_for}: not within {self._timeout_seconds:.0f} s")
            if now - said > SAY_AGAIN_SECONDS:
                said = now
                self._say(f"  {waiting_for}, {now - begin:.0f} s")
            time.sleep(POLL_SECONDS)


def waiting_stage(
    environment: Environment,
    api: Api,
    *,
    say: Callable[[str], None] = lambda text: None,
    timeout_seconds: float = 120.0,
) -> Stage:
    """A stage on an environment and an engine that have been started by others."""
    stage = Stage(WaitingScreen(say, timeout_seconds), environment)
    stage.follower = Follower(engine=api)
    return stage
