"""The process of what listens: registries' webhooks and queues, git servers' webhooks, Slack."""

from __future__ import annotations

import logging
from typing import Any, Callable, Mapping, Optional

from kubestorm.core.trouble import Reporter
from kubestorm.entrypoints.sensors.supervisor import Component, Config, Running, Supervisor
from kubestorm.sources.datastore import WriteBehindStore

Dispatch = Callable[[str, Mapping[str, Any]], object]


class Listeners:
    """Only what the configuration asks for is imported and started."""

    def __init__(self, service: Any, config: Optional[Config], log: logging.Logger) -> None:
        self._service, self._log = service, log
        self._store = WriteBehindStore(service, log)
        parts = [
            Component("registries", self._registries),
            Component("git webhooks", self._git),
            Component("Slack", self._slack),
        ]
        self.supervisor = Supervisor(
            parts,
            config,
            log,
            report=Reporter(self._store.set_value, log).report,
            on_stop=self._store.flush,
        )

    def _registries(self, config: Config) -> Optional[Running]:
        if not (config.get("registries") or {}).get("sources"):
            return None
        from kubestorm.clients.services import open_services
        from kubestorm.sources.registry.events import PushEvents

        events = PushEvents(open_services(config), self._store, self._dispatch, self._log)
        events.start()
        return events

    def _git(self, config: Config) -> Optional[Running]:
        if not ((config.get("build") or {}).get("webhooks") or {}).get("hooks"):
            return None
        from kubestorm.clients.services import open_services
        from kubestorm.sources.git.hooks import PushEvents

        events = PushEvents(open_services(config), self._store, self._dispatch, self._log)
        events.start()
        return events

    def _slack(self, config: Config) -> Optional[Running]:
        from kubestorm.clients.slack.settings import OFF, SlackSettings

        settings = SlackSettings.from_config(config)
        if settings.mode == OFF:
            return None
        from kubestorm.clients.slack.credentials import Credentials
        from kubestorm.core.settings import load_settings
        from kubestorm.people.slack.inbox import Inbox, taken_before
        from kubestorm.people.slack.listening import SlackGate

        credentials = Credentials.of(load_settings(config))
        inbox = Inbox(
            self._service,
            taken_before(self._store),
            self._dispatch,
            self._log,
            credentials.bot_token,
            settings.teams,
        )
        gate = SlackGate(settings, credentials, inbox, self._log)
        gate.start()
        return gate

    def _dispatch(self, trigger: str, payload: Mapping[str, Any]) -> object:
        return self._service.dispatch(trigger=trigger, payload=payload)
