"""One list-and-watch: it reads, has each object judged, dispatches, remembers, and never gives up.

`step` is one round (list if need be, then watch until the stream ends) and returns how long to wait
before the next; `run` repeats it until `stop`. `tick` is called by another thread from time to
time: it writes what is remembered and looks again at objects that are not settled. Nothing here
knows HTTP, threads' creation or StackStorm.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import threading
from typing import Any, Callable, Dict, List, Optional, Set

from kubestorm import kube_errors
from kubestorm.errors import Error, NotFoundError, TemporaryError
from kubestorm.kube import decode
from kubestorm.watching import judging
from kubestorm.watching.api import Object, Stream, WatchApi, WatchKey
from kubestorm.watching.failures import judge_failure
from kubestorm.watching.judging import Change, Judgement
from kubestorm.watching.knowledge import Knowledge
from kubestorm.watching.records import is_unsettled
from kubestorm.watching.schedule import ResyncSchedule, spread
from kubestorm.watching.settings import WatchSettings

Dispatch = Callable[[Object], None]


def utc_now() -> dt.datetime:
    """The wall clock, which objects' own times are compared with."""
    return dt.datetime.now(dt.timezone.utc)


class Watch:
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
        wall_clock: Callable[[], dt.datetime] = utc_now,
        log: Optional[logging.Logger] = None,
    ) -> None:
        self._wall_clock = wall_clock
        self.key, self.knowledge = key, knowledge
        self._api, self._dispatch, self._settings = api, dispatch, settings
        self._clock, self._random, self._wake = clock, random, wake
        self._log = log or logging.getLogger(__name__)
        self._sensitive = judging.is_sensitive(key.resource)
        self._stopping = threading.Event()
        self._stream: Optional[Stream] = None
        self._loaded = False
        self._failures = 0
        self._trouble = ""
        self._progressed = False
        # Events come from two threads: one object's must not be judged by the one while the other
        # looks at it.
        self._lock = threading.RLock()
        self._schedule = ResyncSchedule(settings.resync, random)
        self._resync = False
        self._all_due: Optional[float] = None
        self._unwritten = 0
        self._write_after = 0.0

    # The watching thread.

    def run(self) -> None:
        """Watch until `stop`."""
        while not self._stopping.is_set():
            delay = self.step()
            if delay:
                self._stopping.wait(delay)

    def step(self) -> float:
        """One round; returns the seconds to wait before the next. Raises nothing."""
        self._progressed = False
        try:
            if not self._loaded:
                self._load()
            if not self.knowledge.resource_version:
                self._list()
            self._watch()
        except Exception as error:  # noqa: BLE001 (the outermost loop: a watch that ends is a deaf pack)
            return self._failed(error)
        if self._progressed:
            self._failures = 0
            self._recovered()
            return 0.0
        # A server that ends an idle watch at once would otherwise be asked without a pause.
        return self._settings.watch.backoff_initial_seconds if not self._stopping.is_set() else 0.0

    def stop(self) -> None:
        """End `run` soon, from any thread."""
        self._stopping.set()
        stream = self._stream
        if stream is not None:
            stream.close()

    def _load(self) -> None:
        unreadable = self.knowledge.load()
        if unreadable:
            self._log.warning(
                "watch.memory_damaged: %s records of %s could not be read", unreadable, self.key
            )
        self._loaded = True
        self._schedule_known()
        # The ticker sleeps till it has something to do, and a quiet watch would wake it in an hour.
        self._wake()

    def _list(self) -> None:
        seen: Set[str] = set()
        token = ""
        while not self._stopping.is_set():
            page = self._api.list_page(token)
            self._learn_kind(page)
            items = page.get("items")
            for obj in items if isinstance(items, list) else []:
                if judging.is_object(obj):
                    seen.add(self._exists(obj))
            metadata = page.get("metadata") or {}
            token = metadata.get("continue") or ""
            if not token:
                self._vanished(seen)
                self.knowledge.advance(str(metadata.get("resourceVersion") or ""))
                self._wake()
                self._log.info(
                    "watch.listed: %s, %s objects",
                    self.key,
                    len(seen),
                    extra={"objects": len(seen)},
                )
                return

    def _vanished(self, seen: Set[str]) -> None:
        for key, record in self.knowledge.items():
            if key not in seen:
                self._settle(key, None, judging.judge_gone(record))

    def _watch(self) -> None:
        opened = self._clock()
        stream = self._stream = self._api.open_stream(self.knowledge.resource_version)
        if self._trouble != "expired":
            self._recovered()
        try:
            if self._stopping.is_set():
                return
            for lines in stream.batches():
                for line in lines:
                    self._event(line)
                    if self._stopping.is_set():
                        return
        finally:
            self._stream = None
            stream.close()
        if self._clock() - opened >= self._settings.watch.backoff_initial_seconds:
            self._progressed = True

    def _event(self, line: bytes) -> None:
        event = self._parse(line)
        obj = event.get("object")
        kind = event.get("type")
        if kind == "ERROR":
            self._raise_status(obj)
        if not isinstance(obj, dict) or not isinstance(obj.get("metadata"), dict):
            self._log.warning(
                "watch.odd_event: an event of %s has no object and is skipped", self.key
            )
            return
        if kind in ("ADDED", "MODIFIED", "DELETED") and judging.is_object(obj):
            if kind == "DELETED":
                key = judging.key_of(obj)
                uid = str(obj["metadata"].get("uid") or "")
                self._settle(key, obj, judging.judge_gone(self.knowledge.get(key), uid))
            else:
                self._exists(obj)
            self._wake()
        self.knowledge.advance(str(obj["metadata"].get("resourceVersion") or ""))
        self._progressed = True

    def _parse(self, line: bytes) -> Object:
        try:
            event = decode(line)
        except ValueError:
            event = None
        if not isinstance(event, dict):
            # What was lost with the line is unknown, so the whole is read again.
            self._void()
            raise TemporaryError(
                f"the watch of {self.key} sent a line that is not an event", service="Kubernetes"
            )
        return event

    def _raise_status(self, status: Any) -> None:
        code = status.get("code") if isinstance(status, dict) else None
        asked = kube_errors.Request(
            "watch", self.key.group, self.key.plural, self.key.namespace, ""
        )
        message = {
            "kind": "Status",
            "message": (status or {}).get("message") if isinstance(status, dict) else "",
        }
        text = json.dumps(message).encode()
        raise kube_errors.from_response(code if isinstance(code, int) else 500, {}, text, asked)

    def _exists(self, obj: Object) -> str:
        key = judging.key_of(obj)
        with self._lock:
            record = self.knowledge.get(key)
            try:
                judgement = judging.judge(
                    obj,
                    record,
                    self.knowledge.paths,
                    sensitive=self._sensitive,
                    status=self.key.status,
                )
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
                # An object that no API server should have let in must not keep the others from
                # being seen.
                self._log.exception("watch.odd_object: %s %s is skipped", self.key, key)
                return key
            # Asked for before it is dispatched, as that takes parts of the object away.
            wanted = judging.look_at(obj)
            look_in = None if wanted is None else (wanted - self._wall_clock()).total_seconds()
            self._settle(key, obj, judgement, look_in)
        return key

    def _settle(
        self, key: str, obj: Optional[Object], judgement: Judgement, look_in: Optional[float] = None
    ) -> None:
        with self._lock:
            for change in judgement.changes:
                self._dispatch(self._payload(change, obj, key))
            self.knowledge.put(key, judgement.record)
            if not self._resync:
                return
            if judgement.record is None:
                self._schedule.forget(key)
            else:
                settled = not is_unsettled(judgement.record)
                # Of what is new and settled no run can have read an older state.
                changed = any(
                    each.change == judging.UPDATED or not settled for each in judgement.changes
                )
                self._schedule.observe(
                    key, settled=settled, changed=changed, now=self._clock(), look_in=look_in
                )

    def _payload(self, change: Change, obj: Optional[Object], key: str) -> Object:
        return judging.payload(
            change,
            obj,
            key=key,
            cluster=self._settings.cluster,
            resource=self.key.resource,
            kind=self.knowledge.kind,
            sensitive=self._sensitive,
        )

    def _learn_kind(self, page: Dict[str, Any]) -> None:
        kind = page.get("kind")
        if isinstance(kind, str) and kind.endswith("List"):
            self.knowledge.kind = kind[: -len("List")]

    def _failed(self, error: Exception) -> float:
        if self._stopping.is_set():
            return 0.0
        if self._progressed:
            self._failures = 0
        self._failures += 1
        verdict = judge_failure(error, self._failures, self._settings.watch, self._random)
        if verdict.relist:
            self._void()
        if verdict.loud and verdict.word != self._trouble:
            self._trouble = verdict.word
            self._say(verdict.word, error)
        return verdict.delay_seconds

    def _say(self, word: str, error: Exception) -> None:
        extra = {"watch": str(self.key), "cluster": self._settings.cluster}
        if word == "absent":
            self._log.warning(
                "watch.absent: %s is not served yet; waiting for its definition",
                self.key,
                extra=extra,
            )
        elif isinstance(error, Error):
            self._log.warning("watch.%s: %s", word, error, extra=extra)
        else:
            self._log.error("watch.failed: %s", self.key, exc_info=error, extra=extra)

    def _recovered(self) -> None:
        if self._trouble:
            self._log.info("watch.recovered: %s after %s", self.key, self._trouble)
            self._trouble = ""

    def _void(self) -> None:
        if self._loaded:
            self.knowledge.restart()

    # The ticking thread.

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
        self._wake()

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
        if changed is not None and now >= max(
            changed + self._settings.watch.record_seconds, self._write_after
        ):
            self.record()
        with self._lock:
            due = self._schedule.take_due(now)
            everything = self._all_due is not None and now >= self._all_due
            if everything:
                self._plan_all()
        for key in due:
            if not self._stopping.is_set():
                self._guard(self._look_again, key)
        if everything and not self._stopping.is_set():
            self._guard(self._look_at_all)

    def record(self) -> None:
        """Write what is known now; when the datastore fails, say so once and keep it for the next
        tick.
        """
        try:
            self.knowledge.flush()
        except Exception as error:  # noqa: BLE001 (any datastore, any error: events go on, the writing is repeated)
            self._unwritten += 1
            self._write_after = self._clock() + min(
                2.0**self._unwritten, self._settings.watch.backoff_max_seconds
            )
            if self._unwritten == 1:
                self._log.warning(
                    "watch.memory_not_written: %s: %s", self.key, type(error).__name__
                )
            return
        self._unwritten, self._write_after = 0, 0.0

    def _guard(self, look: Callable[..., None], *arguments: str) -> None:
        try:
            look(*arguments)
        except Error as error:
            # The watch itself reports an unreachable server; the schedule comes back to the object.
            self._log.debug("watch.resync_failed: %s: %s", self.key, error)
        except Exception:  # noqa: BLE001 (the ticker serves every watch)
            self._log.exception("watch.resync_failed: %s", self.key)

    def _look_again(self, key: str) -> None:
        namespace, _, name = key.partition("/")
        try:
            obj = self._api.get(namespace, name)
        except NotFoundError:
            return
        if judging.is_object(obj) and self._api.is_at_work(str(obj["metadata"].get("uid") or "")):
            # A second run would end at the first one's lock. A run that died lets go when its Lease
            # runs out.
            with self._lock:
                self._schedule.postpone(key, self._clock())
            return
        self._resync_one(obj)
        with self._lock:
            self._schedule.done(key)

    def _look_at_all(self) -> None:
        token = ""
        while not self._stopping.is_set():
            page = self._api.list_page(token)
            items = page.get("items")
            for obj in items if isinstance(items, list) else []:
                if self._stopping.is_set():
                    return
                self._resync_one(obj)
            token = (page.get("metadata") or {}).get("continue") or ""
            if not token:
                return

    def _resync_one(self, obj: Any) -> None:
        if not judging.is_object(obj):
            return
        key = judging.key_of(obj)
        with self._lock:
            # One that the watch has not told of yet is told of by the watch, as what it is.
            if self.knowledge.get(key) is not None:
                self._dispatch(self._payload(Change(judging.RESYNC), obj, key))

    def _plan_all(self) -> None:
        seconds = self._settings.resync.all_seconds
        self._all_due = (
            self._clock() + spread(seconds, self._settings.resync.jitter, self._random)
            if seconds
            else None
        )

    def _schedule_known(self) -> None:
        if not self._resync:
            return
        now = self._clock()
        with self._lock:
            for key, record in self.knowledge.items():
                if is_unsettled(record):
                    self._schedule.observe(key, settled=False, changed=False, now=now)
                else:
                    self._schedule.remind(key, now)
