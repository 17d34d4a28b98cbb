"""A workflow's state as the steps that led to it, written one behind the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from stormcell.store.executions import apply_changes, step_op
from stormcell.store.store import Store, open_store

_KEYS = st.sampled_from(["run", "s/0", "s/1", "c/0", "k/a"])
_CHANGES = st.dictionaries(
    _KEYS, st.none() | st.integers() | st.dictionaries(st.text(max_size=3), st.integers())
)


def _written(store: Store, execution_id: str, steps: list[dict[str, Any]]) -> None:
    store.writer.write_now(
        [step_op(store.sealer, execution_id, number, step) for number, step in enumerate(steps)]
    )


@settings(max_examples=30)
@given(steps=st.lists(_CHANGES, max_size=20))
def test_a_state_is_read_as_its_steps_left_it(
    tmp_path_factory: Any, steps: list[dict[str, Any]]
) -> None:
    """Whatever changed, came and went: the state that is read is the state that was."""
    store = open_store(tmp_path_factory.mktemp("steps"))
    expected: dict[str, Any] = {}
    for step in steps:
        apply_changes(expected, step)
    _written(store, "one", steps)
    _written(store, "other", [{"run": "another's"}])
    assert store.executions.state("one") == (expected, len(steps))
    store.close()


def test_a_state_of_an_earlier_version_goes_on(tmp_path: Path) -> None:
    """Rows of a key each, as they were written before, are the ground that later steps stand on."""
    store = open_store(tmp_path / "data")
    old = {"run": {"status": "running"}, "s/0": 1, "k/a": 2}
    insert = "INSERT INTO workflow_state VALUES (?, ?, ?)"
    encoded = {"run": b'{"status":"running"}', "s/0": b"1", "k/a": b"2"}
    store.writer.write_now(
        [(insert, ("one", key, store.sealer.encrypt(value))) for key, value in encoded.items()]
    )
    assert store.executions.state("one") == (old, 0)
    _written(store, "one", [{"k/a": None, "s/1": 3}])
    assert store.executions.state("one") == ({"run": {"status": "running"}, "s/0": 1, "s/1": 3}, 1)
    store.close()


def test_a_state_shows_nothing_on_disk(tmp_path: Path) -> None:
    """A workflow's inputs may be secret: what is on disk is encrypted whole."""
    store = open_store(tmp_path / "data")
    _written(store, "one", [{"c/0": {"password": "swordfish-4711"}}])
    store.close()
    assert not any(b"swordfish-4711" in file.read_bytes() for file in (tmp_path / "data").iterdir())
