"""The list-watch loop of the Kubernetes API, as in an informer; subclasses handle the objects.

`step` is one round (list if need be, then watch until the stream ends) and returns how long to wait
before the next; `run` repeats it until `stop`. Nothing here knows HTTP, threads' creation or
StackStorm.
"""

from __future__ import annotations

import json
import logging
import threading
from typing import Any, Callable, Optional, Set

from kubestorm.clients import kube_errors
from kubestorm.clients.kube import decode
from kubestorm.core import trouble
from kubestorm.core.errors import Error, TemporaryError
from kubestorm.sources.watching import change_detection
from kubestorm.sources.watching.api import Object, Stream, WatchApi, WatchKey
from kubestorm.sources.watching.backoff import decide_retry
from kubestorm.sources.watching.settings import WatchSettings


class ListWatch:
    """The loop. A subclass handles objects (`_on_object`, `_on_delete`) and the end of a list
    (`_on_list`).
    """

    def __init__(
        self,
        key: WatchKey,
        api: WatchApi,
        settings: WatchSettings,
        *,
        clock: Callable[[], float],
        random: Callable[[], float],
        log: Optional[logging.Logger] = None,
    ) -> None:
        self.key = key
        self.resource_version = ""
        """Everything up to this version has been handled; empty: list first."""
        self._api, self._settings = api, settings
        self._clock, self._random = clock, random
        self._log = log or logging.getLogger(__name__)
        self._stopping = threading.Event()
        self._stream: Optional[Stream] = None
        self._loaded = False
        self._failures = 0
        self._trouble = ""
        self._progressed = False

    # For subclasses.

    def _load(self) -> None:
        """Called once before the first list."""

    def _on_object(self, obj: Object) -> str:
        """An object as it is now, from a list or an event alike; its key."""
        raise NotImplementedError

    def _on_delete(self, obj: Object) -> None:
        """An object was deleted; `obj` is its last state."""
        raise NotImplementedError

    def _on_list(self, seen: Set[str]) -> None:
        """A list is complete; `seen` are the keys of all objects that there are."""
        raise NotImplementedError

    def _on_page(self, page: Object) -> None:
        """A page of a list has come."""

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
                self._loaded = True
            if not self.resource_version:
                self._list()
            self._watch()
        except Exception as error:  # noqa: BLE001 (the outermost loop: the watch must go on)
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

    def _list(self) -> None:
        seen: Set[str] = set()
        token = ""
        while not self._stopping.is_set():
            page = self._api.list_page(token)
            self._on_page(page)
            items = page.get("items")
            for obj in items if isinstance(items, list) else []:
                if change_detection.is_object(obj):
                    seen.add(self._on_object(obj))
            metadata = page.get("metadata") or {}
            token = metadata.get("continue") or ""
            if not token:
                self._on_list(seen)
                self.resource_version = str(metadata.get("resourceVersion") or "")
                self._log.info(
                    "watch.listed: %s, %s objects",
                    self.key,
                    len(seen),
                    extra={"objects": len(seen)},
                )
                return

    def _watch(self) -> None:
        opened = self._clock()
        stream = self._stream = self._api.open_stream(self.resource_version)
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
        if kind in ("ADDED", "MODIFIED", "DELETED") and change_detection.is_object(obj):
            if kind == "DELETED":
                self._on_delete(obj)
            else:
                self._on_object(obj)
        version = str(obj["metadata"].get("resourceVersion") or "")
        self.resource_version = version or self.resource_version
        self._progressed = True

    def _parse(self, line: bytes) -> Object:
        try:
            event = decode(line)
        except ValueError:
            event = None
        if not isinstance(event, dict):
            # What was lost with the line is unknown: list again.
            self.resource_version = ""
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

    def _failed(self, error: Exception) -> float:
        if self._stopping.is_set():
            return 0.0
        if self._progressed:
            self._failures = 0
        self._failures += 1
        decision = decide_retry(error, self._failures, self._settings.watch, self._random)
        if decision.relist:
            self.resource_version = ""
        if decision.is_logged and decision.cause != "absent":
            trouble.count(trouble.WATCHES_FAILED)
        if decision.is_logged and decision.cause != self._trouble:
            self._trouble = decision.cause
            self._log_trouble(decision.cause, error)
        return decision.delay_seconds

    def _log_trouble(self, cause: str, error: Exception) -> None:
        extra = {"watch": str(self.key), "cluster": self._settings.cluster}
        if cause == "absent":
            self._log.warning(
                "watch.absent: %s is not served yet; waiting for its definition",
                self.key,
                extra=extra,
            )
        elif isinstance(error, Error):
            self._log.warning("watch.%s: %s", cause, error, extra=extra)
        else:
            self._log.error("watch.failed: %s", self.key, exc_info=error, extra=extra)

    def _recovered(self) -> None:
        if self._trouble:
            self._log.info("watch.recovered: %s after %s", self.key, self._trouble)
            self._trouble = ""
