"""Checks from time to time for new base images whose push no registry reported.

It runs in a sensor, costs a list and one small request for each base, and dispatches a trigger only
where a build is due.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, Callable, Mapping, Optional

from kubestorm.clients.services import Services
from kubestorm.kinds.build.base_images.rebuild_check import inspect

TRIGGER = "kubestorm.base_image_changed"
INTERVAL_SECONDS = 600.0
PROGRESSING_SECONDS = 60.0
"""While images wait for a build of their base, or for their turn."""

Dispatch = Callable[[str, Mapping[str, Any]], object]


class BaseImagePoller:
    """Checks the base images of all built images, and dispatches what is due."""

    tick_seconds = PROGRESSING_SECONDS

    def __init__(self, dispatch: Dispatch) -> None:
        self._dispatch = dispatch
        self._due: Optional[dt.datetime] = None

    def poll(self, services: Services) -> None:
        """Check where that is due. Raises what the check raises."""
        now = services.now()
        if self._due is None or now >= self._due:
            self._due = now + dt.timedelta(seconds=INTERVAL_SECONDS)
            self._due = now + dt.timedelta(seconds=self._check(services))

    def _check(self, services: Services) -> float:
        """Dispatch what is due; the seconds until the next check."""
        found = inspect(services)
        if found.requests or found.messages:
            images = [str(key) for keys in found.requests.values() for key in keys]
            self._dispatch(TRIGGER, {"images": images})
        return PROGRESSING_SECONDS if found.requests or found.is_progressing else INTERVAL_SECONDS
