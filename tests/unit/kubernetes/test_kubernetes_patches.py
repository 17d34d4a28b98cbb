"""Patches, selectors and ownership as functions: tables from the RFCs and Kubernetes' documents,
and properties.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.kubernetes import jsonpaths, ownership, patches, resources, schema
from sandbox.kubernetes.errors import ApiError
from sandbox.kubernetes.selectors import label_selector
from sandbox.kubernetes.shapes import Shape

Json = dict[str, Any]

keys = st.sampled_from("abcd")
values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text("xyz", max_size=2),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(keys, below, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(keys, values, max_size=4)


@pytest.mark.parametrize(
    "target, patch, expected",
    [
        pytest.param({"a": "b"}, {"a": "c"}, {"a": "c"}, id="replace"),
        pytest.param({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}, id="add"),
        pytest.param({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}, id="remove"),
        pytest.param({"a": ["b"]}, {"a": "c"}, {"a": "c"}, id="list by word"),
        pytest.param(
            {"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}, id="nested"
        ),
        pytest.param({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}, id="lists are replaced"),
        pytest.param(
            {"a": "foo"}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}, id="nulls in new objects"
        ),
    ],
)
def test_merge_patches_of_rfc_7386(target: Json, patch: Json, expected: Json) -> None:
    """The examples of the RFC's appendix."""
    assert patches.merge_patch(target, patch) == expected


@given(objects, objects)
def test_a_merge_patch_is_idempotent_and_leaves_its_arguments(target: Json, patch: Json) -> None:
    """A second time changes nothing, and neither argument is touched."""
    before = copy.deepcopy((target, patch))
    once = patches.merge_patch(target, patch)
    assert patches.merge_patch(once, patch) == once
    assert (target, patch) == before


def containers(*names: str) -> Json:
    return {"spec": {"containers": [{"name": name, "image": f"{name}:1"} for name in names]}}


@pytest.mark.parametrize(
    "patch, names",
    [
        pytest.param(
            {"containers": [{"name": "b", "image": "b:1"}]}, ["a", "b", "c"], id="by name"
        ),
        pytest.param(
            {"containers": [{"name": "b", "$patch": "delete"}]}, ["a", "c"], id="delete one"
        ),
        pytest.param(
            {"containers": [{"$patch": "replace"}, {"name": "d"}]}, ["d"], id="replace all"
        ),
        pytest.param(
            {"$setElementOrder/containers": [{"name": "c"}, {"name": "a"}]},
            ["b", "c", "a"],
            id="order",
        ),
    ],
)
def test_strategic_merge_of_keyed_lists(patch: Json, names: list[str]) -> None:
    """Elements are found by their key, and directives obeyed."""
    merged = patches.strategic_merge(containers("a", "b", "c"), {"spec": patch}, Shape())
    assert [container["name"] for container in merged["spec"]["containers"]] == names


def test_strategic_merge_retains_named_keys() -> None:
    """`$retainKeys` drops what it does not name: how a Deployment's strategy changes its type."""
    old = {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}
    patch = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}
    assert patches.strategic_merge(old, patch, Shape()) == {
        "spec": {"strategy": {"type": "Recreate"}}
    }


@pytest.mark.parametrize(
    "text, labels, expected",
    [
        pytest.param("a=b", {"a": "b"}, True, id="equal"),
        pytest.param("a==b,c!=d", {"a": "b"}, True, id="absent is unequal"),
        pytest.param("a in (b, c)", {"a": "c"}, True, id="in"),
        pytest.param("a notin (b)", {}, True, id="absent is not in"),
        pytest.param("a", {"a": ""}, True, id="exists"),
        pytest.param("!a", {"a": "b"}, False, id="does not exist"),
        pytest.param("a>5", {"a": "6"}, True, id="greater"),
        pytest.param("a<5", {"a": "x"}, False, id="no number"),
        pytest.param("x.io/a-b=c_d.e", {"x.io/a-b": "c_d.e"}, True, id="qualified"),
    ],
)
def test_label_selectors(text: str, labels: dict[str, str], expected: bool) -> None:
    """Equality, sets, existence and numbers, as Kubernetes documents them."""
    matches = label_selector(text)
    assert matches is not None
    assert matches({"metadata": {"labels": labels}}) is expected


@pytest.mark.parametrize("text", ["a in b", "a in (b", "a b", "=", "a>x"])
def test_unreadable_selectors(text: str) -> None:
    """400, not a wrong answer."""
    with pytest.raises(ApiError) as refused:
        label_selector(text)
    assert refused.value.code == 400


@given(objects)
def test_owned_fields_survive_the_wire(spec: Json) -> None:
    """FieldsV1 and back is the same set of paths."""
    fields = ownership.fields_of({"metadata": {"labels": {"x": "y"}}, "spec": spec}, Shape())
    assert ownership.from_fields_v1(ownership.to_fields_v1(fields)) == fields


@given(objects)
def test_applying_twice_changes_nothing(spec: Json) -> None:
    """The second apply of the same fields gives the same object and the same owner."""
    manager = ownership.Manager("us", "Apply", "v1")
    wanted = {"apiVersion": "v1", "kind": "X", "metadata": {"name": "x"}, "spec": spec}
    first = ownership.apply(None, wanted, manager, Shape(), force=False)
    stored = {**first.obj, "metadata": dict(first.obj.get("metadata", {}))}
    ownership.write_ownership(stored, first.owners, None, "2026-01-01T00:00:00Z")
    second = ownership.apply(stored, wanted, manager, Shape(), force=False)
    assert (second.obj, second.owners) == (stored, first.owners)


STRUCTURE: Json = {
    "type": "object",
    "properties": {
        "a": {"type": "integer", "default": 1},
        "b": {"type": "object", "properties": {"c": {"type": "string"}}},
        "d": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    },
}


@given(objects)
def test_pruning_leaves_nothing_unknown(value: Json) -> None:
    """What is left after pruning is known to the schema, and pruning again changes nothing."""
    pruned = schema.prune(value, STRUCTURE)
    assert schema.unknown_fields(pruned, STRUCTURE) == []
    assert schema.prune(pruned, STRUCTURE) == pruned


@pytest.mark.parametrize(
    "path, expected",
    [
        pytest.param(".spec.engine", ["x"], id="name"),
        pytest.param('.status.conditions[?(@.type=="Ready")].status', ["True"], id="filter"),
        pytest.param(".metadata.labels['a.io/b']", ["c"], id="quoted"),
        pytest.param(".metadata.labels.a\\.io/b", ["c"], id="escaped"),
        pytest.param(".status.conditions[*].type", ["Synced", "Ready"], id="all"),
        pytest.param(".status.conditions[-1].type", ["Ready"], id="last"),
        pytest.param(".spec.none", [], id="absent"),
    ],
)
def test_column_paths(path: str, expected: list[Any]) -> None:
    """The JSONPath forms that printer columns use."""
    conditions = [{"type": "Synced", "status": "False"}, {"type": "Ready", "status": "True"}]
    obj = {
        "metadata": {"labels": {"a.io/b": "c"}},
        "spec": {"engine": "x"},
        "status": {"conditions": conditions},
    }
    assert jsonpaths.find(obj, path) == expected


def test_versions_are_ordered_as_kubernetes_does() -> None:
    """Stable before beta before alpha, later before earlier, other words last."""
    wanted = [
        "v10",
        "v2",
        "v1",
        "v11beta2",
        "v10beta3",
        "v3beta1",
        "v12alpha1",
        "v11alpha2",
        "foo1",
        "foo10",
    ]
    shuffled = sorted(wanted)
    assert sorted(shuffled, key=resources.version_priority) == wanted
