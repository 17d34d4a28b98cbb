"""From the triggers that rules ask for to running watches, and from changes to dispatched triggers.

Triggers that agree in all parameters share one watch. A watch starts with the first and stops with
the last; what it knew stays in the datastore, so that a rule that is disabled for an hour misses
nothing. Triggers may come before `start` (StackStorm sends the existing ones around the sensor's
`setup`).
"""

from __future__ import annotations

import hashlib
import json
import logging
import random as random_module
import threading
import time
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional

from kubestorm.errors import DefinitionError
from kubestorm.kube import KubeClient
from kubestorm.watching import judging
from kubestorm.watching.api import KubeWatchApi, Object, WatchApi, WatchKey
from kubestorm.watching.knowledge import Knowledge, Store
from kubestorm.watching.settings import WatchSettings
from kubestorm.watching.watch import Watch

TRIGGER_TYPE = "kubestorm.resource_event"
STOP_SECONDS = 5.0

Trigger = Dict[str, Any]
TriggerDispatch = Callable[[Trigger, Object], Any]
ApiFactory = Callable[[WatchKey], WatchApi]


class Subscription(NamedTuple):
    """One trigger: what it watches, whether it gets resync events, and what to dispatch it as."""

    key: WatchKey
    resync: bool
    trigger: Trigger


class _Running(NamedTuple):
    watch: Watch
    thread: threading.Thread


