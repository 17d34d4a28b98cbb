"""The objects, their one global version counter, and the log of changes that watches read and old
lists are rebuilt from.

The store knows nothing of kinds, HTTP or clients. It is used from one thread, the server's event
loop, so each call is atomic. Objects are never changed in place once they are stored: a change is a
new dict. That lets events share them and their JSON.
"""

from __future__ import annotations

import bisect
import itertools
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgspec

Json = dict[str, Any]
BucketKey = tuple[str, str]

# As many changes a resource as a watcher may lag behind before it is told 410 and lists anew. The
# real server keeps about five minutes; a count keeps memory bounded and tests exact.
DEFAULT_WINDOW = 20_000

_encode = msgspec.json.Encoder().encode


class ExpiredVersionError(Exception):
    """The version asked for is older than the window that is kept."""

    def __init__(self, asked: int, oldest: int) -> None:
        super().__init__(f"too old resource version: {asked} ({oldest})")


class Entry:
    """One stored state of an object, and its JSON, made when first needed."""

    __slots__ = ("_json", "obj", "version")

    def __init__(self, obj: Json, version: int) -> None:
        self.obj = obj
        self.version = version
        self._json: bytes | None = None

    @property
    def json(self) -> bytes:
        if self._json is None:
            self._json = _encode(self.obj)
        return self._json


class Event(NamedTuple):
    """A change: `entry` is the state after it (for DELETED the last one, at the deletion's
    version).
    """

    kind: str  # ADDED, MODIFIED or DELETED
    version: int
    key: str
    entry: Entry
    previous: Entry | None


Listener = Callable[[Event], None]


class Bucket:
    """All objects of one resource, by key: `namespace/name`, or `name` when it has no namespace."""

    def __init__(self, key: BucketKey) -> None:
        self.key = key
        self.entries: dict[str, Entry] = {}
        self.order: list[str] = []
        self.log: deque[Event] = deque()
        self.oldest = 0
        self.listeners: set[Listener] = set()

    def keys(self, prefix: str, after: str = "") -> Iterator[str]:
        """The keys below a prefix, in order, those after `after` alone."""
        begin = bisect.bisect_left(self.order, prefix)
        if after:
            begin = max(begin, bisect.bisect_right(self.order, after))
        end = bisect.bisect_left(self.order, prefix + "\U0010ffff") if prefix else len(self.order)
        return itertools.islice(self.order, begin, end)


class Store:
    """Buckets of objects under one version counter."""

    def __init__(self, window: int = DEFAULT_WINDOW) -> None:
        self.version = 1
        self.window = window
        self.buckets: dict[BucketKey, Bucket] = {}
        self.listeners: list[Callable[[BucketKey, Event], None]] = []

    def bucket(self, key: BucketKey) -> Bucket:
        found = self.buckets.get(key)
        if found is None:
            found = self.buckets[key] = Bucket(key)
        return found

    def get(self, bucket: BucketKey, key: str) -> Entry | None:
        return self.bucket(bucket).entries.get(key)

    def put(self, bucket_key: BucketKey, key: str, obj: Json) -> Entry:
        """Store a new state; writes the new version into `obj`'s metadata."""
        bucket = self.bucket(bucket_key)
        previous = bucket.entries.get(key)
        entry = self._stamp(obj)
        bucket.entries[key] = entry
        if previous is None:
            bisect.insort(bucket.order, key)
        self._record(
            bucket, Event("MODIFIED" if previous else "ADDED", entry.version, key, entry, previous)
        )
        return entry

    def remove(self, bucket_key: BucketKey, key: str, last: Json | None = None) -> Entry:
        """Take an object away; `last` is its final state when the removal changes it as well."""
        bucket = self.bucket(bucket_key)
        previous = bucket.entries.pop(key)
        del bucket.order[bisect.bisect_left(bucket.order, key)]
        last = last or previous.obj
        entry = self._stamp({**last, "metadata": dict(last["metadata"])})
        self._record(bucket, Event("DELETED", entry.version, key, entry, previous))
        return entry

    def _stamp(self, obj: Json) -> Entry:
        self.version += 1
        obj["metadata"]["resourceVersion"] = str(self.version)
        return Entry(obj, self.version)

    def _record(self, bucket: Bucket, event: Event) -> None:
        bucket.log.append(event)
        while len(bucket.log) > self.window:
            bucket.oldest = bucket.log.popleft().version
        for listener in tuple(bucket.listeners):
            listener(event)
        for observe in self.listeners:
            observe(bucket.key, event)

    def compact(self) -> None:
        """Forget every past change: watches and continued lists from before now are answered 410."""
        for bucket in self.buckets.values():
            bucket.log.clear()
            bucket.oldest = self.version

    def since(self, bucket_key: BucketKey, version: int) -> list[Event]:
        """The changes after `version`, oldest first. Raises ExpiredVersionError."""
        bucket = self.bucket(bucket_key)
        self._check(bucket, version)
        newer = list(
            itertools.takewhile(lambda event: event.version > version, reversed(bucket.log))
        )
        newer.reverse()
        return newer

    def snapshot(
        self, bucket_key: BucketKey, prefix: str = "", after: str = "", at: int | None = None
    ) -> Iterator[Entry]:
        """The entries below a prefix in key order, as they were at version `at` (now, when None)."""
        bucket = self.bucket(bucket_key)
        if at is None or at >= self.version:
            return (bucket.entries[key] for key in list(bucket.keys(prefix, after)))
        return iter(self._rewound(bucket, prefix, after, at))

    def _rewound(self, bucket: Bucket, prefix: str, after: str, at: int) -> list[Entry]:
        self._check(bucket, at)
        then: dict[str, Entry | None] = {}
        for event in reversed(bucket.log):
            if event.version <= at:
                break
            if event.key.startswith(prefix) and event.key > after:
                then[event.key] = event.previous
        keys = set(bucket.keys(prefix, after)) | then.keys()
        states = ((key, then[key] if key in then else bucket.entries[key]) for key in sorted(keys))
        return [entry for _key, entry in states if entry is not None]

    def _check(self, bucket: Bucket, version: int) -> None:
        if version < bucket.oldest:
            raise ExpiredVersionError(version, bucket.oldest)
