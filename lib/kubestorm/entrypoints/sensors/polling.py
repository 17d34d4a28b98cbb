"""The process that polls what sends no events: registries, branches, base images, deliveries, what
Applications read from outside, expired Leases. The drift poll is in `resources`.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Any, Callable, Mapping, NamedTuple, Optional, Tuple

from kubestorm.clients.services import Services, open_services
from kubestorm.core.errors import Error
from kubestorm.core.parts import APPLICATIONS, BUILDS, serves
from kubestorm.core.trouble import Reporter
from kubestorm.entrypoints.sensors.supervisor import Component, Config, Supervisor
from kubestorm.sources.datastore import WriteBehindStore

STOP_SECONDS = 1.0
OPEN_SECONDS = 300.0
LEASES_SECONDS = 3600.0


class Context(NamedTuple):
    """What a poll is given: its datastore, where triggers go, the log."""

    store: WriteBehindStore
    dispatch: Callable[[str, Mapping[str, Any]], object]
    log: logging.Logger


class Poll(NamedTuple):
    """What is done, and how often."""

    interval_seconds: float
    run: Callable[[], object]


MakePoll = Callable[[Config, Context], Optional[Poll]]


def registries(config: Config, context: Context) -> Optional[Poll]:
    """Repositories whose registry cannot call."""
    if not ((config.get("registries") or {}).get("polling") or {}).get("repositories"):
        return None
    from kubestorm.sources.registry.polling import RegistryPoller
    from kubestorm.sources.registry.settings import RegistrySettings

    settings = RegistrySettings.from_config(config).polling
    poller = RegistryPoller(settings, context.store, context.dispatch, context.log)
    services = open_services(config)  # kept: it renews its own tokens
    return Poll(poller.tick_seconds, lambda: poller.poll(services.registry, services.now()))


def branches(config: Config, context: Context) -> Optional[Poll]:
    """Branches that ImageBuilds follow."""
    from kubestorm.kinds.build.settings import BuildSettings

    settings = BuildSettings.from_config(config)
    if not settings.source.poll.interval_seconds:
        return None
    from kubestorm.kinds.build.branch_tracking import BranchPoller

    poller = BranchPoller(settings, context.dispatch, context.log)
    return Poll(poller.tick_seconds, WithServices(config, poller.poll))


def base_images(config: Config, context: Context) -> Optional[Poll]:
    """Base images of built images."""
    from kubestorm.kinds.build.base_images.polling import BaseImagePoller

    poller = BaseImagePoller(context.dispatch)
    return Poll(poller.tick_seconds, WithServices(config, poller.poll))


def deliveries(config: Config, context: Context) -> Optional[Poll]:
    """Deliveries in progress."""
    from kubestorm.kinds.build.pipeline.polling import DeliveryPoller

    poller = DeliveryPoller(context.dispatch, context.log)
    return Poll(poller.tick_seconds, WithServices(config, poller.poll))


def applications(config: Config, context: Context) -> Optional[Poll]:
    """What Applications read from Consul and Vault."""
    from kubestorm.kinds.application.input_changes import wake_changed
    from kubestorm.kinds.application.settings import ApplicationSettings

    interval = ApplicationSettings.from_config(config).check_seconds
    return Poll(interval, WithServices(config, wake_changed))


def leases(config: Config, context: Context) -> Optional[Poll]:
    """Leases that have not been held for a day."""
    from kubestorm.clients.lease import collect

    def collect_leases(services: Services) -> None:
        count = collect(services.kube, services.now())
        if count:
            context.log.info("leases.collected: %s", count)

    return Poll(LEASES_SECONDS, WithServices(config, collect_leases))


def if_served(part: str, make: MakePoll) -> MakePoll:
    """A poll of one part of the pack, where the configuration has that part."""
    return lambda config, context: make(config, context) if serves(config, part) else None


POLLS: Tuple[Tuple[str, MakePoll], ...] = (
    ("registries", registries),
    ("branches", if_served(BUILDS, branches)),
    ("base images", if_served(BUILDS, base_images)),
    ("deliveries", if_served(BUILDS, deliveries)),
    ("applications", if_served(APPLICATIONS, applications)),
    ("leases", leases),
)
"""Name -> what makes a poll from the configuration; None where it asks for none. Each has a thread
of its own: a slow poll delays no other.
"""


class Polls:
    """All polls that the configuration asks for."""

    def __init__(self, service: Any, config: Optional[Config], log: logging.Logger) -> None:
        store = WriteBehindStore(service, log)

        def dispatch(trigger: str, payload: Mapping[str, Any]) -> object:
            return service.dispatch(trigger=trigger, payload=payload)

        context = Context(store, dispatch, log)
        parts = [poll_component(name, make, context) for name, make in POLLS]
        self.supervisor = Supervisor(
            parts,
            config,
            log,
            report=Reporter(store.set_value, log).report,
            on_stop=store.flush,
        )


def poll_component(name: str, make: MakePoll, context: Context) -> Component:
    """A poll as a component of a process."""

    def start(config: Config) -> Optional[PollLoop]:
        poll = make(config, context)
        return PollLoop(name, poll, context.log) if poll is not None else None

    return Component(name, start)


class PollLoop:
    """Runs one poll in a thread of its own from its creation to `stop`. An error is logged once
    until it changes, and the next run tries again.
    """

    def __init__(self, name: str, poll: Poll, log: logging.Logger) -> None:
        self._name, self._poll, self._log = name, poll, log
        self._trouble = ""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"poll-{name}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """A run in progress ends with the process. Safe to repeat."""
        self._stopping.set()
        self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        while True:
            self.run_once()
            if self._stopping.wait(self._poll.interval_seconds):
                return

    def run_once(self) -> None:
        """Raises nothing."""
        try:
            self._poll.run()
        except Exception as error:  # noqa: BLE001 (the outer loop: the next run tries again)
            why = f"{type(error).__name__}: {error}"
            if why != self._trouble:
                unforeseen = None if isinstance(error, Error) else error
                self._log.warning("poll.failed: %s: %s", self._name, why, exc_info=unforeseen)
            self._trouble = why
        else:
            if self._trouble:
                self._log.info("poll.recovered: %s", self._name)
            self._trouble = ""


class WithServices:
    """A poll that gets services. They are reopened every few minutes, as tokens expire; reopening
    them for each run would cost more than most runs.
    """

    def __init__(
        self,
        config: Config,
        poll: Callable[[Services], object],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config, self._poll, self._clock = config, poll, clock
        self._services: Optional[Services] = None
        self._until = 0.0

    def __call__(self) -> None:
        if self._services is None or self._clock() >= self._until:
            if self._services is not None:
                self._services.close()
            self._services = open_services(self._config)
            self._until = self._clock() + OPEN_SECONDS
        self._poll(self._services)
