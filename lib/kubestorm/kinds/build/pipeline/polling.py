"""Brings the deliveries under way on, from a sensor: a look costs no execution.

What a delivery waits for is written on the ImageBuild and on Rollouts, by whoever builds and rolls
out. An ended stage is told within seconds, and nobody holds a worker meanwhile.
"""

from __future__ import annotations

import datetime as dt
import functools
import logging
from typing import Optional, Sequence, Set

from kubestorm.clients.kube import Object
from kubestorm.clients.services import Services
from kubestorm.core.dispatching import Dispatch
from kubestorm.core.errors import Error
from kubestorm.kinds.application.values import ApplicationSpec
from kubestorm.kinds.build.pipeline import plan as pipeline
from kubestorm.kinds.build.pipeline.act import advance, is_under_way
from kubestorm.kinds.build.pipeline.observe import START_SECONDS, list_specs
from kubestorm.kinds.build.spec import IMAGE_BUILDS

UNDER_WAY_SECONDS = 5.0
IDLE_SECONDS = 30.0
"""A delivery that begins is found that late; it has nothing to tell before."""

LISTED_SECONDS = START_SECONDS / 2
"""How long a list of the Applications serves: one that follows since then is found in time."""


class DeliveryPoller:
    """What the sensor does now and then. Raises nothing: the next look tries again."""

    tick_seconds = UNDER_WAY_SECONDS

    def __init__(self, dispatch: Dispatch, log: logging.Logger) -> None:
        self._dispatch, self._log = dispatch, log
        self._due: Optional[dt.datetime] = None
        self._specs: Sequence[ApplicationSpec] = ()
        self._listed_at: Optional[dt.datetime] = None
        self._failed: Set[str] = set()

    def poll(self, services: Services) -> None:
        """Look at all deliveries under way, where it is time to."""
        now = services.now()
        if self._due is not None and now < self._due:
            return
        seconds = IDLE_SECONDS
        try:
            for build in services.kube.list_all(IMAGE_BUILDS):
                # The teardown tells the end of a delivery whose ImageBuild is being deleted.
                is_deleting = build["metadata"].get("deletionTimestamp")
                if is_under_way(build) and not is_deleting and self._is_waiting(services, build):
                    seconds = UNDER_WAY_SECONDS
        except Error as error:
            self._report("ImageBuilds", str(error))
        else:
            self._failed.discard("ImageBuilds")
        self._due = now + dt.timedelta(seconds=seconds)

    def _is_waiting(self, services: Services, build: Object) -> bool:
        """Bring one delivery on; whether it has not ended."""
        metadata = build["metadata"]
        what = f"{metadata['namespace']}/{metadata['name']}"
        try:
            outcome = advance(
                services, build, self._dispatch, functools.partial(self._listed, services)
            )
        except Error as error:
            self._report(what, str(error))
            return True
        except Exception as error:  # noqa: BLE001 (any message bus: the next look repeats it)
            self._report(what, f"{type(error).__name__}; the next look tries again")
            return True
        self._failed.discard(what)
        return outcome == pipeline.WAITING

    def _listed(self, services: Services) -> Sequence[ApplicationSpec]:
        """The Applications, listed once for all deliveries and kept for a while."""
        now = services.now()
        if self._listed_at is None or (now - self._listed_at).total_seconds() >= LISTED_SECONDS:
            self._specs, self._listed_at = list_specs(services), now
        return self._specs

    def _report(self, what: str, why: str) -> None:
        if what not in self._failed:
            self._log.warning("deliveries.not_looked_at: %s: %s", what, why)
        self._failed.add(what)
