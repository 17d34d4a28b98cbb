"""What the sensor of pushes does: listen for those that post, read the queues of the others."""

from __future__ import annotations

import functools
import logging
from typing import Any, Optional

from kubestorm.clients.services import Services
from kubestorm.clients.vault import VaultStore
from kubestorm.sources.datastore import Store
from kubestorm.sources.dedup_store import DedupStore
from kubestorm.sources.listener import Listener, Route
from kubestorm.sources.listener.routing import Counters
from kubestorm.sources.registry.checks import check_of
from kubestorm.sources.registry.queues import QueueReader, open_queue
from kubestorm.sources.registry.readers import TYPES
from kubestorm.sources.registry.receiving import Dispatch, PushReceiver
from kubestorm.sources.registry.settings import RegistrySettings, SourceSettings

REMEMBERED = "pushes"


class PushEvents:
    """All configured sources, from `start` to `stop`."""

    def __init__(
        self, services: Services, store: Store, dispatch: Dispatch, log: logging.Logger
    ) -> None:
        """Binds the listener's address, where a source posts. Raises DefinitionError for settings
        that cannot be.
        """
        self._settings = RegistrySettings.from_config(services.settings.raw)
        self._services, self._log = services, log
        self._receiver = PushReceiver(
            DedupStore(store, REMEMBERED), dispatch, services.registry, log, services.now
        )
        self.counters = Counters()
        self._readers = [
            self._reader(source) for source in self._settings.sources if not source.is_posted
        ]
        posted = [source for source in self._settings.sources if source.is_posted]
        self.listener: Optional[Listener] = None
        if posted:
            # Last: once it is bound, nothing here raises, and whoever tries again finds it free.
            routes = [self._route(source) for source in posted]
            self.listener = Listener(self._settings.listener, routes, log, counters=self.counters)

    def start(self) -> None:
        if self.listener:
            self.listener.start()
        for reader in self._readers:
            reader.start()

    def stop(self) -> None:
        """Safe to repeat."""
        if self.listener:
            self.listener.stop()
        for reader in self._readers:
            reader.stop()

    def _route(self, source: SourceSettings) -> Route:
        return Route(
            path=source.url_path,
            name=source.name,
            check=check_of(source, lambda: VaultStore(self._services.settings.vault)),
            receive=functools.partial(self._receiver.answer, source),
            content_types=TYPES[source.type].content_types,
            methods=TYPES[source.type].methods,
        )

    def _reader(self, source: SourceSettings) -> QueueReader:
        def take(body: Any) -> str:
            return self._receiver.take(source, {}, body).outcome

        queue = open_queue(source, self._services.settings.aws)
        return QueueReader(source.name, queue, take, self.counters.add, self._log)
