"""What to do about a list or a watch that failed: the delay, whether to list again, whether to log.
Pure.
"""

from __future__ import annotations

from typing import Callable, NamedTuple

from kubestorm.clients.kube_errors import ExpiredError, ForbiddenError
from kubestorm.core.errors import NotFoundError, TemporaryError
from kubestorm.sources.watching.settings import LoopSettings


class RetryDecision(NamedTuple):
    """`cause` is one word; the same one twice in a row is logged once. `relist`: list again instead
    of resuming the watch.
    """

    cause: str
    delay_seconds: float
    relist: bool = False
    is_logged: bool = True


def decide_retry(
    error: Exception, attempt: int, settings: LoopSettings, random: Callable[[], float]
) -> RetryDecision:
    """Decide on the `attempt`-th failure in a row, counted from 1."""
    if isinstance(error, ExpiredError):
        # List again at once; repeated, it backs off like any other failure.
        delay = 0.0 if attempt == 1 else backoff(attempt - 1, settings, random)
        return RetryDecision("expired", delay, relist=True, is_logged=attempt > 1)
    if isinstance(error, ForbiddenError):
        return RetryDecision("forbidden", _half_random(settings.forbidden_seconds, random))
    if isinstance(error, NotFoundError):
        return RetryDecision("absent", _half_random(settings.absent_seconds, random), relist=True)
    delay = backoff(attempt, settings, random)
    if isinstance(error, TemporaryError):
        # Retry-After is a minimum; a single broken connection is not worth a log line.
        return RetryDecision(
            "unavailable", max(delay, error.retry_after_seconds or 0.0), is_logged=attempt > 1
        )
    return RetryDecision("failed", delay)


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
