"""One watch that rules ask for: detects changes, dispatches them, remembers what was dispatched,
and requeues objects that are not settled.

The watching thread calls `run`; another calls `tick` from time to time, which writes the state and
dispatches resyncs that are due; `wake` comes from whoever watches something for an object of ours
(RDS, pods, Jobs, other objects).
"""

from __future__ import annotations

import datetime as dt
import logging
import threading
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Set

from kubestorm.clients.resources import ROLLOUTS, application_uid
from kubestorm.core import untrusted
from kubestorm.core.errors import Error, NotFoundError
from kubestorm.sources.watching import change_detection
from kubestorm.sources.watching.api import Object, WatchApi, WatchKey
from kubestorm.sources.watching.change_detection import Change, Detection
from kubestorm.sources.watching.list_watch import ListWatch
from kubestorm.sources.watching.object_record import is_unsettled, unpack
from kubestorm.sources.watching.settings import WatchSettings
from kubestorm.sources.watching.wait_state import FAILED, SETTLED, UNANSWERED, WaitState, wait_state
from kubestorm.sources.watching.watch_state import WatchState
from kubestorm.sources.watching.work_queue import BACKSTOP, REQUEUE, DelayingQueue, jittered

Dispatch = Callable[[Object], None]
OnObject = Callable[[WatchKey, Object, bool], None]
"""Called for every object of ours: the watch, the object, and whether its outcome has changed."""


def utc_now() -> dt.datetime:
    """The wall clock, which objects' own times are compared with."""
    return dt.datetime.now(dt.timezone.utc)


class Waiting(NamedTuple):
    """An object of ours that is not settled, as it was last seen."""

    uid: str
    labels: Dict[str, str]
    wait_state: WaitState


class _Dispatched(NamedTuple):
    """An event that no run has answered yet. `reason`: a resync requested meanwhile."""

    at: float
    moment: dt.datetime
    run_id: str
    """status.lastRunId when it was dispatched: another one is the answer."""
    lease: str
    """The Lease that its steps take. One that was held and given back since is an answer, too: of a
    run that found nothing to write."""
    reason: str = ""


