"""One watch: the store's changes, seen through a namespace and selectors, as lines of JSON for one
client.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from sandbox.kubernetes.selectors import Predicate
from sandbox.kubernetes.store import Bucket, Entry, Event

Json = dict[str, Any]
Render = Callable[[Entry], bytes]

# A client that is this far behind is cut off, as the real server does; it resumes from the version
# it saw last.
MAX_PENDING = 100_000


class Watch:
    """Collects lines until they are taken; `wake` is set when there is something to do."""

    def __init__(self, bucket: Bucket, prefix: str, matches: Predicate, render: Render) -> None:
        self._bucket = bucket
        self._prefix = prefix
        self._matches = matches
        self._render = render
        self._pending: deque[bytes] = deque()
        self.wake = asyncio.Event()
        self.is_over = False

    def open(self) -> None:
        """Follow the store from now on."""
        self._bucket.listeners.add(self.push)

    def close(self) -> None:
        """Stop following. Safe to repeat."""
        self._bucket.listeners.discard(self.push)

    def push(self, event: Event) -> None:
        """Take a change in, if this watch is to see it."""
        if not event.key.startswith(self._prefix):
            return
        line = self._line(event)
        if line:
            self.put(line)

    def put(self, line: bytes) -> None:
        """Queue a line."""
        self._pending.append(line)
        if len(self._pending) > MAX_PENDING:
            self.is_over = True
            self.close()
        self.wake.set()

    def take(self) -> bytes:
        """Everything queued, in order; empty when there is nothing."""
        if not self._pending:
            return b""
        data = b"".join(self._pending)
        self._pending.clear()
        return data

    def _line(self, event: Event) -> bytes | None:
        """The line for a change; leaving and entering a selection look like deletion and creation."""
        before = event.previous is not None and self._matches(event.previous.obj)
        if event.kind == "DELETED":
            return self._event("DELETED", event.entry) if before else None
        after = self._matches(event.entry.obj)
        if after:
            return self._event("MODIFIED" if before else "ADDED", event.entry)
        if before and event.previous:
            last = event.previous.obj
            metadata = {**last["metadata"], "resourceVersion": str(event.version)}
            return self._event("DELETED", Entry({**last, "metadata": metadata}, event.version))
        return None

    def added(self, entry: Entry) -> None:
        """Queue an object that is there at the beginning."""
        self.put(self._event("ADDED", entry))

    def _event(self, kind: str, entry: Entry) -> bytes:
        return b'{"type":"%b","object":%b}\n' % (kind.encode(), self._render(entry))


def line(kind: str, obj: Json) -> bytes:
    """A line that is not about one stored object: a bookmark or an error."""
    return msgspec.json.encode({"type": kind, "object": obj}) + b"\n"
