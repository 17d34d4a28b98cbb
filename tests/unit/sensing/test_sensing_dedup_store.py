"""What was told already, in a bounded number of the datastore's values."""

from __future__ import annotations

import pytest
from kubestorm.sources.dedup_store import DedupStore


class Datastore:
    """StackStorm's datastore as a sensor sees it."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    def get_value(self, name: str) -> str | None:
        return self.values.get(name)

    def set_value(self, name: str, value: str) -> None:
        self.values[name] = value


def test_what_was_remembered_is_there_after_a_restart():
    """In any number of shards, the newest value of a key counts."""
    store = Datastore()
    first = DedupStore(store, "pushes", shards=4, shard_size=3)
    for number in range(7):
        first.add(f"k{number}", "a")
    first.add("k0", "b")
    again = DedupStore(store, "pushes", shards=4, shard_size=3)
    assert [again.get(f"k{number}") for number in range(8)] == ["b", *["a"] * 6, None]
    again.add("k8", "c")
    assert DedupStore(store, "pushes", shards=4, shard_size=3).get("k8") == "c"


def test_memory_is_bounded_and_forgets_the_oldest():
    """The datastore holds a fixed number of values however many pushes there were."""
    store = Datastore()
    found = DedupStore(store, "pushes", shards=4, shard_size=5)
    for number in range(1000):
        found.add(str(number), "x")
    assert len(store.values) == 4
    assert (found.get("999"), found.get("985"), found.get("900")) == ("x", "x", None)
    again = DedupStore(store, "pushes", shards=4, shard_size=5)
    assert (again.get("999"), again.get("985"), again.get("900")) == ("x", "x", None)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"number": "x", "values": {}}', '{"number": 1}'])
def test_a_damaged_shard_is_passed_over(text):
    """What others wrote there costs what it held, and nothing more."""
    store = Datastore()
    DedupStore(store, "pushes").add("a", "b")
    store.values["pushes.1"] = text
    assert DedupStore(store, "pushes").get("a") == "b"
