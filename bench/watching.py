"""Watching: memory per object at 100,000 objects, and how fast the first list is worked through.

The bars (design.md, section 8): 1 KB per object held, and an initial list at 20 times kopf's 1,400
objects per CPU second. Pages are made beforehand and handed over as the bytes a server would send;
what is measured is parsing, judging, remembering, making the payload and a dispatch that does
nothing.
"""

from __future__ import annotations

import gc
import json
import time
import tracemalloc
import uuid
from collections.abc import Iterator
from typing import Any

from kubestorm.clients.kube import decode_page
from kubestorm.sources.watching.api import WatchKey
from kubestorm.sources.watching.settings import WatchSettings
from kubestorm.sources.watching.watch import Watch
from kubestorm.sources.watching.watch_state import WatchState

from bench.harness import Figure, at_least, at_most, cpu_seconds, say

OBJECTS = 100_000
WEIGHED = 20_000  # following each allocation makes everything many times slower
PAGE = 500
KEY = WatchKey("kubestorm.io", "v1alpha1", "databases")
KOPF_LIST_PER_CPU_SECOND = 1400
LIST_BAR = 20 * KOPF_LIST_PER_CPU_SECOND
BYTES_BAR = 1024


class _Store(dict[str, str]):
    def get_value(self, name: str) -> str | None:
        return self.get(name)

    def set_value(self, name: str, value: str) -> bool:
        self[name] = value
        return True

    def delete_value(self, name: str) -> bool:
        return self.pop(name, None) is not None


class _Stream:
    """A watch that has nothing to say."""

    def batches(self) -> Iterator[list[bytes]]:
        return iter(())

    def close(self) -> None:
        """Nothing is open."""


class _Api:
    """Serves the prepared pages; parsing is the watch's cost, so it happens here, at the time of
    the call.
    """

    def __init__(self, pages: list[bytes]) -> None:
        self._pages = pages

    def list_page(self, continue_token: str) -> dict[str, Any]:
        page: dict[str, Any] = decode_page(self._pages[int(continue_token or 0)])
        return page

    def open_stream(self, resource_version: str) -> _Stream:
        return _Stream()

    def is_at_work(self, uid: str) -> bool:
        return False

    def get(self, namespace: str, name: str) -> dict[str, Any]:
        raise NotImplementedError("nothing is looked at again here")


def _database(number: int) -> dict[str, Any]:
    """About 1 KB of JSON, shaped like a Database with labels, managedFields and conditions."""
    return {
        "apiVersion": "kubestorm.io/v1alpha1",
        "kind": "Database",
        "metadata": {
            "name": f"orders-{number}",
            "namespace": f"team-{number % 500}",
            "uid": str(uuid.UUID(int=number)),
            "resourceVersion": str(number),
            "generation": 2,
            "creationTimestamp": "2024-01-01T00:00:00Z",
            "labels": {"team": f"team-{number % 500}", "app.kubernetes.io/part-of": "orders"},
            "annotations": {"owner": f"person-{number}@example.org"},
            "managedFields": [
                {
                    "manager": "kubectl",
                    "operation": "Update",
                    "fieldsV1": {"f:spec": {"f:size": {}}},
                }
            ],
        },
        "spec": {
            "engine": "postgres",
            "engineVersion": "15.4",
            "size": "small",
            "storage": {"sizeGiB": 20 + number % 7, "type": "gp3"},
            "backups": {"retentionDays": 7, "window": "03:00-04:00"},
            "multiAZ": bool(number % 2),
            "deletionPolicy": "Retain",
        },
        "status": {
            "observedGeneration": 2,
            "conditions": [
                {
                    "type": name,
                    "status": "True",
                    "reason": "Done",
                    "lastTransitionTime": "2024-01-01T00:00:00Z",
                }
                for name in ("SpecValid", "InstanceAvailable", "Ready")
            ],
        },
    }


def _pages(objects: int) -> list[bytes]:
    pages = []
    for start in range(0, objects, PAGE):
        end = start + PAGE
        metadata = {"resourceVersion": "1", "continue": str(end // PAGE) if end < objects else ""}
        items = [_database(number) for number in range(start, min(end, objects))]
        pages.append(
            json.dumps({"kind": "DatabaseList", "metadata": metadata, "items": items}).encode()
        )
    return pages


def _watch(pages: list[bytes], store: _Store) -> Watch:
    state = WatchState(store, "watch.bench", {}, time.monotonic)
    settings = WatchSettings(cluster="bench")
    return Watch(
        KEY,
        _Api(pages),
        state,
        lambda payload: None,
        settings,
        clock=time.monotonic,
        random=lambda: 0.5,
    )


def _list_rate(pages: list[bytes], store: _Store) -> float:
    watch = _watch(pages, store)
    gc.collect()
    spent = cpu_seconds(watch.step)
    watch.record()
    return OBJECTS / spent


def measure() -> list[Figure]:
    pages = _pages(OBJECTS)
    store = _Store()
    first = _list_rate(pages, store)
    head = json.loads(store["watch.bench.head"])
    store["watch.bench.head"] = json.dumps({**head, "resource_version": ""})
    again = _list_rate(pages, store)
    some = _pages(WEIGHED)
    gc.collect()
    tracemalloc.start()
    watch = _watch(some, _Store())
    watch.step()
    gc.collect()
    held = tracemalloc.get_traced_memory()[0] / WEIGHED
    tracemalloc.stop()
    bare = OBJECTS / cpu_seconds(lambda: [json.loads(page) for page in pages])
    return [
        at_least("100,000 objects, initial list", first, "objects per CPU second", LIST_BAR),
        Figure("list after a restart", again, "objects per CPU second"),
        Figure("ratio to json.loads of the pages and nothing else", first / bare, ""),
        at_most(f"held in the sensor, of {WEIGHED:,} objects", held, "bytes per object", BYTES_BAR),
        Figure("stored", sum(map(len, store.values())) / OBJECTS, "bytes per object"),
    ]


if __name__ == "__main__":
    say(measure)
