"""What a watch knows survives its process, in few values, and damage to it is noticed."""

from __future__ import annotations

from typing import Dict, Optional

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kubestorm.sources.watching.fingerprint import Fingerprint
from kubestorm.sources.watching.object_record import pack
from kubestorm.sources.watching.watch_state import MAX_SHARDS, WatchState


class Store(Dict[str, str]):
    """A datastore in memory; `fails` makes writing an error, as an unreachable one does."""

    fails = False

    def get_value(self, name: str) -> Optional[str]:
        return self.get(name)

    def set_value(self, name: str, value: str) -> bool:
        if self.fails:
            raise OSError("unreachable")
        self[name] = value
        return True

    def delete_value(self, name: str) -> bool:
        return self.pop(name, None) is not None


def record(number: int) -> bytes:
    return pack(f"uid-{number}", False, False, Fingerprint(number.to_bytes(16, "big"), b""), {})


def state(store: Store) -> WatchState:
    return WatchState(store, "watch.x", {"plural": "x"}, lambda: 7.0)


def reopened(store: Store) -> WatchState:
    again = state(store)
    assert again.load() == 0
    return again


@given(
    st.lists(st.tuples(st.integers(0, 30), st.none() | st.integers(0, 99)), max_size=60),
    st.integers(1, 9),
)
@settings(max_examples=50)
def test_what_was_put_and_flushed_is_there_afterwards(
    steps: list[tuple[int, Optional[int]]], every: int
) -> None:
    """For any puts and removals, with flushes in between."""
    store = Store()
    known, model = state(store), {}
    for at, (name, value) in enumerate(steps):
        key = f"shop/{name}"
        known.put(key, None if value is None else record(value))
        if value is None:
            model.pop(key, None)
        else:
            model[key] = record(value)
        if at % every == 0:
            known.flush()
    known.flush("42", finally_=True)
    again = reopened(store)
    assert (dict(again.items()), again.resource_version, len(again)) == (model, "42", len(model))


def test_many_objects_take_at_most_256_shards_and_leave_no_others_behind() -> None:
    """The shards grow with the objects; those of a smaller count are removed."""
    store = Store()
    known = state(store)
    for number in range(60_000):
        known.put(f"shop/{number}", record(number))
        if number in (10, 1_000, 20_000):
            known.flush()
    known.flush()
    assert len([name for name in store if name != "watch.x.head"]) == MAX_SHARDS
    assert len(reopened(store)) == 60_000


def test_one_change_writes_one_shard() -> None:
    """On StackStorm each value that is written is an event: not everything, not even the head."""
    store = Store()
    known = state(store)
    for number in range(5_000):
        known.put(f"shop/{number}", record(number))
    known.flush()
    known.put("shop/7", record(1))
    assert known.flush("8") == 1
    assert known.flush("9") == 0
    assert reopened(store).flush("9") == 0


def test_how_far_it_has_read_is_written_at_the_end() -> None:
    """Alone it is not worth a write before: the next process finds what it reads again known."""
    store = Store()
    known = state(store)
    known.put("shop/1", record(1))
    known.flush("8")
    assert known.flush("9", finally_=True) == 1
    assert known.flush("9", finally_=True) == 0
    assert reopened(store).resource_version == "9"


def test_what_could_not_be_written_is_written_later() -> None:
    """An unreachable datastore loses nothing."""
    store = Store()
    known = state(store)
    known.put("shop/1", record(1))
    store.fails = True
    with pytest.raises(OSError, match="unreachable"):
        known.flush()
    store.fails = False
    assert known.changed_at() == 7.0
    known.flush()
    assert dict(reopened(store).items()) == {"shop/1": record(1)}


def test_an_empty_watch_is_remembered_as_empty() -> None:
    """Nothing is missing from it after a restart."""
    store = Store()
    known = state(store)
    known.flush("9", finally_=True)
    assert reopened(store).resource_version == "9"


@pytest.mark.parametrize(
    "damage", [None, "not json", '{"shop/1": "!"}', '{"shop/1": "AAAA"}', "[]x"]
)
def test_a_damaged_shard_means_that_everything_is_listed_again(damage: Optional[str]) -> None:
    """The version is dropped, so that objects whose records are lost are seen; nothing raises."""
    store = Store()
    known = state(store)
    known.put("shop/1", record(1))
    known.flush("9")
    if damage is None:
        del store["watch.x.1.0"]
    else:
        store["watch.x.1.0"] = damage
    again = state(store)
    assert again.load() == 1
    assert (again.resource_version, len(again)) == ("", 0)
