"""One watch that rules ask for: it has each object judged, dispatches, remembers, and looks again
at what waits for a look.

The watching thread calls `run`; another calls `tick` from time to time, which writes what is
remembered and dispatches what is due; `wake` comes from whoever watches something for an object of
ours (RDS, pods, Jobs, other objects).
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
from kubestorm.sources.watching.change_detection import Change, Judgement
from kubestorm.sources.watching.expecting import FAILED, SETTLED, UNHEARD, Expectation, expectation
from kubestorm.sources.watching.list_watch import ListWatch
from kubestorm.sources.watching.records import is_unsettled, unpack
from kubestorm.sources.watching.schedule import BACKSTOP, REQUEUE, ResyncSchedule, spread
from kubestorm.sources.watching.settings import WatchSettings
from kubestorm.sources.watching.watch_state import Knowledge

Dispatch = Callable[[Object], None]
Seen = Callable[[WatchKey, Object, bool], None]
"""Told of every object of ours: the watch, the object, and whether its outcome is a new one."""


def utc_now() -> dt.datetime:
    """The wall clock, which objects' own times are compared with."""
    return dt.datetime.now(dt.timezone.utc)


class Waiting(NamedTuple):
    """An object of ours that is not settled, as it was last seen."""

    uid: str
    labels: Dict[str, str]
    expectation: Expectation


class _Dispatched(NamedTuple):
    """An event that nobody has answered yet. `reason`: a look that was asked for meanwhile."""

    at: float
    moment: dt.datetime
    run_id: str
    """status.lastRunId when it was dispatched: another one is the answer."""
    lease: str
    """The Lease that its steps take. One that was held and given back since is an answer, too: of a
    run that found nothing to write."""
    reason: str = ""


