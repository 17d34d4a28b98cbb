"""The process of the watches: Kubernetes objects that rules ask for, and what they wait for; and
beside them the look at drift, as a client of RDS takes 20 MB in each process that has one.
"""

from __future__ import annotations

import logging
import threading
from typing import Any, Dict, Mapping, Optional

from kubestorm.clients import rds
from kubestorm.clients.services import open_services
from kubestorm.core.parts import DATABASES
from kubestorm.core.trouble import Reporter
from kubestorm.entrypoints.sensors.observers import observers
from kubestorm.entrypoints.sensors.polling import (
    Context,
    Poll,
    WithServices,
    if_served,
    poll_component,
)
from kubestorm.entrypoints.sensors.supervisor import Component, Config, Supervisor
from kubestorm.kinds.build.settings import BuildSettings
from kubestorm.sources.datastore import WriteBehindStore
from kubestorm.sources.watching.settings import WatchSettings
from kubestorm.sources.watching.watch_manager import WatchManager

Trigger = Mapping[str, Any]


class Resources:
    """The triggers that rules ask for, and the hub that watches for them while there is a
    configuration. StackStorm sends the existing triggers around the sensor's `setup`.
    """

    def __init__(self, service: Any, config: Optional[Config], log: logging.Logger) -> None:
        self._service, self._log = service, log
        self._triggers: Dict[str, Trigger] = {}
        self._manager: Optional[WatchManager] = None
        self._lock = threading.Lock()
        # StackStorm's dispatcher is not said to be safe for several threads at once.
        self._dispatching = threading.Lock()
        store = WriteBehindStore(service, log)
        parts = [
            Component("watches", self._begin),
            poll_component(
                "drift", if_served(DATABASES, drift), Context(store, self._dispatch, log)
            ),
        ]
        self.supervisor = Supervisor(
            parts,
            config,
            log,
            report=Reporter(store.set_value, log).report,
            on_stop=store.flush,
        )

    def add(self, trigger: Trigger) -> None:
        """A rule asks for this trigger, or changed it."""
        with self._lock:
            self._triggers[_ref(trigger)] = trigger
            if self._manager is not None:
                self._manager.add(trigger)

    def remove(self, trigger: Trigger) -> None:
        """No rule asks for this trigger any more."""
        with self._lock:
            self._triggers.pop(_ref(trigger), None)
            if self._manager is not None:
                self._manager.remove(trigger)

    def _begin(self, config: Config) -> WatchManager:
        services = open_services(config)
        settings = WatchSettings.from_config(
            config, build_namespace=BuildSettings.from_config(config).job_namespace
        )
        client = services.kube
        hub = WatchManager(self._service, self._dispatch, log=self._log)
        told = observers(config, client, self._dispatch, self._log)
        with self._lock:
            for trigger in self._triggers.values():
                hub.add(trigger)
            aws = services.settings.aws
            hub.start(settings, client, rds=lambda: rds.connect(aws), observers=told)
            self._manager = hub
        return hub

    def _dispatch(self, trigger: Any, payload: Mapping[str, Any]) -> None:
        with self._dispatching:
            self._service.dispatch(trigger=trigger, payload=payload)


def drift(config: Config, context: Context) -> Optional[Poll]:
    """Databases against what exists."""
    from kubestorm.kinds.database.drift.settings import DriftSettings

    interval = DriftSettings.from_config(config).interval_seconds
    if not interval:
        return None
    from kubestorm.kinds.database.drift.poller import DriftPoller
    from kubestorm.people.notifications.drift import announce

    cluster = str(config["cluster"])
    poller = DriftPoller(context.store, context.dispatch, context.log, cluster, announce)
    return Poll(interval, WithServices(config, poller.poll))


def _ref(trigger: Trigger) -> str:
    # Its id is absent in some of StackStorm's messages.
    return str(trigger.get("ref") or trigger.get("id"))
