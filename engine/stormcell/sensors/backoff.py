"""How long to wait before a sensor that died is started again."""

from __future__ import annotations

import msgspec


class Backoff(msgspec.Struct, frozen=True, kw_only=True):
    """Doubles from attempt to attempt, with jitter so that sensors that died together do not return
    together.
    """

    first_seconds: float = 1.0
    most_seconds: float = 60.0
    jitter: float = 0.25
    """Part of the delay that chance may add."""
    forgiven_after_seconds: float = 10.0
    """A sensor that ran this long starts to count anew (StackStorm's
    SENSOR_SUCCESSFUL_START_THRESHOLD).
    """

    def delay_seconds(self, attempt: int, chance: float) -> float:
        """Return the delay before restart number `attempt` (from 1). `chance` lies in 0 to 1."""
        base: float = min(self.first_seconds * 2.0 ** min(attempt - 1, 62), self.most_seconds)
        return base * (1 + self.jitter * chance)

    def next_attempt(self, attempt: int, ran_seconds: float) -> int:
        """Return the number of the next restart after one that ran for so long."""
        return 1 if ran_seconds >= self.forgiven_after_seconds else attempt + 1
