"""The process of what looks from time to time where nobody calls: registries, branches, base
images, deliveries, what Applications read from outside, Leases that nobody needs. `resources` has
the look at drift.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Any, Callable, Mapping, NamedTuple, Optional, Tuple

from kubestorm.clients.services import Services, open_services
from kubestorm.core.errors import Error
from kubestorm.core.parts import APPLICATIONS, BUILDS, serves
from kubestorm.entrypoints.sensors.keeping import Config, Keeper, Part
from kubestorm.sources.datastore import QuietStore

STOP_SECONDS = 1.0
OPEN_SECONDS = 300.0
LEASES_SECONDS = 3600.0


class Context(NamedTuple):
    """What a poll is given: its memory, where triggers go, the log."""

    store: QuietStore
    dispatch: Callable[[str, Mapping[str, Any]], object]
    log: logging.Logger


class Poll(NamedTuple):
    """What is done, and how often."""

    interval_seconds: float
    look: Callable[[], object]


MakePoll = Callable[[Config, Context], Optional[Poll]]


def registries(config: Config, context: Context) -> Optional[Poll]:
    """Repositories whose registry cannot call."""
    if not ((config.get("registries") or {}).get("polling") or {}).get("repositories"):
        return None
    from kubestorm.sources.registry.polling import RegistryPoller
    from kubestorm.sources.registry.settings import RegistrySettings

    settings = RegistrySettings.from_config(config).polling
    poller = RegistryPoller(settings, context.store, context.dispatch, context.log)
    services = open_services(config)  # kept: it knows tokens, and looks for when they end
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
    """Images that built ones stand on."""
    from kubestorm.kinds.build.base_images.polling import BaseImagePoller

    poller = BaseImagePoller(context.dispatch, context.log)
    return Poll(poller.tick_seconds, WithServices(config, poller.poll))


def deliveries(config: Config, context: Context) -> Optional[Poll]:
    """Deliveries under way."""
    from kubestorm.kinds.build.pipeline.polling import DeliveryPoller

    poller = DeliveryPoller(context.dispatch, context.log)
    return Poll(poller.tick_seconds, WithServices(config, poller.poll))


def applications(config: Config, context: Context) -> Optional[Poll]:
    """What Applications read from Consul and Vault."""
    from kubestorm.kinds.application.input_changes import wake_changed
    from kubestorm.kinds.application.settings import ApplicationSettings

    interval = ApplicationSettings.from_config(config).look_seconds
    return Poll(interval, WithServices(config, wake_changed))


def leases(config: Config, context: Context) -> Optional[Poll]:
    """Leases that nobody has held for a day."""
    from kubestorm.clients.lease import collect

    def look(services: Services) -> None:
        count = collect(services.kube, services.now())
        if count:
            context.log.info("leases.collected: %s", count)

    return Poll(LEASES_SECONDS, WithServices(config, look))


def for_part(part: str, make: MakePoll) -> MakePoll:
    """A poll of one part of the pack, made where the sensors serve it."""
    return lambda config, context: make(config, context) if serves(config, part) else None


POLLS: Tuple[Tuple[str, MakePoll], ...] = (
    ("registries", registries),
    ("branches", for_part(BUILDS, branches)),
    ("base images", for_part(BUILDS, base_images)),
    ("deliveries", for_part(BUILDS, deliveries)),
    ("applications", for_part(APPLICATIONS, applications)),
    ("leases", leases),
)
"""Name -> what makes a poll of the configuration; None where that asks for none. Each has a thread
of its own: a look that takes long delays no other.
"""


class Polls:
    """All polls that the configuration asks for."""

    def __init__(self, service: Any, config: Optional[Config], log: logging.Logger) -> None:
        store = QuietStore(service, log)

        def dispatch(trigger: str, payload: Mapping[str, Any]) -> object:
            return service.dispatch(trigger=trigger, payload=payload)

        context = Context(store, dispatch, log)
        parts = [part_of(name, make, context) for name, make in POLLS]
        self.keeper = Keeper(parts, config, log, closing=store.flush)


def part_of(name: str, make: MakePoll, context: Context) -> Part:
    """A poll as a part of a process."""

    def begin(config: Config) -> Optional[Repeating]:
        poll = make(config, context)
        return Repeating(name, poll, context.log) if poll is not None else None

    return Part(name, begin)


class Repeating:
    """One poll in a thread of its own, from when it is made to `stop`. Nothing that is raised in a
    look ends it.
    """

    def __init__(self, name: str, poll: Poll, log: logging.Logger) -> None:
        self._name, self._poll, self._log = name, poll, log
        self._trouble = ""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"poll-{name}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """A look that is under way ends with the process. Safe to repeat."""
        self._stopping.set()
        self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        while True:
            self.look()
            if self._stopping.wait(self._poll.interval_seconds):
                return

    def look(self) -> None:
        """Look once. Raises nothing; what goes wrong is said once."""
        try:
            self._poll.look()
        except Exception as error:  # noqa: BLE001 (the outer loop: the next look tries again)
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
    """A look that is given services. They are opened anew every few minutes, as tokens run out; to
    do so for each look would cost more than most looks.
    """

    def __init__(
        self,
        config: Config,
        look: Callable[[Services], object],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config, self._look, self._clock = config, look, clock
        self._services: Optional[Services] = None
        self._until = 0.0

    def __call__(self) -> None:
        if self._services is None or self._clock() >= self._until:
            if self._services is not None:
                self._services.close()
            self._services = open_services(self._config)
            self._until = self._clock() + OPEN_SECONDS
        self._look(self._services)
