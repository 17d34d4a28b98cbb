"""Starts and stops watches as rules need them, and dispatches their changes as triggers.

Triggers that agree in all parameters share one watch. A watch starts with the first and stops with
the last; its state stays in the datastore, so that a rule that is disabled for an hour misses
nothing. Triggers may come before `start` (StackStorm sends the existing ones around the sensor's
`setup`).

It also runs the watches of what objects of ours wait for (`rds_poller`, `owned_watch`) while a rule
asks for the kinds that need them; these wake the object concerned.
"""

from __future__ import annotations

import hashlib
import json
import logging
import random as random_module
import threading
import time
from typing import (
    Any,
    Callable,
    Dict,
    FrozenSet,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
)

from kubestorm.clients.kube import KubeClient
from kubestorm.clients.resources import APPLICATION_LABEL
from kubestorm.core.errors import DefinitionError
from kubestorm.sources.watching import change_detection
from kubestorm.sources.watching.api import KubeWatchApi, Object, Observer, WatchApi, WatchKey
from kubestorm.sources.watching.list_watch import ListWatch
from kubestorm.sources.watching.owned_state import Owner
from kubestorm.sources.watching.owned_watch import OwnedWatch, owned_keys
from kubestorm.sources.watching.rds_poller import Owner as DatabaseOwner
from kubestorm.sources.watching.rds_poller import RdsPoller
from kubestorm.sources.watching.settings import WatchSettings
from kubestorm.sources.watching.wait_state import IN_PROGRESS, SETTLED, USER_ACTION
from kubestorm.sources.watching.watch import Watch
from kubestorm.sources.watching.watch_state import Store, WatchState

TRIGGER_TYPE = "kubestorm.resource_event"
STOP_SECONDS = 5.0
WAKE_DELAY_SECONDS = 1.0
"""Changes of one owner's pods come in groups: from the first to its resync."""
DATABASES, APPLICATIONS, ROLLOUTS = "databases", "applications", "rollouts"
WAITS_FOR_DATABASE = frozenset(("WaitingForDatabase", "WaitingForConfiguration"))

Trigger = Dict[str, Any]
TriggerDispatch = Callable[[Trigger, Object], Any]
ApiFactory = Callable[[WatchKey], WatchApi]
RdsFactory = Callable[[], Any]


class Subscription(NamedTuple):
    """One trigger: what it watches, whether it gets resync events, and what to dispatch it as."""

    key: WatchKey
    resync: bool
    trigger: Trigger


class _Running(NamedTuple):
    watch: ListWatch
    thread: threading.Thread


