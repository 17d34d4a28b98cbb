"""Checks from time to time for new base images whose push no registry reported.

It runs in a sensor, costs a list and one small request for each base, and dispatches a trigger only
where a build is due.
"""

from __future__ import annotations

import datetime as dt
import logging
from typing import Any, Callable, Mapping, Optional

from kubestorm.clients.services import Services
from kubestorm.core.errors import Error
from kubestorm.kinds.build.base_images.rebuild_check import inspect

TRIGGER = "kubestorm.base_image_changed"
INTERVAL_SECONDS = 600.0
PROGRESSING_SECONDS = 60.0
"""While images wait for a build of their base, or for their turn."""

Dispatch = Callable[[str, Mapping[str, Any]], object]


class BaseImagePoller:
    """One poll of the sensor. Raises nothing: the next check tries again."""

    tick_seconds = PROGRESSING_SECONDS

    def __init__(self, dispatch: Dispatch, log: logging.Logger) -> None:
        self._dispatch, self._log = dispatch, log
        self._due: Optional[dt.datetime] = None
        self._failed = False

    def poll(self, services: Services) -> None:
        """Check where that is due."""
        now = services.now()
        if self._due is not None and now < self._due:
            return
        seconds = INTERVAL_SECONDS
        try:
            seconds = self._check(services)
        except Error as error:
            self._report(str(error))
        except Exception as error:  # noqa: BLE001 (any message bus: the next check repeats it)
            self._report(f"{type(error).__name__}; the next check tries again")
        else:
            self._failed = False
        self._due = now + dt.timedelta(seconds=seconds)

    def _check(self, services: Services) -> float:
        """Dispatch what is due; the seconds until the next check."""
        found = inspect(services)
        if found.requests or found.messages:
            images = [str(key) for keys in found.requests.values() for key in keys]
            self._dispatch(TRIGGER, {"images": images})
        return PROGRESSING_SECONDS if found.requests or found.is_progressing else INTERVAL_SECONDS

    def _report(self, why: str) -> None:
        if not self._failed:
            self._log.warning("base_images.check_failed: %s", why)
        self._failed = True
