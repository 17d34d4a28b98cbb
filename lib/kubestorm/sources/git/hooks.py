"""Push webhooks of git servers: each is dispatched once as a trigger that a branch has changed.

As for pushes to registries: the trigger is dispatched, then the delivery is recorded, then the git
server gets its answer.
"""

from __future__ import annotations

import hashlib
import json
import logging
from typing import Any, Callable, Mapping

from kubestorm.clients.services import Services
from kubestorm.core.errors import TemporaryError
from kubestorm.sources.datastore import Store
from kubestorm.sources.dedup_store import DedupStore
from kubestorm.sources.git.pushes import TRIGGER, Ignored, Push, check_of, read_push
from kubestorm.sources.git.settings import HookSettings, WebhooksSettings
from kubestorm.sources.listener import Answer, Listener, ListenerSettings, Request, Route

DEFAULT_PORT = 8090
TAKEN, TAKEN_SHARDS = "deliveries", 4
"""The last 500 accepted deliveries are recorded under this name."""

Dispatch = Callable[[str, Mapping[str, Any]], object]


class PushEvents:
    """Listens for push webhooks and dispatches a trigger for each new delivery."""

    def __init__(
        self, services: Services, store: Store, dispatch: Dispatch, log: logging.Logger
    ) -> None:
        """Binds the listener's address. Raises DefinitionError for invalid settings."""
        self._services, self._dispatch, self._log = services, dispatch, log
        self._taken = DedupStore(store, TAKEN, shards=TAKEN_SHARDS)
        settings = WebhooksSettings.from_config(services.settings.raw)
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
        if isinstance(push, Ignored):
            body = {"accepted": 0, "message": f"Ignored: {push.reason}."}
            return Answer.json(200, body, outcome="ignored")
        key = delivery_key(hook.name, push)
        with self._taken.exclusive(key):
            # Without an id it may also be a branch that was reset to an earlier commit.
            if push.event_id and self._taken.get(key) is not None:
                return Answer.json(200, {"accepted": 0, "repeated": 1}, outcome="repeated")
            try:
                self._dispatch(TRIGGER, push.payload(source=hook.name, now=self._services.now()))
            except Exception as error:
                raise TemporaryError("The event could not be dispatched; send it again.") from error
            if push.event_id:
                self._taken.add(key, "1")
        self._log.info("push.accepted: %s of %s", push.branch, push.urls[0])
        return Answer.json(202, {"accepted": 1}, outcome="accepted")


def delivery_key(hook: str, push: Push) -> str:
    """The key of a delivery. Not its id alone: GitLab reuses a webhook's id for subsequent ones,
    and a sender may choose any id.
    """
    parts = [hook, push.event_id, push.branch, push.before, push.commit, *push.urls]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