class WatchManager:
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
        self._triggers: Dict[str, Trigger] = {}
        self._subscriptions: Dict[str, Tuple[Subscription, ...]] = {}
        self._running: Dict[WatchKey, _Running] = {}
        self._owned: Dict[WatchKey, _Running] = {}
        self._pending_wakes: Dict[Owner, Tuple[float, str, bool]] = {}
        self._rds_poller: Optional[RdsPoller] = None
        self._observers: Sequence[Observer] = ()
        self._settings: Optional[WatchSettings] = None
        self._api: Optional[ApiFactory] = None
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._ticker = threading.Thread(
            target=self._tick_until_stopped, name="kubestorm-tick", daemon=True
        )

    def start(
        self,
        settings: WatchSettings,
        client: KubeClient,
        *,
        rds: Optional[RdsFactory] = None,
        observers: Sequence[Observer] = (),
    ) -> None:
        """Begin to watch on a Kubernetes API server. `rds` opens a client of RDS; without it RDS is
        not polled.
        """
        self._observers = observers
        if rds is not None:
            self._rds_poller = RdsPoller(
                rds,
                settings.cluster,
                settings.aws,
                waits=self._waiting_for_rds,
                wake=self._wake_owner_of_instance,
                log=self._log,
            )
        self.start_with(settings, lambda key: KubeWatchApi(client, key, settings.watch))
        if self._rds_poller is not None:
            threading.Thread(target=self._rds_poller.run, name="kubestorm-rds", daemon=True).start()

    def start_with(self, settings: WatchSettings, api: ApiFactory) -> None:
        """Begin to watch through any implementation of the port."""
        with self._lock:
            self._settings, self._api = settings, api
            for identity, trigger in self._triggers.items():
                self._subscribe(identity, trigger)
            # All subscribe before any watch starts: triggers that share one get the same events.
            for key in {one.key for one in self._subscribed()}:
                self._sync_watch(key)
        self._ticker.start()

    def add(self, trigger: Mapping[str, Any]) -> None:
        """A rule asks for this trigger, or changed it; repeating it changes nothing."""
        identity = _identity(trigger)
        with self._lock:
            self._triggers[identity] = dict(trigger)
            if self._api is not None:
                before = self._subscriptions.get(identity, ())
                self._subscribe(identity, dict(trigger))
                after = self._subscriptions.get(identity, ())
                for key in {one.key for one in (*before, *after)}:
                    self._sync_watch(key)

    def remove(self, trigger: Mapping[str, Any]) -> None:
        """No rule asks for this trigger any more."""
        identity = _identity(trigger)
        with self._lock:
            self._triggers.pop(identity, None)
            for one in self._subscriptions.pop(identity, ()):
                self._sync_watch(one.key)

    def stop(self) -> None:
        """End all watches and write their state. Safe to repeat."""
        self._stopping.set()
        self._wake.set()
        if self._rds_poller is not None:
            self._rds_poller.stop()
        with self._lock:
            running = [*self._running.values(), *self._owned.values()]
            self._running, self._owned = {}, {}
        for one in running:
            one.watch.stop()
        for one in running:
            _join(one)
        if self._ticker.is_alive():
            self._ticker.join(STOP_SECONDS)

    def watches(self) -> List[WatchKey]:
        """What is being watched now."""
        with self._lock:
            return list(self._running)

    def _subscribe(self, identity: str, trigger: Trigger) -> None:
        assert self._settings is not None  # noqa: S101 (callers checked; for the type checker)
        self._subscriptions.pop(identity, None)
        try:
            self._subscriptions[identity] = subscriptions(trigger, self._settings)
        except DefinitionError as error:
            self._log.error("watch.bad_trigger: %s", error)

    def _subscribed(self) -> List[Subscription]:
        return [one for several in list(self._subscriptions.values()) for one in several]

    def _sync_watch(self, key: WatchKey) -> None:
        subscribed = [one for one in self._subscribed() if one.key == key]
        running = self._running.get(key)
        if subscribed and running is None and not self._stopping.is_set():
            running = self._running[key] = self._start_watch(self._watch_of(key))
        if running is None:
            return
        if subscribed:
            watch = running.watch
            if isinstance(watch, Watch):
                watch.set_resync(any(one.resync for one in subscribed))
        else:
            del self._running[key]
            running.watch.stop()
            _join(running)
            self._log.info("watch.stopped: %s", key)
        self._sync_owned_watches()
        if self._rds_poller is not None:
            self._rds_poller.reschedule()

    def _sync_owned_watches(self) -> None:
        """Owned objects are watched while a rule asks for the kinds that wait for them."""
        assert self._settings is not None  # noqa: S101 (callers checked; for the type checker)
        assert self._api is not None  # noqa: S101
        watched = {
            key.plural for key in self._running if self._settings.is_ours(key.group, key.plural)
        }
        places = self._settings.kubernetes.places()
        wanted = owned_keys(watched, places, self._settings.build_namespace)
        for key in [key for key in self._owned if key not in wanted]:
            self._owned.pop(key).watch.stop()
        if self._stopping.is_set():
            return
        for key, kind in wanted.items():
            if key not in self._owned:
                watch = OwnedWatch(
                    kind,
                    key,
                    self._api(key),
                    self._settings,
                    clock=self._clock,
                    random=self._random,
                    log=self._log,
                    wake=self._wake_later,
                )
                self._owned[key] = self._start_watch(watch)

    def _watch_of(self, key: WatchKey) -> Watch:
        assert self._settings is not None  # noqa: S101
        assert self._api is not None  # noqa: S101
        prefix = store_prefix(key, self._settings.cluster)
        return Watch(
            key,
            self._api(key),
            WatchState(self._store, prefix, key._asdict(), self._clock),
            lambda payload: self._fan_out(key, payload),
            self._settings,
            clock=self._clock,
            random=self._random,
            wake=self._wake.set,
            on_object=self._notify_observers,
            log=self._log,
        )

    def _start_watch(self, watch: ListWatch) -> _Running:
        name = f"kubestorm-watch-{watch.key.plural}"
        thread = threading.Thread(target=watch.run, name=name, daemon=True)
        thread.start()
        self._log.info("watch.started: %s", watch.key)
        return _Running(watch, thread)

    # What objects of ours wait for.

    def _own_watches(self, *plurals: str) -> List[Watch]:
        """The running watches of kinds of ours, all of them or those of some names."""
        with self._lock:
            watches = [one.watch for one in self._running.values()]
        return [
            watch
            for watch in watches
            if isinstance(watch, Watch)
            and watch.is_ours
            and (not plurals or watch.key.plural in plurals)
        ]

    def _databases(self) -> List[Watch]:
        assert self._settings is not None  # noqa: S101
        mapped = [plural for _, plural in self._settings.database_kinds]
        return self._own_watches(DATABASES, *mapped)

    def _waiting_for_rds(self) -> Optional[FrozenSet[str]]:
        watches = self._databases()
        if not any(len(watch.state) for watch in watches):
            return None
        return frozenset(
            key
            for watch in watches
            for key, one in watch.waiting().items()
            if one.wait_state.kind == IN_PROGRESS
        )

    def _wake_owner_of_instance(self, owner: DatabaseOwner) -> None:
        for watch in self._databases():
            if watch.contains(owner.key, owner.uid):
                watch.wake(owner.key, "instance")

    def _notify_observers(self, key: WatchKey, obj: Object, fresh: bool) -> None:
        for observer in self._observers:
            try:
                observer.observe(key.plural, obj, fresh)
            except Exception:  # noqa: BLE001 (one observer must not end the watch)
                self._log.exception("watch.observer_failed: %s", change_detection.key_of(obj))
        if not fresh:
            return
        if self._rds_poller is not None:
            self._rds_poller.reschedule()
        if key.plural == DATABASES and change_detection.is_settled(obj):
            self._wake_applications(str(obj["metadata"].get("namespace") or ""))

    def _wake_applications(self, namespace: str) -> None:
        """A Database is Ready: resync the Applications in its namespace that wait for one."""
        for watch in self._own_watches(APPLICATIONS):
            for key, one in watch.waiting().items():
                if key.startswith(f"{namespace}/") and one.wait_state.reason in WAITS_FOR_DATABASE:
                    name = key.partition("/")[2]
                    self._wake_later(Owner(APPLICATIONS, namespace, name), "database")

    def _wake_later(self, owner: Owner, reason: str, only_waiting: bool = False) -> None:
        with self._lock:
            due, _, only = self._pending_wakes.get(
                owner, (self._clock() + WAKE_DELAY_SECONDS, reason, True)
            )
            self._pending_wakes[owner] = (due, reason, only_waiting and only)
        self._wake.set()

    def _wake_pending(self) -> None:
        now = self._clock()
        with self._lock:
            due = {owner: one for owner, one in self._pending_wakes.items() if one[0] <= now}
            for owner in due:
                del self._pending_wakes[owner]
        for owner, (_, reason, only_waiting) in due.items():
            self._wake_owner(owner, reason, only_waiting=only_waiting)

    def _wake_owner(self, owner: Owner, reason: str, *, only_waiting: bool) -> None:
        """Wake an Application's unfinished rollouts, or else the Application; any other owner
        itself.
        """
        prefix, found = f"{owner.namespace}/", False
        if owner.plural == APPLICATIONS and reason != "database":
            for watch in self._own_watches(ROLLOUTS):
                for key, one in watch.waiting().items():
                    if (
                        one.wait_state.kind != SETTLED
                        and key.startswith(prefix)
                        and one.labels.get(APPLICATION_LABEL) == owner.name
                    ):
                        watch.wake(key, reason)
                        found = True
        if found:
            return
        key = f"{prefix}{owner.name}"
        for watch in self._own_watches(owner.plural):
            waiting = watch.waiting().get(key)
            waits = waiting is not None and waiting.wait_state.kind not in (USER_ACTION, SETTLED)
            if waits or (not only_waiting and waiting is None and watch.contains(key, owner.uid)):
                watch.wake(key, reason)

    def _fan_out(self, key: WatchKey, payload: Object) -> None:
        subscribed = [one for one in self._subscribed() if one.key == key]
        with self._dispatching:
            for one in subscribed:
                if payload["change"] != change_detection.RESYNC or one.resync:
                    self._dispatch(one.trigger, payload)

    def _tick_until_stopped(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            with self._lock:
                watches = [one.watch for one in self._running.values()]
                pending = [due for due, _, _ in self._pending_wakes.values()]
            ours = [watch for watch in watches if isinstance(watch, Watch)]
            now = self._clock()
            asked = [watch.next_tick() for watch in ours]
            asked += [observer.due() for observer in self._observers]
            times = [*pending, *(time for time in asked if time is not None)]
            pause = max(min(times) - now, 0.0) if times else None
            if pause is None or pause > 0:
                self._wake.wait(pause)
                continue
            self._wake_pending()
            for watch in ours:
                watch.tick()
            for observer in self._observers:
                try:
                    observer.tick()
                except Exception:  # noqa: BLE001 (the ticker serves every watch)
                    self._log.exception("watch.observer_failed")


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
    # A trigger with `status` gets outcomes as they come; a resync would add nothing.
    resync = (
        key.group in settings.resync.groups and not key.status if asked is None else bool(asked)
    )
    kind = trigger.get("type") or TRIGGER_TYPE
    return Subscription(key, resync, {"type": kind, "parameters": dict(parameters)})


def subscriptions(trigger: Mapping[str, Any], settings: WatchSettings) -> Tuple[Subscription, ...]:
    """What one trigger watches: one for each namespace where the pack serves named ones, none for a
    kind that it does not serve. Raises DefinitionError.
    """
    one = subscription(trigger, settings)
    places = settings.places(one.key.group, one.key.plural, one.key.namespace)
    return tuple(one._replace(key=one.key._replace(namespace=place)) for place in places)


def store_prefix(key: WatchKey, cluster: str) -> str:
    """The datastore key of a watch's state: short, and stable for a watch of a cluster."""
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


def _join(running: _Running) -> None:
    if running.thread is not threading.current_thread():
        running.thread.join(STOP_SECONDS)
    if isinstance(running.watch, Watch):
        running.watch.record(finally_=True)
