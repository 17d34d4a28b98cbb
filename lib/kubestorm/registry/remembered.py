"""Which pushes were told already, kept in the sensor's datastore and bounded, so that a repetition
triggers nothing.

Kept in shards: only the newest is written, all that was added while a write was under way goes with
the next one, and the oldest shard is overwritten when the ring is full. A write follows the
dispatch: a crash in between tells a push again, and never not at all.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from typing import Any, Dict, List, Optional, Protocol, Tuple

SHARDS = 128
SHARD_SIZE = 32


class Store(Protocol):
    """The part of StackStorm's sensor_service that is used."""

    def get_value(self, name: str) -> Any: ...

    def set_value(self, name: str, value: Any) -> Any: ...


class Remembered:
    """Keys with a value each, the last few thousand. Safe for threads."""

    def __init__(
        self, store: Store, name: str, *, shards: int = SHARDS, shard_size: int = SHARD_SIZE
    ) -> None:
        """`name` is the first part of the names in the datastore. Reads all of them: raises what
        the store raises.
        """
        self._store, self._name, self._shards, self._size = store, name, shards, shard_size
        self._values: OrderedDict[str, str] = OrderedDict()
        self._added: List[Tuple[str, str]] = []
        self._changed = threading.Condition()
        self._writing = False
        self._written = self._asked = 0
        self._number = 0
        self._shard: Dict[str, str] = {}
        self._load()

    def get(self, key: str) -> Optional[str]:
        """The value of a key; None where it is not remembered (any more)."""
        with self._changed:
            return self._values.get(key)

    def add(self, key: str, value: str) -> None:
        """Return when it is stored. Raises what the store raises; it is known until the end of this
        process then.
        """
        with self._changed:
            self._values[key] = value
            self._values.move_to_end(key)
            while len(self._values) > self._shards * self._size:
                self._values.popitem(last=False)
            self._added.append((key, value))
            self._asked += 1
            mine = self._asked
            while self._writing and self._written < mine:
                self._changed.wait()
            if self._written >= mine:
                return  # it went with another thread's
            self._writing = True
            batch, self._added, upto = self._added, [], self._asked
        try:
            self._write(batch)
        except BaseException:
            with self._changed:
                self._added = batch + self._added  # for the next thread that writes
            raise
        else:
            self._written = upto
        finally:
            with self._changed:
                self._writing = False
                self._changed.notify_all()

    def _write(self, batch: List[Tuple[str, str]]) -> None:
        for key, value in batch:
            if len(self._shard) >= self._size:
                self._save()
                self._number, self._shard = self._number + 1, {}
            self._shard[key] = value
        self._save()

    def _save(self) -> None:
        document = {"number": self._number, "values": self._shard}
        self._store.set_value(self._key(self._number), json.dumps(document, separators=(",", ":")))

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
