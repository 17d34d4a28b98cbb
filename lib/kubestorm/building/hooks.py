"""Push webhooks of git servers: each becomes a trigger that says *look* at a branch."""

from __future__ import annotations

import logging
from typing import Any, Callable, Mapping

from kubestorm.building.pushes import TRIGGER, check_of, read_push
from kubestorm.building.settings import BuildSettings, HookSettings
from kubestorm.errors import TemporaryError
from kubestorm.listener import Answer, Listener, ListenerSettings, Request, Route
from kubestorm.services import Services

DEFAULT_PORT = 8090

Dispatch = Callable[[str, Mapping[str, Any]], object]


class PushEvents:
    """Listens for push webhooks and dispatches a trigger for each."""

    def __init__(self, services: Services, dispatch: Dispatch, log: logging.Logger) -> None:
        """Binds the listener's address. Raises DefinitionError for settings that cannot be."""
        self._services, self._dispatch, self._log = services, dispatch, log
        settings = BuildSettings.from_config(services.settings.raw).webhooks
        routes = [self._route(hook, index) for index, hook in enumerate(settings.hooks)]
        section = {"port": DEFAULT_PORT, **settings.listener}
        listener = ListenerSettings.from_config(section, field="build.webhooks.listener")
        self.listener = Listener(listener, routes, log)

    def start(self) -> None:
        self.listener.start()

    def stop(self) -> None:
        """Safe to repeat."""
        self.listener.stop()

    def _route(self, hook: HookSettings, index: int) -> Route:
        check = check_of(hook, lambda: self._services.vault, f"build.webhooks.hooks[{index}]")
        return Route(
            f"/git/{hook.name}", hook.name, check, lambda request: self._receive(hook, request)
        )

    def _receive(self, hook: HookSettings, request: Request) -> Answer:
        push = read_push(hook.kind, request)
        if push is None:
            return Answer.json(200, {"accepted": 0}, outcome="ignored")
        try:
            self._dispatch(TRIGGER, push.payload(source=hook.name, now=self._services.now()))
        except Exception as error:
            raise TemporaryError("The event could not be handed on; send it again.") from error
        self._log.info("push.accepted: %s of %s", push.branch, push.urls[0])
        return Answer.json(202, {"accepted": 1}, outcome="accepted")