class Watch(ListWatch):
    """Everything about one WatchKey. `dispatch` gets payloads and returns when they are handed
    over, or raises.
    """

    def __init__(
        self,
        key: WatchKey,
        api: WatchApi,
        knowledge: Knowledge,
        dispatch: Dispatch,
        settings: WatchSettings,
        *,
        clock: Callable[[], float],
        random: Callable[[], float],
        wake: Callable[[], None] = lambda: None,
        seen: Seen = lambda key, obj, fresh: None,
        wall_clock: Callable[[], dt.datetime] = utc_now,
        log: Optional[logging.Logger] = None,
    ) -> None:
        # Events come from two threads: one object's must not be judged by the one while the other
        # looks at it.
        super().__init__(key, api, settings, clock=clock, random=random, log=log)
        self.knowledge = knowledge
        self._dispatch, self._wake_ticker, self._seen = dispatch, wake, seen
        self._wall_clock = wall_clock
        self._lock = threading.RLock()
        self._sensitive = change_detection.is_sensitive(key.resource)
        self.is_ours = settings.is_ours(key.group, key.plural)
        self._schedule = ResyncSchedule(settings.resync, random)
        self._resync = False
        self._waiting: Dict[str, Waiting] = {}
        self._dispatched: Dict[str, _Dispatched] = {}
        self._requeued: Dict[str, dt.datetime] = {}
        """The status.requeueAt that was served last: one that stays is not served again."""
        self._all_due: Optional[float] = None
        self._unwritten = 0
        self._write_after = 0.0

    # The watching thread.

    def _load(self) -> None:
        unreadable = self.knowledge.load()
        if unreadable:
            self._log.warning(
                "watch.memory_damaged: %s records of %s could not be read", unreadable, self.key
            )
        # Our own kinds are listed at each start: what they wait for is not remembered.
        self.resource_version = "" if self.is_ours else self.knowledge.resource_version
        self._schedule_known()
        # The ticker sleeps till it has something to do, and a quiet watch would wake it in an hour.
        self._wake_ticker()

    def _learn(self, page: Object) -> None:
        kind = page.get("kind")
        if isinstance(kind, str) and kind.endswith("List"):
            self.knowledge.kind = kind[: -len("List")]

    def _listed(self, seen: Set[str]) -> None:
        for key, record in self.knowledge.items():
            if key not in seen:
                self._settle(key, None, change_detection.judge_gone(record))
                if self.is_ours:
                    namespace, _, name = key.partition("/")
                    known = {"uid": unpack(record).uid, "name": name, "namespace": namespace}
                    self._seen(self.key, {"metadata": known, "status": {}}, False)
        self._wake_ticker()

    def _gone(self, obj: Object) -> None:
        key = change_detection.key_of(obj)
        uid = str(obj["metadata"].get("uid") or "")
        self._settle(key, dict(obj), change_detection.judge_gone(self.knowledge.get(key), uid))
        if self.is_ours:
            # Whoever keeps something in mind for it sees that it waits for nothing any more.
            self._seen(self.key, {**obj, "status": {}}, False)
        self._wake_ticker()

    def _exists(self, obj: Object) -> str:
        key = change_detection.key_of(obj)
        with self._lock:
            record = self.knowledge.get(key)
            try:
                judgement = change_detection.judge(
                    obj,
                    record,
                    self.knowledge.paths,
                    sensitive=self._sensitive,
                    status=self.key.status,
                    outcome_counts=self.is_ours,
                )
                expected = self._expectation(obj)
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
                # An object that no API server should have let in must not keep the others from
                # being seen.
                self._log.exception("watch.odd_object: %s %s is skipped", self.key, key)
                return key
            answered = self._take_answer(key, obj)
            self._settle(key, obj, judgement)
            self._keep_waiting(key, obj, expected)
            asked_anew = any(one.change == change_detection.UPDATED for one in judgement.changes)
            self._observe(key, expected, asked_anew=asked_anew)
        # Without the lock: whoever is told may ask other watches.
        if self.is_ours:
            self._seen(self.key, obj, judgement.fresh)
        if answered and not judgement.changes:
            self.wake(key, answered)
        self._wake_ticker()
        return key

    def _expectation(self, obj: Object) -> Expectation:
        expected = expectation(obj)
        if self.is_ours or expected.what == SETTLED:
            return expected
        # What the reasons of others mean is not known: it is looked at with back-off until Ready.
        return expected._replace(what=FAILED)

    def _take_answer(self, key: str, obj: Object) -> str:
        """Whether an event was answered by this state: the look that was put off till then."""
        sent = self._dispatched.get(key)
        if sent is None or _run_id(obj) == sent.run_id:
            return ""
        del self._dispatched[key]
        return sent.reason

    def _keep_waiting(self, key: str, obj: Object, expected: Expectation) -> None:
        if (expected.what == SETTLED and expected.at is None) or not self.is_ours:
            self._waiting.pop(key, None)
            return
        metadata = obj["metadata"]
        labels = metadata.get("labels")
        self._waiting[key] = Waiting(
            str(metadata.get("uid") or ""), labels if isinstance(labels, dict) else {}, expected
        )

    def _observe(self, key: str, expected: Expectation, *, asked_anew: bool = False) -> None:
        if not self._resync:
            return
        at_seconds = None
        if expected.at is not None and self._requeued.get(key) != expected.at:
            at_seconds = (expected.at - self._wall_clock()).total_seconds()
        what = expected.what
        if key in self._dispatched and what != FAILED and not expected.finished:
            what = UNHEARD  # the run for it may have died
        self._schedule.observe(
            key, what, now=self._clock(), asked_anew=asked_anew, at_seconds=at_seconds
        )

    def _settle(self, key: str, obj: Optional[Object], judgement: Judgement) -> None:
        with self._lock:
            for change in judgement.changes:
                self._send(change, obj, key)
            self.knowledge.put(key, judgement.record)
            if judgement.record is None:
                self._schedule.forget(key)
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
                kind=self.knowledge.kind,
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

    def knows(self, key: str, uid: str = "") -> bool:
        """Whether there is an object of that name (and uid)."""
        record = self.knowledge.get(key)
        return record is not None and (not uid or unpack(record).uid == uid)

    def wake(self, key: str, reason: str) -> None:
        """Dispatch a resync of one object. One whose last event nobody has answered yet is left
        till it is, or nothing has been heard of it for some minutes. Raises nothing.
        """
        with self._lock:
            sent = self._dispatched.get(key)
        # A time that has come is served once anyway.
        if sent is not None and reason != REQUEUE:
            ended = self._api.ended_since(sent.lease, sent.moment)
            with self._lock:
                if self._dispatched.get(key) is not sent:
                    sent = None  # answered, or sent anew, meanwhile
                elif ended:
                    del self._dispatched[key]
                elif self._clock() - sent.at < self._schedule.patience_seconds:
                    # A reason that says what happened outweighs one that says what time it is.
                    if not sent.reason or reason != BACKSTOP:
                        self._dispatched[key] = sent._replace(reason=reason)
                    return
                if ended and sent is not None and reason == BACKSTOP and not sent.reason:
                    waiting = self._waiting.get(key)
                    self._observe(key, waiting.expectation if waiting else Expectation(SETTLED))
                    return
                if sent is not None:
                    reason = sent.reason or reason
        self._guard(self._look_again, key, reason)

    def set_resync(self, wanted: bool) -> None:
        """Whether anybody asks for resync of these resources."""
        with self._lock:
            if wanted == self._resync:
                return
            self._resync = wanted
            self._schedule.clear()
            self._all_due = None
            if wanted:
                self._plan_all()
                self._schedule_known()
        self._wake_ticker()

    def next_tick(self) -> Optional[float]:
        """The clock at which `tick` has something to do, or None."""
        with self._lock:
            times: List[Optional[float]] = [self._schedule.next_due(), self._all_due]
        changed = self.knowledge.changed_at()
        if changed is not None:
            times.append(max(changed + self._settings.watch.record_seconds, self._write_after))
        return min((time for time in times if time is not None), default=None)

    def tick(self) -> None:
        """Write what is due to be written, look at what is due to be looked at. Raises nothing."""
        now = self._clock()
        changed = self.knowledge.changed_at()
        due_to_write = (changed or 0.0) + self._settings.watch.record_seconds
        if changed is not None and now >= max(due_to_write, self._write_after):
            self.record()
        with self._lock:
            due = self._schedule.take_due(now)
            for one in due:
                waiting = self._waiting.get(one.key)
                if waiting is None or waiting.expectation.at is None:
                    continue
                if one.reason == REQUEUE:
                    self._requeued[one.key] = waiting.expectation.at
                else:
                    self._observe(one.key, waiting.expectation)  # its own time is still to come
            everything = self._all_due is not None and now >= self._all_due
            if everything:
                self._plan_all()
        for one in due:
            if not self._stopping.is_set():
                self.wake(one.key, one.reason)
        if everything and not self._stopping.is_set():
            self._guard(self._look_at_all)

    def record(self, *, finally_: bool = False) -> None:
        """Write what is known now; when the datastore fails, say so once and keep it for the next
        tick. `finally_`: also how far the watch has read, which alone is not worth a write.
        """
        try:
            written = self.knowledge.flush(self.resource_version, finally_=finally_)
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

    def _guard(self, look: Callable[..., None], *arguments: str) -> None:
        try:
            look(*arguments)
        except Error as error:
            # The watch itself reports an unreachable server; the schedule comes back to the object.
            self._log.debug("watch.resync_failed: %s: %s", self.key, error)
        except Exception:  # noqa: BLE001 (the ticker serves every watch)
            self._log.exception("watch.resync_failed: %s", self.key)

    def _look_again(self, key: str, reason: str) -> None:
        namespace, _, name = key.partition("/")
        try:
            obj = self._api.get(namespace, name)
        except NotFoundError:
            return
        self._resync_one(obj, reason)

    def _look_at_all(self) -> None:
        token = ""
        while not self._stopping.is_set():
            page = self._api.list_page(token)
            items = page.get("items")
            for obj in items if isinstance(items, list) else []:
                if self._stopping.is_set():
                    return
                self._resync_one(obj, BACKSTOP)
            token = (page.get("metadata") or {}).get("continue") or ""
            if not token:
                return

    def _resync_one(self, obj: Any, reason: str) -> None:
        if not change_detection.is_object(obj):
            return
        key = change_detection.key_of(obj)
        with self._lock:
            # One that the watch has not told of yet is told of by the watch, as what it is.
            if self.knowledge.get(key) is not None:
                expected = self._expectation(obj)
                self._send(Change(change_detection.RESYNC, reason=reason), obj, key)
                if self.is_ours:
                    self._observe(key, expected)

    def _plan_all(self) -> None:
        # What we own is watched, and what is outside is compared by the sensor of drift.
        seconds = 0.0 if self.is_ours else self._settings.resync.all_seconds
        spread_over = spread(seconds, self._settings.resync.jitter, self._random)
        self._all_due = self._clock() + spread_over if seconds else None

    def _schedule_known(self) -> None:
        if not self._resync:
            return
        with self._lock:
            if self.is_ours:
                for key, one in self._waiting.items():
                    self._observe(key, one.expectation)
                return
            for key, record in self.knowledge.items():
                self._observe(key, Expectation(FAILED if is_unsettled(record) else SETTLED))


def _run_id(obj: Object) -> str:
    status = obj.get("status")
    return str(status.get("lastRunId") or "") if isinstance(status, dict) else ""


def _lease_of(obj: Object, plural: str) -> str:
    """The Lease that the steps for an object take: a Rollout's take the Application's."""
    if plural == ROLLOUTS.plural:
        return application_uid(obj)
    return untrusted.text(untrusted.mapping(obj.get("metadata")).get("uid"))
