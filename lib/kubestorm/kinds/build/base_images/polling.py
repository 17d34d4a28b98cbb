"""Looks now and then for bases that are new though no registry told of their push.

It runs in a sensor, costs a list and one small request for each base, and begins an execution only
where a build is due.
"""

from __future__ import annotations

import datetime as dt
import logging
from typing import Any, Callable, Mapping, Optional

from kubestorm.kinds.build.base_images.rebuild_check import inspect
from kubestorm.core.errors import Error
from kubestorm.clients.services import Services

TRIGGER = "kubestorm.base_image_changed"
INTERVAL_SECONDS = 600.0
UNDER_WAY_SECONDS = 60.0
"""While images wait for a build of what they stand on, or for their turn."""

Dispatch = Callable[[str, Mapping[str, Any]], object]


class BaseImagePoller:
    """What the sensor does now and then. Raises nothing: the next look tries again."""

    tick_seconds = UNDER_WAY_SECONDS

    def __init__(self, dispatch: Dispatch, log: logging.Logger) -> None:
        self._dispatch, self._log = dispatch, log
        self._due: Optional[dt.datetime] = None
        self._failed = False

    def poll(self, services: Services) -> None:
        """Look where it is time to."""
        now = services.now()
        if self._due is not None and now < self._due:
            return
        seconds = INTERVAL_SECONDS
        try:
            seconds = self._look(services)
        except Error as error:
            self._report(str(error))
        except Exception as error:  # noqa: BLE001 (any message bus: the next look repeats it)
            self._report(f"{type(error).__name__}; the next look tries again")
        else:
            self._failed = False
        self._due = now + dt.timedelta(seconds=seconds)

    def _look(self, services: Services) -> float:
        """Tell what is due; the seconds until the next look."""
        found = inspect(services)
        if found.requests or found.messages:
            images = [str(key) for keys in found.requests.values() for key in keys]
            self._dispatch(TRIGGER, {"images": images})
        return UNDER_WAY_SECONDS if found.requests or found.is_under_way else INTERVAL_SECONDS

    def _report(self, why: str) -> None:
        if not self._failed:
            self._log.warning("base_images.not_looked_at: %s", why)
        self._failed = True
