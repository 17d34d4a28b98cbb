"""How often this process was turned away, or lost what it held: counts for an operator.

A sensor writes them to its datastore when they change, at most once a minute (key
`kubestorm.NAME:trouble`, JSON: `since` and `counts`), and logs them; `kubestorm.doctor` reads them.
An action's process is too short for counts: its execution shows what it met.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import threading
from collections import Counter
from typing import Any, Callable, Dict

from kubestorm.core.times import format_time

KEY = "trouble"
RATE_LIMITED, SERVER_ERRORS = "rate limited (429)", "server errors (5xx)"
LEASES_LOST, WATCHES_FAILED = "Leases lost", "watches failed"

_counts: Dict[str, int] = Counter()
_lock = threading.Lock()


def count(what: str) -> None:
    """One more. Safe for threads."""
    with _lock:
        _counts[what] += 1


def counts() -> Dict[str, int]:
    """A copy of all counts of this process."""
    with _lock:
        return dict(_counts)


class Reporter:
    """Writes the counts of a sensor where they can be read, whenever they have changed."""

    def __init__(self, set_value: Callable[[str, str], Any], log: logging.Logger) -> None:
        self._set_value, self._log = set_value, log
        self._since = format_time(dt.datetime.now(dt.timezone.utc))
        self._said: Dict[str, int] = {}

    def report(self) -> None:
        """Safe to repeat; writes nothing while nothing changes."""
        found = counts()
        if found == self._said:
            return
        self._said = found
        self._log.info(
            "sensor.trouble: %s", ", ".join(f"{what}: {n}" for what, n in sorted(found.items()))
        )
        self._set_value(KEY, json.dumps({"since": self._since, "counts": found}, sort_keys=True))
