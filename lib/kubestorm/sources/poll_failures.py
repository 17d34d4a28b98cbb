"""Failures of what is polled: the first in a row is logged, then the recovery; none is raised."""

from __future__ import annotations

import logging
from typing import Callable, Collection, Dict, Optional, Protocol

from kubestorm.core.errors import Error


class PollFailures:
    """Failures in a row, by subject. Each subject belongs to one thread at a time."""

    def __init__(self, log: logging.Logger, event: str) -> None:
        """`event` is the first part of the log's event names."""
        self._log, self._event = log, event
        self._counts: Dict[str, int] = {}

    def run(self, subject: str, poll: Callable[[], object], label: str = "") -> Optional[Exception]:
        """Poll one subject; the error, if there was one. `label` is the subject in logs."""
        try:
            poll()
        except Exception as error:  # noqa: BLE001 (any message bus, any datastore: the next poll tries again)
            known = isinstance(error, Error)
            why = str(error) if known else f"{type(error).__name__}; the next poll tries again"
            if not self.count(subject):
                self._log.warning("%s.failed: %s: %s", self._event, label or subject, why)
            self._counts[subject] = self.count(subject) + 1
            return error
        if self._counts.pop(subject, 0):
            self._log.info("%s.recovered: %s", self._event, label or subject)
        return None

    def count(self, subject: str) -> int:
        """Failures in a row."""
        return self._counts.get(subject, 0)

    def retain(self, subjects: Collection[str]) -> None:
        """Forget all others."""
        self._counts = {key: count for key, count in self._counts.items() if key in subjects}


class BackoffSettings(Protocol):
    """The settings of a poll that count here."""

    @property
    def max_backoff_seconds(self) -> float:
        """Where the doubling stops."""

    @property
    def jitter(self) -> float:
        """Share of the delay that is random."""


def delay_seconds(
    interval: float,
    failures: int,
    settings: BackoffSettings,
    share: float,
    retry_after: Optional[float] = None,
) -> float:
    """Seconds until the next poll: the interval, doubled with each failure in a row, not before
    `retry_after`, and jitter. `share` is random, between -1 and 1. Pure.
    """
    doubled = min(interval * 2.0 ** min(failures, 16), max(settings.max_backoff_seconds, interval))
    return max(doubled, retry_after or 0.0) * (1.0 + settings.jitter * share)