class WatchHub:
    """All watches of one sensor. Every method may be called from any thread."""

    def __init__(
        self,
        store: Store,
        dispatch: TriggerDispatch,
        *,
        log: Optional[logging.Logger] = None,
        clock: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = random_module.random,
    ) -> None:
        self._store, self._dispatch = store, dispatch
        self._log = log or logging.getLogger(__name__)
        self._clock, self._random = clock, random
        self._lock = threading.RLock()
        # StackStorm's dispatcher is not said to be safe for several threads at once.
        self._dispatching = threading.Lock()
        self._wanted: Dict[str, Trigger] = {}
        self._subscriptions: Dict[str, Subscription] = {}
        self._running: Dict[WatchKey, _Running] = {}
        self._settings: Optional[WatchSettings] = None
        self._api: Optional[ApiFactory] = None
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._ticker = threading.Thread(
            target=self._tick_until_stopped, name="kubestorm-tick", daemon=True
        )

    def start(self, settings: WatchSettings, client: KubeClient) -> None:
        """Begin to watch on a Kubernetes API server."""
        self.start_with(settings, lambda key: KubeWatchApi(client, key, settings.watch))

    def start_with(self, settings: WatchSettings, api: ApiFactory) -> None:
        """Begin to watch through any implementation of the port."""
        with self._lock:
            self._settings, self._api = settings, api
            for identity, trigger in self._wanted.items():
                self._note(identity, trigger)
            # All of them are noted before any watch begins: triggers that share one must hear the
            # same from it.
            for key in {one.key for one in self._subscriptions.values()}:
                self._adjust(key)
        self._ticker.start()

    def add(self, trigger: Mapping[str, Any]) -> None:
        """A rule asks for this trigger, or changed it; repeating it changes nothing."""
        identity = _identity(trigger)
        with self._lock:
            self._wanted[identity] = dict(trigger)
            if self._api is not None:
                before = self._subscriptions.get(identity)
                self._note(identity, dict(trigger))
                after = self._subscriptions.get(identity)
                for one in {one.key for one in (before, after) if one is not None}:
                    self._adjust(one)

    def remove(self, trigger: Mapping[str, Any]) -> None:
        """No rule asks for this trigger any more."""
        identity = _identity(trigger)
        with self._lock:
            self._wanted.pop(identity, None)
            gone = self._subscriptions.pop(identity, None)
            if gone is not None:
                self._adjust(gone.key)

    def wait_until_stopped(self) -> None:
        """Block until `stop`."""
        self._stopping.wait()

    def stop(self) -> None:
        """End all watches and write what they know. Safe to repeat."""
        self._stopping.set()
        self._wake.set()
        with self._lock:
            running, self._running = self._running, {}
        for one in running.values():
            one.watch.stop()
        for one in running.values():
            _finish(one)
        if self._ticker.is_alive():
            self._ticker.join(STOP_SECONDS)

    def watches(self) -> List[WatchKey]:
        """What is being watched now."""
        with self._lock:
            return list(self._running)

    def _note(self, identity: str, trigger: Trigger) -> None:
        assert self._settings is not None  # noqa: S101 (callers checked; for the type checker)
        self._subscriptions.pop(identity, None)
        try:
            self._subscriptions[identity] = subscription(trigger, self._settings)
        except DefinitionError as error:
            self._log.error("watch.bad_trigger: %s", error)

    def _adjust(self, key: WatchKey) -> None:
        subscribed = [one for one in self._subscriptions.values() if one.key == key]
        running = self._running.get(key)
        if subscribed and running is None and not self._stopping.is_set():
            running = self._running[key] = self._begin(key)
        if running is None:
            return
        if subscribed:
            running.watch.set_resync(any(one.resync for one in subscribed))
            return
        del self._running[key]
        running.watch.stop()
        _finish(running)
        self._log.info("watch.stopped: %s", key)

    def _begin(self, key: WatchKey) -> _Running:
        assert self._settings is not None  # noqa: S101
        assert self._api is not None  # noqa: S101
        watch = Watch(
            key,
            self._api(key),
            Knowledge(
                self._store, store_prefix(key, self._settings.cluster), key._asdict(), self._clock
            ),
            lambda payload: self._fan_out(key, payload),
            self._settings,
            clock=self._clock,
            random=self._random,
            wake=self._wake.set,
            log=self._log,
        )
        thread = threading.Thread(
            target=watch.run, name=f"kubestorm-watch-{key.plural}", daemon=True
        )
        thread.start()
        self._log.info("watch.started: %s", key)
        return _Running(watch, thread)

    def _fan_out(self, key: WatchKey, payload: Object) -> None:
        subscribed = [one for one in list(self._subscriptions.values()) if one.key == key]
        with self._dispatching:
            for one in subscribed:
                if payload["change"] != judging.RESYNC or one.resync:
                    self._dispatch(one.trigger, payload)

    def _tick_until_stopped(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            with self._lock:
                watches = [one.watch for one in self._running.values()]
            now = self._clock()
            times = [time for time in (watch.next_tick() for watch in watches) if time is not None]
            pause = max(min(times) - now, 0.0) if times else None
            if pause is None or pause > 0:
                self._wake.wait(pause)
                continue
            for watch in watches:
                watch.tick()


def subscription(trigger: Mapping[str, Any], settings: WatchSettings) -> Subscription:
    """Read a trigger's parameters; DefinitionError names the one that is missing."""
    parameters = trigger.get("parameters") or {}
    for name in ("version", "plural"):
        if not parameters.get(name):
            raise DefinitionError(
                f"a {TRIGGER_TYPE} trigger needs the parameter {name}", field=name
            )
    asked = parameters.get("resync")
    key = WatchKey(
        group=parameters.get("group") or "",
        version=parameters["version"],
        plural=parameters["plural"],
        namespace=parameters.get("namespace") or "",
        label_selector=parameters.get("label_selector") or "",
        resync=asked if asked is None else bool(asked),
        status=bool(parameters.get("status")),
    )
    # Who listens to outcomes is told of them as they come: a resync would be news of nothing.
    resync = (
        key.group in settings.resync.groups and not key.status if asked is None else bool(asked)
    )
    kind = trigger.get("type") or TRIGGER_TYPE
    return Subscription(key, resync, {"type": kind, "parameters": dict(parameters)})


def store_prefix(key: WatchKey, cluster: str) -> str:
    """The name under which a watch keeps its memory: short, and the same for the same watch of the
    same cluster.
    """
    parts = [cluster, *key[:5]] + ([] if key.resync is None else [f"resync={key.resync}"])
    parts += ["status"] if key.status else []
    text = "\n".join(map(str, parts))
    return f"watch.{key.plural}.{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _identity(trigger: Mapping[str, Any]) -> str:
    # `ref` stays the same for a trigger's life; its id is absent in some of StackStorm's messages.
    return str(
        trigger.get("ref")
        or trigger.get("id")
        or json.dumps(trigger.get("parameters"), sort_keys=True)
    )


def _finish(running: _Running) -> None:
    if running.thread is not threading.current_thread():
        running.thread.join(STOP_SECONDS)
    running.watch.record()
