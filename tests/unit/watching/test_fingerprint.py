"""What counts as a change, and which fields are named."""

from __future__ import annotations

import copy
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubestorm.sources.watching.fingerprint import (
    LAST_APPLIED,
    MAX_FIELDS,
    PathTable,
    changed_fields,
    fingerprint,
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=5)
    ),
    max_leaves=40,
)
objects = st.fixed_dictionaries(
    {
        "metadata": st.fixed_dictionaries(
            {"name": st.just("x")},
            optional={
                "labels": st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=4),
                "annotations": st.dictionaries(
                    st.text(max_size=8), st.text(max_size=8), max_size=4
                ),
            },
        ),
        "spec": json_values,
    }
)


def database(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "kubestorm.io/v1alpha1",
        "kind": "Database",
        "metadata": {
            "name": "orders",
            "namespace": "shop",
            "uid": "u-1",
            "resourceVersion": "5",
            "generation": 1,
            "labels": {"team": "shop", "app.kubernetes.io/part-of": "orders"},
        },
        "spec": {
            "engine": "postgres",
            "size": "small",
            "storage": {"sizeGiB": 20, "type": "gp3"},
            **spec,
        },
        "status": {"phase": "Creating"},
    }


def put(obj: dict[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(obj)
    place = changed
    for step in path[:-1]:
        place = place.setdefault(step, {})
    if value is None:
        place.pop(path[-1], None)
    else:
        place[path[-1]] = value
    return changed


@pytest.mark.parametrize(
    "path,value,fields",
    [
        pytest.param(("spec", "size"), "huge", ["spec.size"], id="a value"),
        pytest.param(
            ("spec", "storage", "sizeGiB"), 40, ["spec.storage.sizeGiB"], id="a value further down"
        ),
        pytest.param(("spec", "multiAZ"), True, ["spec.multiAZ"], id="a field that was not there"),
        pytest.param(("spec", "size"), None, ["spec.size"], id="a field that is gone"),
        pytest.param(("spec", "tags"), ["a", "b"], ["spec.tags"], id="a list counts as one field"),
        pytest.param(
            ("metadata", "labels", "team"), "other", ["metadata.labels.team"], id="a label"
        ),
        pytest.param(
            ("metadata", "labels", "app.kubernetes.io/part-of"),
            "other",
            ["metadata.labels['app.kubernetes.io/part-of']"],
            id="a label whose name needs quotes",
        ),
        pytest.param(
            ("metadata", "annotations", "note"),
            "x",
            ["metadata.annotations.note"],
            id="an annotation",
        ),
        pytest.param(
            ("engine_version",),
            "5.6.23",
            ["engine_version"],
            id="a field beside metadata, without spec",
        ),
    ],
)
def test_names_the_field_that_differs(path: tuple[str, ...], value: Any, fields: list[str]) -> None:
    """A change of what is asked for has another digest and is named by its path."""
    table = PathTable()
    before, after = fingerprint(database(), table), fingerprint(put(database(), path, value), table)
    assert before.digest != after.digest
    assert changed_fields(before, after, table) == fields


@pytest.mark.parametrize(
    "path,value",
    [
        pytest.param(("status", "phase"), "Ready", id="status"),
        pytest.param(("metadata", "resourceVersion"), "6", id="resourceVersion"),
        pytest.param(("metadata", "managedFields"), [{"manager": "kubectl"}], id="managedFields"),
        pytest.param(("metadata", "generation"), 2, id="generation"),
        pytest.param(("metadata", "selfLink"), "/x", id="selfLink"),
        pytest.param(("metadata", "finalizers"), ["kubestorm.io/cleanup"], id="finalizers"),
        pytest.param(
            ("metadata", "deletionTimestamp"), "2024-01-01T00:00:00Z", id="deletionTimestamp"
        ),
        pytest.param(
            ("metadata", "annotations", LAST_APPLIED), "{}", id="kubectl's copy of what was applied"
        ),
        pytest.param(("kind",), None, id="kind, which lists of built-in kinds leave out"),
    ],
)
def test_ignores_what_the_server_and_controllers_write(path: tuple[str, ...], value: Any) -> None:
    """Status and bookkeeping have no part in the fingerprint."""
    table = PathTable()
    assert fingerprint(database(), table) == fingerprint(put(database(), path, value), table)


def test_types_of_values_are_told_apart() -> None:
    """The number 3, the text "3" and true are three values."""
    table = PathTable()
    digests = {
        fingerprint(database(size=value), table).digest
        for value in (3, "3", True, "true", None, "null", 3.5)
    }
    assert len(digests) == 7


def test_a_large_object_is_described_coarser_but_never_beyond_the_limit() -> None:
    """Beyond 24 fields a map counts as one field; a change within it still shows."""
    table = PathTable()
    wide = {f"key{number}": number for number in range(100)}
    before = fingerprint(database(parameters=wide), table)
    after = fingerprint(database(parameters={**wide, "key7": -1}), table)
    assert len(before.fields) // 8 <= MAX_FIELDS
    assert changed_fields(before, after, table) == ["spec.parameters"]


def test_a_coarser_path_stands_for_the_ones_below_it() -> None:
    """When a map outgrew its fields, it is named once and not with each field that was in it."""
    table = PathTable()
    before = fingerprint(database(parameters={"a": 1, "b": 2}), table)
    after = fingerprint(
        database(parameters={f"key{number}": number for number in range(100)}), table
    )
    assert changed_fields(before, after, table) == ["spec.parameters"]


def test_names_survive_a_restart() -> None:
    """A field removed during downtime is named from the table of paths that was kept."""
    table = PathTable()
    before = fingerprint(database(), table)
    later = PathTable(table.paths())
    after = fingerprint(put(database(), ("spec", "size"), None), later)
    assert changed_fields(before, after, later) == ["spec.size"]


@given(objects, st.randoms(use_true_random=False))
def test_key_order_does_not_count(obj: dict[str, Any], shuffler: random.Random) -> None:
    """The same content in another order, with another table, has the same digest."""

    def shuffled(value: Any) -> Any:
        if isinstance(value, dict):
            keys = list(value)
            shuffler.shuffle(keys)
            return {key: shuffled(value[key]) for key in keys}
        return [shuffled(item) for item in value] if isinstance(value, list) else value

    assert fingerprint(obj, PathTable()).digest == fingerprint(shuffled(obj), PathTable()).digest


def test_which_of_two_maps_is_taken_apart_does_not_depend_on_their_order() -> None:
    """There is room for one of them only."""
    maps = {name: {f"{name}{number}": "x" for number in range(20)} for name in ("a", "b")}
    one, other = {"spec": maps}, {"spec": {"b": maps["b"], "a": maps["a"]}}
    assert fingerprint(one, PathTable()).digest == fingerprint(other, PathTable()).digest


@given(objects, objects)
def test_fields_are_named_only_when_something_changed(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    """Equal digests name nothing; different ones name at least one path."""
    table = PathTable()
    before, after = fingerprint(one, table), fingerprint(other, table)
    assert bool(changed_fields(before, after, table)) == (before.digest != after.digest)
