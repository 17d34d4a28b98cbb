"""The state of a watch, in memory and in the datastore: the objects' records and the last
resourceVersion.

The datastore holds strings under names. A watch has one `head` (the resourceVersion, the number of
shards, the paths) and at most 256 shards of records. Shards are written before the head: a crash
between the two reads a few events again, and finds most of them known. On StackStorm each write is
a trigger instance: it follows the dispatch by seconds and holds all that came meanwhile, and the
resourceVersion is written only along with something else, or at the end.
"""

from __future__ import annotations

import base64
import json
import threading
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Protocol, Set, Tuple
from zlib import crc32

from kubestorm.sources.watching.fingerprint import PathTable
from kubestorm.sources.watching.object_record import unpack

FORMAT = 1
MAX_SHARDS = 256
OBJECTS_PER_SHARD = 200


class Store(Protocol):
    """The datastore as StackStorm's sensor service offers it: strings by name, None for what is not
    there.
    """

    def get_value(self, name: str) -> Optional[str]:
        """The value of a name, or None."""

    def set_value(self, name: str, value: str) -> object:
        """Write it; returns when it is kept."""

    def delete_value(self, name: str) -> object:
        """Take it away; no error when it is not there."""


class _Snapshot(NamedTuple):
    shards: Dict[str, str]
    head: str
    dirty: Set[int]
    stale: List[str]


