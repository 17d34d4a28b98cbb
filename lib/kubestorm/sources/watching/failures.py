"""What to do about a list or a watch that failed: how long to wait, where to begin again, what to
say.
"""

from __future__ import annotations

from typing import Callable, NamedTuple

from kubestorm.clients.kube_errors import ExpiredError, ForbiddenError
from kubestorm.core.errors import NotFoundError, TemporaryError
from kubestorm.sources.watching.settings import LoopSettings


class Verdict(NamedTuple):
    """`word` names the trouble; the same one twice in a row is said once. `relist`: what was read
    so far is void.
    """

    word: str
    delay_seconds: float
    relist: bool = False
    loud: bool = True


def judge_failure(
    error: Exception, attempt: int, settings: LoopSettings, random: Callable[[], float]
) -> Verdict:
    """Decide on the `attempt`-th failure in a row, counted from 1."""
    if isinstance(error, ExpiredError):
        # The remedy is to list at once. Over and over it is trouble like any other.
        delay = 0.0 if attempt == 1 else backoff(attempt - 1, settings, random)
        return Verdict("expired", delay, relist=True, loud=attempt > 1)
    if isinstance(error, ForbiddenError):
        return Verdict("forbidden", _half_random(settings.forbidden_seconds, random))
    if isinstance(error, NotFoundError):
        return Verdict("absent", _half_random(settings.absent_seconds, random), relist=True)
    delay = backoff(attempt, settings, random)
    if isinstance(error, TemporaryError):
        # A server that says when is believed, and not asked sooner; a broken connection alone is
        # not worth a line.
        return Verdict(
            "unavailable", max(delay, error.retry_after_seconds or 0.0), loud=attempt > 1
        )
    return Verdict("failed", delay)


def backoff(attempt: int, settings: LoopSettings, random: Callable[[], float]) -> float:
    """Doubling from the first delay to the last; half of it random, so that many watches do not
    return together.
    """
    full = min(
        settings.backoff_initial_seconds * 2.0 ** min(attempt - 1, 32), settings.backoff_max_seconds
    )
    return _half_random(full, random)


def _half_random(delay: float, random: Callable[[], float]) -> float:
    return delay * (0.5 + 0.5 * random())
