"""Advances the running deliveries, from a sensor, without an execution.

A delivery waits for the status of its ImageBuild and of Rollouts. The end of a stage is dispatched
within seconds, and no worker is held in the meantime.
"""

from __future__ import annotations

import datetime as dt
import functools
import logging
from typing import Iterator, List, Optional, Sequence

from kubestorm.clients.kube import Object
from kubestorm.clients.services import Services
from kubestorm.core.dispatching import Dispatch
from kubestorm.kinds.application.values import ApplicationSpec
from kubestorm.kinds.build.pipeline import plan as pipeline
from kubestorm.kinds.build.pipeline.act import advance, is_running
from kubestorm.kinds.build.pipeline.observe import START_SECONDS, list_specs
from kubestorm.kinds.build.spec import IMAGE_BUILDS
from kubestorm.sources.poll_failures import PollFailures

RUNNING_SECONDS = 5.0
IDLE_SECONDS = 30.0
"""After which a new delivery is found; its first stage takes longer."""

LISTED_SECONDS = START_SECONDS / 2
"""How long a list of the Applications is used; shorter than a rollout may take to start."""


class DeliveryPoller:
    """Advances all deliveries. Raises nothing: the next poll tries again."""

    tick_seconds = RUNNING_SECONDS

    def __init__(self, dispatch: Dispatch, log: logging.Logger) -> None:
        self._dispatch = dispatch
        self._due: Optional[dt.datetime] = None
        self._specs: Sequence[ApplicationSpec] = ()
        self._listed_at: Optional[dt.datetime] = None
        self._failures = PollFailures(log, "deliveries")

    def poll(self, services: Services) -> None:
        """Advance all deliveries where that is due."""
        now = services.now()
        if self._due is not None and now < self._due:
            return
        self._due = now + dt.timedelta(seconds=IDLE_SECONDS)
        waiting: List[Object] = []
        self._failures.run("ImageBuilds", lambda: waiting.extend(self._waiting(services)))
        if waiting:
            self._due = now + dt.timedelta(seconds=RUNNING_SECONDS)

    def _waiting(self, services: Services) -> Iterator[Object]:
        """Advance all deliveries; those that have not ended."""
        listed = functools.partial(self._listed, services)
        for build in services.kube.list_all(IMAGE_BUILDS):
            metadata = build["metadata"]
            # The teardown reports a delivery whose ImageBuild is being deleted.
            if metadata.get("deletionTimestamp") or not is_running(build):
                continue
            outcomes: List[str] = []

            def poll(build: Object = build, outcomes: List[str] = outcomes) -> None:
                outcomes.append(advance(services, build, self._dispatch, listed))

            failed = self._failures.run(f"{metadata['namespace']}/{metadata['name']}", poll)
            if failed or outcomes == [pipeline.WAITING]:
                yield build

    def _listed(self, services: Services) -> Sequence[ApplicationSpec]:
        """The Applications, listed once for all deliveries and kept for LISTED_SECONDS."""
        now = services.now()
        if self._listed_at is None or (now - self._listed_at).total_seconds() >= LISTED_SECONDS:
            self._specs, self._listed_at = list_specs(services), now
        return self._specs
