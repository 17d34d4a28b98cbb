"""The patch types of PATCH: JSON Patch (RFC 6902), JSON Merge Patch (RFC 7386) and Kubernetes'
strategic merge.

All are functions from (object, patch) to a new object; the arguments are left as they were.
Server-side apply is in `ownership`.
"""

from __future__ import annotations

import copy
from typing import Any

import jsonpatch

from sandbox.kubernetes.errors import ApiError, bad_request
from sandbox.kubernetes.shapes import AnyShape, ListShape

Json = dict[str, Any]

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

_DIRECTIVE = "$patch"
_RETAIN = "$retainKeys"
_ORDER = "$setElementOrder/"
_DELETE_PRIMITIVES = "$deleteFromPrimitiveList/"


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7386: objects merge, null removes, everything else replaces."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), value)
    return result


def json_patch(target: Json, operations: Any) -> Any:
    """RFC 6902; a document of another form is 400, an operation that cannot be carried out 422."""
    if not isinstance(operations, list):
        raise bad_request("error decoding patch: a JSON patch is a list of operations")
    try:
        return jsonpatch.JsonPatch(operations).apply(target)
    except jsonpatch.InvalidJsonPatch as error:
        raise bad_request(f"error decoding patch: {error}") from error
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException) as error:
        raise ApiError(
            422,
            "Invalid",
            f"the server rejected our request due to an error in our request: {error}",
            {},
        ) from error


def strategic_merge(target: Any, patch: Any, shape: AnyShape) -> Any:
    """Like a merge patch, but keyed lists merge by key, and `$patch`, `$retainKeys`,
    `$setElementOrder` are obeyed.
    """
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    directive = patch.get(_DIRECTIVE)
    if directive == "delete":
        return {}
    base = dict(target) if isinstance(target, dict) and directive != "replace" else {}
    if _RETAIN in patch:
        base = {key: value for key, value in base.items() if key in patch[_RETAIN]}
    for key, value in patch.items():
        if key.startswith("$"):
            continue
        if value is None:
            base.pop(key, None)
        elif isinstance(value, list):
            order = patch.get(_ORDER + key)
            base[key] = _merge_list(base.get(key), value, order, shape.child(key))
        elif isinstance(value, dict):
            base[key] = strategic_merge(base.get(key), value, shape.child(key))
        else:
            base[key] = value
    _list_directives(base, patch, shape)
    return base


def _list_directives(base: Json, patch: Json, shape: AnyShape) -> None:
    """Deletions from lists of plain values, and orders of lists that the patch names without
    touching their elements.
    """
    for key, value in patch.items():
        if key.startswith(_DELETE_PRIMITIVES):
            name = key.removeprefix(_DELETE_PRIMITIVES)
            base[name] = [item for item in base.get(name) or [] if item not in value]
        elif key.startswith(_ORDER):
            name = key.removeprefix(_ORDER)
            if isinstance(base.get(name), list):
                base[name] = _ordered(base[name], value, base[name], shape.child(name).as_list())


def _merge_list(old: Any, new: list[Any], order: Any, shape: AnyShape) -> list[Any]:
    how = shape.as_list()
    old = old if isinstance(old, list) else []
    if any(isinstance(item, dict) and item.get(_DIRECTIVE) == "replace" for item in new):
        return [copy.deepcopy(item) for item in new if _DIRECTIVE not in item]
    if how.kind == "set":
        merged = old + [item for item in new if item not in old]
    elif how.kind == "map":
        merged = _merge_keyed(old, new, how, shape)
    else:
        return copy.deepcopy(new)
    return _ordered(merged, new if order is None else order, old, how)


def _merge_keyed(old: list[Any], new: list[Any], how: ListShape, shape: AnyShape) -> list[Any]:
    merged = list(old)
    for item in new:
        if not isinstance(item, dict) or how.merge_key not in item:
            raise bad_request(f"map: {item} does not contain declared merge key: {how.merge_key}")
        key = item[how.merge_key]
        at = next((i for i, had in enumerate(merged) if had.get(how.merge_key) == key), None)
        if item.get(_DIRECTIVE) == "delete":
            merged = [had for had in merged if had.get(how.merge_key) != key]
        elif at is None:
            merged.append(strategic_merge({}, item, shape.item()))
        else:
            merged[at] = strategic_merge(merged[at], item, shape.item())
    return merged


def _ordered(items: list[Any], order: list[Any], old: list[Any], how: ListShape) -> list[Any]:
    """Named elements in the wanted order; the others keep their old place between them, or go
    behind.
    """

    def identity(item: Any) -> Any:
        return item.get(how.merge_key) if how.merge_key and isinstance(item, dict) else item

    wanted, before = [identity(item) for item in order], [identity(item) for item in old]
    named = sorted(
        (i for i in items if identity(i) in wanted), key=lambda item: wanted.index(identity(item))
    )
    others = [item for item in items if identity(item) not in wanted]
    result: list[Any] = []
    while named and others:
        mine, other = identity(named[0]), identity(others[0])
        known = mine in before and other in before
        result.append(
            (others if known and before.index(other) < before.index(mine) else named).pop(0)
        )
    return result + named + others