class WatchState:
    """The records of one watch. Safe to use from the watching thread and the one that flushes."""

    def __init__(
        self, store: Store, prefix: str, watch: Dict[str, Any], clock: Callable[[], float]
    ) -> None:
        self._store, self._prefix, self._watch, self._clock = store, prefix, watch, clock
        self._lock = threading.Lock()
        self._flushing = threading.Lock()
        self._shards: List[Dict[str, bytes]] = [{}]
        self._count = 0
        # An empty first shard is written too, so that a missing one is known to be lost.
        self._dirty: Set[int] = {0}
        self._stale: List[str] = []
        self._changed_at: Optional[float] = None
        self._head: Dict[str, Any] = {}
        """The head as it was last written, without the resourceVersion."""
        self.resource_version = ""
        """The resourceVersion when the head was last written or read."""
        self.kind = ""
        self.paths = PathTable()

    def __len__(self) -> int:
        return self._count

    def load(self) -> int:
        """Read what an earlier process left; returns how many records were unreadable and are left
        out.

        Errors of the datastore pass through: to go on without it would dispatch everything again.
        """
        text = self._store.get_value(f"{self._prefix}.head")
        if not text:
            return 0
        try:
            head = json.loads(text)
            if head["format"] != FORMAT:
                return 0
            count = min(max(int(head["shards"]), 1), MAX_SHARDS)
        except (ValueError, KeyError, TypeError):
            return 1
        bad = 0
        shards: List[Dict[str, bytes]] = []
        for index in range(count):
            shard, unreadable = _read_shard(self._store.get_value(self._shard_name(count, index)))
            shards.append(shard)
            bad += unreadable
        with self._lock:
            self._shards, self._dirty = shards, set()
            self._count = sum(map(len, shards))
            # A record lost is an object that must be listed again to be known.
            self.resource_version = "" if bad else str(head.get("resource_version") or "")
            self.kind = str(head.get("kind") or "")
            self.paths = PathTable(
                path for path in head.get("paths") or [] if isinstance(path, str)
            )
            self._head = {} if bad else self._shape()
        return bad

    def get(self, key: str) -> Optional[bytes]:
        """The record of `namespace/name`, or None."""
        return self._shards[self._index(key)].get(key)

    def put(self, key: str, record: Optional[bytes]) -> None:
        """Remember an object, or forget it (None); call after its events were dispatched."""
        with self._lock:
            index = self._index(key)
            shard = self._shards[index]
            if record is None:
                if shard.pop(key, None) is None:
                    return
                self._count -= 1
            else:
                before = shard.get(key)
                if before == record:
                    return
                if before is None:
                    self._count += 1
                shard[key] = record
            self._dirty.add(index)
            self._touch()
            if (
                self._count > len(self._shards) * OBJECTS_PER_SHARD
                and len(self._shards) < MAX_SHARDS
            ):
                self._grow()

    def items(self) -> Iterator[Tuple[str, bytes]]:
        """Every record, of a moment."""
        with self._lock:
            shards = [list(shard.items()) for shard in self._shards]
        for shard in shards:
            yield from shard

    def changed_at(self) -> Optional[float]:
        """The clock at the oldest change that is not yet written, or None."""
        return self._changed_at

    def flush(self, resource_version: str = "", *, finally_: bool = False) -> int:
        """Write what changed, and `resource_version`, up to which everything was put; returns the
        number of values written. On an error everything stays to be written.

        That only the version has changed is written with `finally_` alone: without it the next
        process reads some events again, and finds them known.
        """
        with self._flushing:
            snapshot = self._snapshot(resource_version, finally_=finally_)
            if snapshot is None:
                return 0
            try:
                for name, text in snapshot.shards.items():
                    self._store.set_value(name, text)
                if snapshot.head:
                    self._store.set_value(f"{self._prefix}.head", snapshot.head)
            except BaseException:
                with self._lock:
                    self._dirty |= {index for index in snapshot.dirty if index < len(self._shards)}
                    self._stale += snapshot.stale
                    self._head = {}
                    self._touch()
                raise
            # Left behind by a failure here, they are never read again: the head names other shards.
            for name in snapshot.stale:
                self._store.delete_value(name)
            return len(snapshot.shards) + bool(snapshot.head)

    def _snapshot(self, resource_version: str, *, finally_: bool) -> Optional[_Snapshot]:
        with self._lock:
            moved = finally_ and resource_version != self.resource_version
            if self._changed_at is None and not moved:
                return None
            count = len(self._shards)
            shards = {
                self._shard_name(count, index): _write_shard(self._shards[index])
                for index in self._dirty
            }
            head, text = self._shape(), ""
            if moved or head != self._head:
                self._head, self.resource_version = head, resource_version
                text = json.dumps(
                    {**head, "resource_version": resource_version}, separators=(",", ":")
                )
            taken = _Snapshot(shards, text, self._dirty, self._stale)
            self._dirty, self._stale, self._changed_at = set(), [], None
            return taken

    def _shape(self) -> Dict[str, Any]:
        return {
            "format": FORMAT,
            "watch": self._watch,
            "kind": self.kind,
            "shards": len(self._shards),
            "paths": self.paths.paths(),
        }

    def _grow(self) -> None:
        old = self._shards
        self._stale += [self._shard_name(len(old), index) for index in range(len(old))]
        wanted = len(old)
        while wanted < MAX_SHARDS and self._count * 2 > wanted * OBJECTS_PER_SHARD:
            wanted *= 2
        self._shards = [{} for _ in range(wanted)]
        for shard in old:
            for key, record in shard.items():
                self._shards[self._index(key)][key] = record
        self._dirty = set(range(wanted))

    def _index(self, key: str) -> int:
        return crc32(key.encode("utf-8", "surrogatepass")) % len(self._shards)

    def _shard_name(self, count: int, index: int) -> str:
        return f"{self._prefix}.{count}.{index}"

    def _touch(self) -> None:
        if self._changed_at is None:
            self._changed_at = self._clock()


def _write_shard(shard: Dict[str, bytes]) -> str:
    return json.dumps(
        {key: base64.b64encode(record).decode("ascii") for key, record in shard.items()},
        separators=(",", ":"),
    )


def _read_shard(text: Optional[str]) -> Tuple[Dict[str, bytes], int]:
    if not text:
        # A shard is written before the head that counts it: a missing one has been removed by
        # somebody.
        return {}, 1
    shard: Dict[str, bytes] = {}
    bad = 0
    try:
        rows: Dict[str, Any] = dict(json.loads(text))
    except (ValueError, TypeError):
        return {}, 1
    for key, value in rows.items():
        try:
            record = base64.b64decode(value, validate=True)
            unpack(record)
        except (ValueError, TypeError):
            bad += 1
            continue
        shard[key] = record
    return shard, bad