class Watch(ListWatch):
    """The watch of one WatchKey. `dispatch` gets payloads and returns when they are handed over,
    or raises.
    """

    def __init__(
        self,
        key: WatchKey,
        api: WatchApi,
        state: WatchState,
        dispatch: Dispatch,
        settings: WatchSettings,
        *,
        clock: Callable[[], float],
        random: Callable[[], float],
        wake: Callable[[], None] = lambda: None,
        on_object: OnObject = lambda key, obj, outcome_changed: None,
        wall_clock: Callable[[], dt.datetime] = utc_now,
        log: Optional[logging.Logger] = None,
    ) -> None:
        super().__init__(key, api, settings, clock=clock, random=random, log=log)
        self.state = state
        self._dispatch, self._wake_ticker, self._notify_observers = dispatch, wake, on_object
        self._wall_clock = wall_clock
        # Two threads dispatch: events of one object must not overtake each other.
        self._lock = threading.RLock()
        self._sensitive = change_detection.is_sensitive(key.resource)
        self.is_ours = settings.is_ours(key.group, key.plural)
        self._queue = DelayingQueue(settings.resync, random)
        self._resync = False
        self._waiting: Dict[str, Waiting] = {}
        self._dispatched: Dict[str, _Dispatched] = {}
        self._requeued: Dict[str, dt.datetime] = {}
        """The status.requeueAt that was served last: one that stays is not served again."""
        self._full_resync_due: Optional[float] = None
        self._unwritten = 0
        self._write_after = 0.0

    # The watching thread.

    def _load(self) -> None:
        unreadable = self.state.load()
        if unreadable:
            self._log.warning(
                "watch.memory_damaged: %s records of %s could not be read", unreadable, self.key
            )
        # Our own kinds are listed at each start: what they wait for is not stored.
        self.resource_version = "" if self.is_ours else self.state.resource_version
        self._enqueue_known()
        self._wake_ticker()

    def _on_page(self, page: Object) -> None:
        kind = page.get("kind")
        if isinstance(kind, str) and kind.endswith("List"):
            self.state.kind = kind[: -len("List")]

    def _on_list(self, seen: Set[str]) -> None:
        for key, record in self.state.items():
            if key not in seen:
                detection = change_detection.detect_deletion(record)
                self._apply(key, None, detection)
                known = detection.changes[0].known
                if self.is_ours and known is not None:
                    namespace, _, name = key.partition("/")
                    metadata = {"uid": known.uid, "name": name, "namespace": namespace}
                    self._notify_observers(self.key, {"metadata": metadata, "status": {}}, False)
        self._wake_ticker()

    def _on_delete(self, obj: Object) -> None:
        key = change_detection.key_of(obj)
        uid = str(obj["metadata"].get("uid") or "")
        self._apply(key, dict(obj), change_detection.detect_deletion(self.state.get(key), uid))
        if self.is_ours:
            # Observers see that it no longer waits for anything.
            self._notify_observers(self.key, {**obj, "status": {}}, False)
        self._wake_ticker()

    def _on_object(self, obj: Object) -> str:
        key = change_detection.key_of(obj)
        with self._lock:
            record = self.state.get(key)
            try:
                detection = change_detection.detect_changes(
                    obj,
                    record,
                    self.state.paths,
                    sensitive=self._sensitive,
                    status=self.key.status,
                    outcome_counts=self.is_ours,
                )
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
                # A malformed object must not block the others.
                self._log.exception("watch.odd_object: %s %s is skipped", self.key, key)
                return key
            wait = self._wait_state(obj, detection.wait_state)
            answered = self._take_answer(key, obj)
            self._apply(key, obj, detection)
            self._track_waiting(key, obj, wait)
            spec_changed = any(one.change == change_detection.UPDATED for one in detection.changes)
            self._enqueue(key, wait, spec_changed=spec_changed)
        # Without the lock: an observer may ask other watches.
        if self.is_ours:
            self._notify_observers(self.key, obj, detection.outcome_changed)
        if answered and not detection.changes:
            self.wake(key, answered)
        self._wake_ticker()
        return key

    def _wait_state(self, obj: Object, known: Optional[WaitState] = None) -> WaitState:
        wait = known or wait_state(obj)
        if self.is_ours or wait.kind == SETTLED:
            return wait
        # The meaning of other kinds' reasons is unknown: requeued with back-off until Ready.
        return wait._replace(kind=FAILED)

    def _take_answer(self, key: str, obj: Object) -> str:
        """The reason of a resync that waited for this answer; empty where none did, or this is no
        answer.
        """
        sent = self._dispatched.get(key)
        if sent is None or _run_id(obj) == sent.run_id:
            return ""
        del self._dispatched[key]
        return sent.reason

    def _track_waiting(self, key: str, obj: Object, wait: WaitState) -> None:
        if wait.is_settled or not self.is_ours:
            self._waiting.pop(key, None)
            return
        metadata = obj["metadata"]
        labels = metadata.get("labels")
        self._waiting[key] = Waiting(
            str(metadata.get("uid") or ""), labels if isinstance(labels, dict) else {}, wait
        )

    def _enqueue(self, key: str, wait: WaitState, *, spec_changed: bool = False) -> None:
        if not self._resync:
            return
        at_seconds = None
        if wait.at is not None and self._requeued.get(key) != wait.at:
            at_seconds = (wait.at - self._wall_clock()).total_seconds()
        kind = wait.kind
        if key in self._dispatched and kind != FAILED and not wait.finished:
            kind = UNANSWERED  # the run for it may have died
        self._queue.add(
            key, kind, now=self._clock(), spec_changed=spec_changed, at_seconds=at_seconds
        )

    def _apply(self, key: str, obj: Optional[Object], detection: Detection) -> None:
        with self._lock:
            for change in detection.changes:
                self._send(change, obj, key)
            self.state.put(key, detection.record)
            if detection.record is None:
                self._queue.forget(key)
                for memory in (self._waiting, self._dispatched, self._requeued):
                    memory.pop(key, None)

    def _send(self, change: Change, obj: Optional[Object], key: str) -> None:
        run_id, lease = (_run_id(obj), _lease_of(obj, self.key.plural)) if obj else ("", "")
        moment = self._wall_clock()
        self._dispatch(
            change_detection.payload(
                change,
                obj,
                key=key,
                cluster=self._settings.cluster,
                resource=self.key.resource,
                kind=self.state.kind,
                sensitive=self._sensitive,
            )
        )
        if self.is_ours and change.change != change_detection.DELETED:
            self._dispatched[key] = _Dispatched(self._clock(), moment, run_id, lease)

    # Other threads.

    def waiting(self) -> Dict[str, Waiting]:
        """The objects of ours that are not settled now, by `namespace/name`."""
        with self._lock:
            return dict(self._waiting)

    def contains(self, key: str, uid: str = "") -> bool:
        """Whether there is an object of that name (and uid)."""
        record = self.state.get(key)
        return record is not None and (not uid or unpack(record).uid == uid)

    def wake(self, key: str, reason: str) -> None:
        """Dispatch a resync of one object. Where its last event is still unanswered, the resync
        waits for the answer, or for the time-out. Raises nothing.
        """
        with self._lock:
            sent = self._dispatched.get(key)
        # A requeueAt that has passed is dispatched once in any case.
        if sent is not None and reason != REQUEUE:
            ended = self._api.ended_since(sent.lease, sent.moment)
            with self._lock:
                if self._dispatched.get(key) is not sent:
                    sent = None  # answered, or dispatched again, meanwhile
                elif ended:
                    del self._dispatched[key]
                elif self._clock() - sent.at < self._queue.answer_timeout_seconds:
                    # An event is a better reason than a time.
                    if not sent.reason or reason != BACKSTOP:
                        self._dispatched[key] = sent._replace(reason=reason)
                    return
                if ended and sent is not None and reason == BACKSTOP and not sent.reason:
                    waiting = self._waiting.get(key)
                    self._enqueue(key, waiting.wait_state if waiting else WaitState(SETTLED))
                    return
                if sent is not None:
                    reason = sent.reason or reason
        self._guard(self._resync_key, key, reason)

    def set_resync(self, wanted: bool) -> None:
        """Whether any rule asks for resync of these resources."""
        with self._lock:
            if wanted == self._resync:
                return
            self._resync = wanted
            self._queue.clear()
            self._full_resync_due = None
            if wanted:
                self._plan_full_resync()
                self._enqueue_known()
        self._wake_ticker()

    def next_tick(self) -> Optional[float]:
        """The clock at which `tick` has something to do, or None."""
        with self._lock:
            times: List[Optional[float]] = [self._queue.next_due(), self._full_resync_due]
        changed = self.state.changed_at()
        if changed is not None:
            times.append(max(changed + self._settings.watch.record_seconds, self._write_after))
        return min((time for time in times if time is not None), default=None)

    def tick(self) -> None:
        """Write the state and dispatch resyncs where they are due. Raises nothing."""
        now = self._clock()
        changed = self.state.changed_at()
        due_to_write = (changed or 0.0) + self._settings.watch.record_seconds
        if changed is not None and now >= max(due_to_write, self._write_after):
            self.record()
        with self._lock:
            due = self._queue.pop_due(now)
            for one in due:
                waiting = self._waiting.get(one.key)
                if waiting is None or waiting.wait_state.at is None:
                    continue
                if one.reason == REQUEUE:
                    self._requeued[one.key] = waiting.wait_state.at
                else:
                    self._enqueue(one.key, waiting.wait_state)  # its requeueAt is still to come
            everything = self._full_resync_due is not None and now >= self._full_resync_due
            if everything:
                self._plan_full_resync()
        for one in due:
            if not self._stopping.is_set():
                self.wake(one.key, one.reason)
        if everything and not self._stopping.is_set():
            self._guard(self._resync_all)

    def record(self, *, finally_: bool = False) -> None:
        """Write the state; a failure of the datastore is logged once and retried with back-off.
        `finally_`: also the resourceVersion, which alone is not worth a write.
        """
        try:
            written = self.state.flush(self.resource_version, finally_=finally_)
        except Exception as error:  # noqa: BLE001 (any datastore: events go on, the writing is repeated)
            self._unwritten += 1
            backoff = min(2.0**self._unwritten, self._settings.watch.backoff_max_seconds)
            self._write_after = self._clock() + backoff
            if self._unwritten == 1:
                self._log.warning(
                    "watch.memory_not_written: %s: %s", self.key, type(error).__name__
                )
            return
        # On StackStorm each value written is an event: at most one per record_seconds on average.
        self._write_after = self._clock() + written * self._settings.watch.record_seconds
        self._unwritten = 0

    def _guard(self, resync: Callable[..., None], *arguments: str) -> None:
        try:
            resync(*arguments)
        except Error as error:
            # The watch itself logs an unreachable server, and the queue comes back to the object.
            self._log.debug("watch.resync_failed: %s: %s", self.key, error)
        except Exception:  # noqa: BLE001 (the ticker serves every watch)
            self._log.exception("watch.resync_failed: %s", self.key)

    def _resync_key(self, key: str, reason: str) -> None:
        namespace, _, name = key.partition("/")
        try:
            obj = self._api.get(namespace, name)
        except NotFoundError:
            return
        self._dispatch_resync(obj, reason)

    def _resync_all(self) -> None:
        token = ""
        while not self._stopping.is_set():
            page = self._api.list_page(token)
            items = page.get("items")
            for obj in items if isinstance(items, list) else []:
                if self._stopping.is_set():
                    return
                self._dispatch_resync(obj, BACKSTOP)
            token = (page.get("metadata") or {}).get("continue") or ""
            if not token:
                return

    def _dispatch_resync(self, obj: Any, reason: str) -> None:
        if not change_detection.is_object(obj):
            return
        key = change_detection.key_of(obj)
        with self._lock:
            # An object that the watch has not dispatched yet is dispatched by the watch.
            if self.state.get(key) is not None:
                wait = self._wait_state(obj)
                self._send(Change(change_detection.RESYNC, reason=reason), obj, key)
                if self.is_ours:
                    self._enqueue(key, wait)

    def _plan_full_resync(self) -> None:
        # Kinds of ours have their own watches, and the drift poll.
        seconds = 0.0 if self.is_ours else self._settings.resync.all_seconds
        spread_over = jittered(seconds, self._settings.resync.jitter, self._random)
        self._full_resync_due = self._clock() + spread_over if seconds else None

    def _enqueue_known(self) -> None:
        if not self._resync:
            return
        with self._lock:
            if self.is_ours:
                for key, one in self._waiting.items():
                    self._enqueue(key, one.wait_state)
                return
            for key, record in self.state.items():
                self._enqueue(key, WaitState(FAILED if is_unsettled(record) else SETTLED))


def _run_id(obj: Object) -> str:
    status = obj.get("status")
    return str(status.get("lastRunId") or "") if isinstance(status, dict) else ""


def _lease_of(obj: Object, plural: str) -> str:
    """The Lease that the steps for an object take: a Rollout's take the Application's."""
    if plural == ROLLOUTS.plural:
        return application_uid(obj)
    return untrusted.text(untrusted.mapping(obj.get("metadata")).get("uid"))
