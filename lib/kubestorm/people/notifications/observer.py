"""News from the status changes that the Kubernetes sensor sees, collected in memory and dispatched
as `kubestorm.news`.

Nothing is dispatched for a namespace without a channel. What is held back (the rest of a burst,
trouble that may pass) is lost when the sensor's process dies; what was told is not told again, as
objects that have not changed since are reported with `fresh=False` after a restart.
"""

from __future__ import annotations

import datetime as dt
import logging
import threading
from collections import OrderedDict
from dataclasses import replace
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

from kubestorm.core.errors import DefinitionError, Error, NotFoundError, PermanentError
from kubestorm.core.naming import is_ours
from kubestorm.people.notifications.channels import channel_of
from kubestorm.people.notifications.notifications import News, news_of, subject_of
from kubestorm.people.notifications.outbox import Item, Message, decide, new_item
from kubestorm.people.notifications.posting import TRIGGER, payloads
from kubestorm.people.notifications.settings import OFF, SLACK, AnnounceSettings, way

COLLECT_SECONDS = 1.0
"""What is seen within so long goes out in one event."""
RETRY_SECONDS = 10.0
NAMESPACE_SECONDS = 60.0
TOLD_SUBJECTS = 10_000
RECENT_MESSAGES = 20

Object = Mapping[str, Any]
ReadNamespace = Callable[[str], Optional[Object]]
Dispatch = Callable[[str, Dict[str, Any]], object]
Decided = Tuple[Message, Tuple[Item, ...]]


class NewsObserver:
    """Sees objects as they change; `tick` dispatches what is due. Safe for several threads."""

    def __init__(
        self,
        config: Mapping[str, Any],
        namespace: ReadNamespace,
        dispatch: Dispatch,
        log: logging.Logger,
        *,
        clock: Callable[[], float],
        now: Callable[[], dt.datetime],
    ) -> None:
        """`namespace` reads a Namespace, None where there is none; a wrong configuration is logged
        and tells nothing.
        """
        try:
            self._settings, self._through = AnnounceSettings.from_config(config), way(config)
        except DefinitionError as error:
            log.error("announce.settings: %s", error)
            self._settings, self._through = AnnounceSettings(through=OFF), OFF
        self._dispatch, self._log, self._clock, self._now = dispatch, log, clock, now
        self._channels = _Channels(self._settings, namespace, clock)
        self._held: Dict[str, Item] = {}
        """By subject. The channel is looked up when the item is due."""
        self._told: OrderedDict[str, str] = OrderedDict()
        self._recent: Dict[str, List[dt.datetime]] = {}
        self._due: Optional[float] = None
        self._lock = threading.Lock()

    def observe(self, plural: str, obj: Object, fresh: bool) -> None:
        """An object as it is now; `fresh` where its outcome changed since it was last seen.

        Does not block.
        """
        if self._settings.is_silent or plural not in self._settings.tell or not is_ours(obj):
            return
        subject, news = subject_of(plural, obj), news_of(plural, obj)
        with self._lock:
            held = self._held.get(subject)
            if news is not None and held is not None and held.news.state == news.state:
                return  # seen again: it does not start to wait anew
            # What was held back is no longer so.
            self._held.pop(subject, None)
            if news is None or self._told.get(subject) == news.state:
                return
            item = new_item("", news, self._settings, self._now()) if fresh else None
            if item is None:
                self._remember(news)
                return
            self._held[subject] = item
            self._wake(self._clock() + COLLECT_SECONDS)

    def due(self) -> Optional[float]:
        """When `tick` has something to do, on the monotonic clock."""
        with self._lock:
            return self._due

    def tick(self) -> None:
        """Dispatch what is due. Reads Namespaces; raises nothing."""
        with self._lock:
            if self._due is None or self._clock() < self._due:
                return
            self._due = None
            now = self._now()
            ready = [
                item
                for item in self._held.values()
                if item.not_before is None or item.not_before <= now
            ]
        items = self._addressed(ready)
        sent = self._send(decide(items, self._recent, self._settings, now), now)
        with self._lock:
            self._schedule(now, failed=not sent)

    def _addressed(self, ready: List[Item]) -> List[Item]:
        """The items with their channels; those without one are dropped, those that cannot be known
        now stay.
        """
        found: List[Item] = []
        for item in ready:
            try:
                channel = self._channels.of(item.news.namespace)
            except Error as error:
                self._log.warning("announce.channel_unknown: %s", error)
                continue
            if channel:
                found.append(replace(item, channel=channel))
            else:
                with self._lock:
                    self._forget(item)
        return found

    def _send(self, decided: List[Decided], now: dt.datetime) -> bool:
        """Dispatch the messages; False where the message bus does not take one, and then those that
        it did not take stay.
        """
        batches = [decided] if self._through == SLACK else [[one] for one in decided]
        for batch in batches:
            messages = [message for message, _items in batch]
            try:
                for payload in payloads(messages, self._through, self._settings.route):
                    self._dispatch(TRIGGER, payload)
            except Exception as error:  # noqa: BLE001 (any message bus: the next tick repeats it)
                self._log.warning("announce.not_dispatched: %s", type(error).__name__)
                return False
            self._note_sent(batch, now)
        return True

    def _note_sent(self, batch: List[Decided], now: dt.datetime) -> None:
        with self._lock:
            for message, items in batch:
                times = [*self._recent.get(message.channel, ()), now]
                self._recent[message.channel] = times[-RECENT_MESSAGES:]
                for item in items:
                    self._remember(item.news)
                    self._forget(item)

    def _schedule(self, now: dt.datetime, *, failed: bool) -> None:
        """When to look next at what is still held back."""
        window = dt.timedelta(seconds=self._settings.window_seconds)
        for item in self._held.values():
            at = item.at + window if item.not_before is None else max(item.not_before, now)
            seconds = RETRY_SECONDS if failed or at <= now else (at - now).total_seconds()
            self._wake(self._clock() + seconds)

    def _wake(self, at: float) -> None:
        self._due = at if self._due is None else min(self._due, at)

    def _remember(self, news: News) -> None:
        self._told[news.subject] = news.state
        self._told.move_to_end(news.subject)
        while len(self._told) > TOLD_SUBJECTS:
            self._told.popitem(last=False)

    def _forget(self, item: Item) -> None:
        """Unless something newer is held back about its subject."""
        held = self._held.get(item.news.subject)
        if held is not None and held.news == item.news:
            del self._held[item.news.subject]


class _Channels:
    """The channels of namespaces, each looked up once a minute."""

    def __init__(
        self, settings: AnnounceSettings, namespace: ReadNamespace, clock: Callable[[], float]
    ) -> None:
        self._settings, self._namespace, self._clock = settings, namespace, clock
        self._known: Dict[str, Tuple[float, str]] = {}

    def of(self, namespace: str) -> str:
        """The channel, empty for none. Raises TemporaryError where Kubernetes does not answer."""
        until, channel = self._known.get(namespace, (0.0, ""))
        if self._clock() >= until:
            channel = find_channel(namespace, self._settings, self._namespace)
            self._known[namespace] = (self._clock() + NAMESPACE_SECONDS, channel)
        return channel


def find_channel(namespace: str, settings: AnnounceSettings, read: ReadNamespace) -> str:
    """The channel of a namespace, empty for none; its object is read only where it may name one."""
    obj: Optional[Object] = None
    if namespace and settings.by_namespace:
        try:
            obj = read(namespace)
        except (NotFoundError, PermanentError):
            obj = None  # gone, or not ours to read: the configuration decides
    return channel_of(namespace, obj, settings)
