"""Events that were dispatched already, in the sensor's datastore and bounded, so that a repetition
triggers nothing.

Kept in shards, of which the newest is written and the oldest overwritten when the ring is full. The
store writes within seconds (`datastore`): after a crash before that, a repetition triggers again.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections import OrderedDict
from typing import Dict, Iterator, Optional

from kubestorm.core.errors import TemporaryError
from kubestorm.sources.datastore import Store

SHARDS = 32
SHARD_SIZE = 128
BUSY_SECONDS = 30.0
"""How long a repetition waits for the first delivery of the same event."""


class DedupStore:
    """Keys with a value each, the last few thousand. Safe for threads."""

    def __init__(
        self, store: Store, name: str, *, shards: int = SHARDS, shard_size: int = SHARD_SIZE
    ) -> None:
        """`name` is the first part of the names in the datastore. Reads all of them: raises what
        the store raises.
        """
        self._store, self._name, self._shards, self._size = store, name, shards, shard_size
        self._values: OrderedDict[str, str] = OrderedDict()
        self._busy: Dict[str, threading.Event] = {}
        self._lock = threading.Lock()
        self._number = 0
        self._shard: Dict[str, str] = {}
        self._load()

    def get(self, key: str) -> Optional[str]:
        """The value of a key; None where it is not stored (any more)."""
        with self._lock:
            return self._values.get(key)

    def add(self, key: str, value: str) -> None:
        """Visible at once, and given to the store. Raises what that raises."""
        with self._lock:
            self._values[key] = value
            self._values.move_to_end(key)
            while len(self._values) > self._shards * self._size:
                self._values.popitem(last=False)
            if len(self._shard) >= self._size:
                self._number, self._shard = self._number + 1, {}
            self._shard[key] = value
            document = {"number": self._number, "values": self._shard}
            text = json.dumps(document, separators=(",", ":"))
            self._store.set_value(self._key(self._number), text)

    @contextlib.contextmanager
    def exclusive(self, key: str) -> Iterator[None]:
        """One thread at a time for a key, as servers send again what is answered slowly. Raises
        TemporaryError where that takes too long.
        """
        while True:
            with self._lock:
                other = self._busy.get(key)
                if other is None:
                    mine = self._busy[key] = threading.Event()
                    break
            if not other.wait(BUSY_SECONDS):
                raise TemporaryError("The same event is still being processed.")
        try:
            yield
        finally:
            with self._lock:
                del self._busy[key]
            mine.set()

    def _load(self) -> None:
        found = []
        for place in range(self._shards):
            try:
                document = json.loads(self._store.get_value(self._key(place)) or "{}")
                found.append(
                    (
                        int(document["number"]),
                        {str(k): str(v) for k, v in document["values"].items()},
                    )
                )
            except (ValueError, KeyError, TypeError, AttributeError):
                continue  # never written, or by somebody else
        for number, values in sorted(found, key=lambda each: each[0]):
            self._values.update(values)
            self._number, self._shard = number, values

    def _key(self, number: int) -> str:
        return f"{self._name}.{number % self._shards}"
