"""Who owns which field: `metadata.managedFields`, kept at each write, and server-side apply on top
of it.

A set of fields is a set of paths; a path is a tuple of steps in the words of FieldsV1: `f:name`,
`k:{"name":"a"}`, `v:"x"`. Ownership is kept per manager, operation, version and subresource, as the
real server does. Coarser than the real one in one way: a keyed list's keys are read from the table
in `shapes`, not from the full schemas of the core kinds.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from sandbox.kubernetes.errors import ApiError
from sandbox.kubernetes.shapes import AnyShape, ListShape

Json = dict[str, Any]
Path = tuple[str, ...]
Fields = frozenset[Path]

_UNMANAGED = frozenset({"apiVersion", "kind"})
_UNMANAGED_METADATA = frozenset(
    {
        "name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp",
        "deletionGracePeriodSeconds", "selfLink", "managedFields", "generateName",
    }
)  # fmt: skip


class Manager(NamedTuple):
    """One owner of fields."""

    name: str
    operation: str  # Apply or Update
    api_version: str
    subresource: str = ""


Ownership = dict[Manager, Fields]


def leaves_of(obj: Json, shape: AnyShape) -> Fields:
    """The paths a manager owns by applying an object: values and elements of keyed lists, not the
    maps around them.
    """
    fields = fields_of(obj, shape)
    inner = _parents(fields)
    return frozenset(path for path in fields if path not in inner or not path[-1].startswith("f:"))


def fields_of(obj: Json, shape: AnyShape) -> Fields:
    """The paths an object sets, without those that nobody owns (name, uid, version and the like)."""
    found: set[Path] = set()
    for key, value in obj.items():
        if key in _UNMANAGED:
            continue
        if key == "metadata":
            value = {k: v for k, v in value.items() if k not in _UNMANAGED_METADATA}
            if not value:
                continue
            found.update(
                path for path in _walk(value, shape.child(key), ("f:metadata",)) if len(path) > 1
            )
        else:
            found.update(_walk(value, shape.child(key), (f"f:{key}",)))
    return frozenset(found)


def _walk(value: Any, shape: AnyShape, path: Path) -> Iterator[Path]:
    if isinstance(value, dict) and not shape.is_atomic_map():
        yield path
        for key, item in value.items():
            yield from _walk(item, shape.child(key), (*path, f"f:{key}"))
        return
    yield path
    if isinstance(value, list):
        how = shape.as_list()
        for item in value:
            step = _step(item, how)
            if step and how.kind == "map":
                yield from _walk(item, shape.item(), (*path, step))
            elif step:
                yield (*path, step)


def _step(item: Any, how: ListShape) -> str:
    if how.kind == "set":
        return "v:" + json.dumps(item, separators=(",", ":"))
    if how.kind == "map" and isinstance(item, dict):
        keys = {key: item[key] for key in sorted(how.keys) if key in item}
        if "protocol" in how.keys:
            keys.setdefault("protocol", "TCP")
        return "k:" + json.dumps(keys, separators=(",", ":"), sort_keys=True)
    return ""


def to_fields_v1(fields: Fields) -> Json:
    """The wire form: nested objects, with `.` where a path is owned and has others below it."""
    tree: Json = {}
    for path in sorted(fields):
        node = tree
        for step in path:
            node = node.setdefault(step, {})
        node["."] = {}
    return _without_leaf_dots(tree)


def _without_leaf_dots(tree: Json) -> Json:
    if tree.keys() == {"."}:
        return {}
    return {key: _without_leaf_dots(value) for key, value in tree.items()}


def from_fields_v1(tree: Json, prefix: Path = ()) -> set[Path]:
    """The paths of a FieldsV1 object."""
    if not tree and prefix:
        return {prefix}
    found: set[Path] = set()
    for step, below in tree.items():
        if step == ".":
            found.add(prefix)
        else:
            found |= from_fields_v1(below, (*prefix, step))
    return found


def read_ownership(obj: Json) -> Ownership:
    """The managedFields of an object."""
    owners: Ownership = {}
    for entry in obj["metadata"].get("managedFields") or []:
        manager = Manager(
            entry.get("manager", ""),
            entry.get("operation", ""),
            entry.get("apiVersion", ""),
            entry.get("subresource", ""),
        )
        owners[manager] = frozenset(from_fields_v1(entry.get("fieldsV1") or {}))
    return owners


def write_ownership(obj: Json, owners: Ownership, previous: Json | None, now: str) -> None:
    """Set managedFields; an entry keeps its time unless its fields changed. `obj`'s metadata is
    changed in place.
    """
    before: dict[tuple[str, ...], Json] = {}
    for entry in ((previous or {}).get("metadata") or {}).get("managedFields") or []:
        key = (
            entry.get("manager"),
            entry.get("operation"),
            entry.get("apiVersion"),
            entry.get("subresource", ""),
        )
        before[key] = entry
    entries = []
    for manager, fields in owners.items():
        if not fields:
            continue
        tree = to_fields_v1(fields)
        old = before.get(tuple(manager))
        entry = {
            "manager": manager.name, "operation": manager.operation, "apiVersion": manager.api_version,
            "time": old["time"] if old and old.get("fieldsV1") == tree else now,
            "fieldsType": "FieldsV1", "fieldsV1": tree,
        }  # fmt: skip
        if manager.subresource:
            entry["subresource"] = manager.subresource
        entries.append(entry)
    entries.sort(key=lambda entry: (entry["operation"], entry["time"], entry["manager"]))
    obj["metadata"].pop("managedFields", None)
    if entries:
        obj["metadata"]["managedFields"] = entries


def value_at(obj: Any, path: Path) -> Any:
    """The value a path points at; `_ABSENT` when there is none."""
    for step in path:
        if step.startswith("f:"):
            if not isinstance(obj, dict) or step[2:] not in obj:
                return _ABSENT
            obj = obj[step[2:]]
        else:
            obj = _item_at(obj, step)
            if obj is _ABSENT:
                return _ABSENT
    return obj


_ABSENT: Any = object()


def _item_at(items: Any, step: str) -> Any:
    wanted = json.loads(step[2:])
    if not isinstance(items, list):
        return _ABSENT
    for item in items:
        if step.startswith("v:"):
            if item == wanted:
                return item
        elif isinstance(item, dict) and all(
            item.get(k, "TCP" if k == "protocol" else None) == v for k, v in wanted.items()
        ):
            return item
    return _ABSENT


def owned_after_update(old: Json | None, new: Json, manager: Manager, shape: AnyShape) -> Ownership:
    """Ownership after a create, update or patch: the writer owns what it changed, and nobody what
    is gone.
    """
    now_set = fields_of(new, shape)
    before_set = fields_of(old, shape) if old else frozenset()
    inner = _parents(now_set)
    changed = {
        path for path in now_set if path not in before_set or _differs(old or {}, new, path, inner)
    }
    owners: Ownership = {}
    for other, fields in read_ownership(old).items() if old else ():
        kept = (fields & now_set) - changed if other != manager else fields & now_set
        owners[other] = frozenset(kept)
    if changed or manager in owners:
        owners[manager] = frozenset(owners.get(manager, frozenset()) | changed)
    return owners


def _differs(old: Json, new: Json, path: Path, inner: set[Path]) -> bool:
    """Whether a leaf changed: containers do not count, their contents do."""
    return path not in inner and bool(value_at(old, path) != value_at(new, path))


def _parents(fields: Fields) -> set[Path]:
    """Every path that has another below it."""
    return {path[:size] for path in fields for size in range(1, len(path))}


class Applied(NamedTuple):
    """What server-side apply makes: the merged object, and who owns what now."""

    obj: Json
    owners: Ownership


def apply(
    live: Json | None, wanted: Json, manager: Manager, shape: AnyShape, *, force: bool
) -> Applied:
    """Merge a manager's wanted fields into the live object and drop those it once applied and no
    longer names.

    Raises 409 with one cause a field when another manager owns a field that would change, unless
    `force`.
    """
    wanted_set = leaves_of(wanted, shape)
    owners = read_ownership(live) if live else {}
    mine_before = owners.get(manager, frozenset())
    base = live or {key: wanted[key] for key in ("apiVersion", "kind") if key in wanted}
    conflicts = _conflicts(base, wanted, wanted_set, owners, manager)
    if conflicts and not force:
        raise _conflict_error(conflicts)
    for other, paths in conflicts.items():
        owners[other] = owners[other] - paths
    merged = _merge(base, wanted, shape)
    owned_by_others: Fields = frozenset().union(
        *(fields for other, fields in owners.items() if other != manager)
    )
    kept = owned_by_others | _parents(owned_by_others) | wanted_set | _parents(wanted_set)
    dropped = mine_before - kept
    # An element of a keyed list goes as a whole, before the keys that it is found by.
    for path in sorted(dropped, key=len):
        _remove(merged, path)
    owners[manager] = wanted_set
    return Applied(merged, owners)


def _conflicts(
    live: Json, wanted: Json, wanted_set: Fields, owners: Ownership, manager: Manager
) -> dict[Manager, Fields]:
    found: dict[Manager, Fields] = {}
    inner = _parents(wanted_set)
    changing = {path for path in wanted_set if _differs(live, wanted, path, inner)}
    for other, fields in owners.items():
        clash = fields & changing if other != manager else frozenset()
        if clash:
            found[other] = frozenset(clash)
    return found


def _conflict_error(conflicts: dict[Manager, Fields]) -> ApiError:
    causes = []
    parts = []
    for manager, paths in sorted(conflicts.items()):
        title = f'conflict with "{manager.name}"'
        if manager.subresource:
            title += f' with subresource "{manager.subresource}"'
        if manager.operation == "Update":
            title += f" using {manager.api_version}"
        shown = sorted(_dotted(path) for path in paths)
        causes += [
            {"reason": "FieldManagerConflict", "message": title, "field": field} for field in shown
        ]
        several = title.replace("conflict", "conflicts", 1)
        parts.append(
            f"{title}: {shown[0]}" if len(shown) == 1 else f"{several}:\n- " + "\n- ".join(shown)
        )
    noun = "conflict" if len(causes) == 1 else "conflicts"
    message = f"Apply failed with {len(causes)} {noun}: " + "\n".join(parts)
    return ApiError(409, "Conflict", message, {"causes": causes})


def _dotted(path: Path) -> str:
    text = ""
    for step in path:
        if step.startswith("f:"):
            text += f".{step[2:]}"
        elif step.startswith("k:"):
            keys = json.loads(step[2:])
            text += "[" + ",".join(f"{k}={json.dumps(v)}" for k, v in sorted(keys.items())) + "]"
        else:
            text += f"[={step[2:]}]"
    return text


def _merge(live: Any, wanted: Any, shape: AnyShape) -> Any:
    if isinstance(wanted, dict) and isinstance(live, dict) and not shape.is_atomic_map():
        merged = dict(live)
        for key, value in wanted.items():
            merged[key] = (
                _merge(live[key], value, shape.child(key)) if key in live else copy.deepcopy(value)
            )
        return merged
    if isinstance(wanted, list) and isinstance(live, list):
        how = shape.as_list()
        if how.kind == "set":
            return live + [item for item in wanted if item not in live]
        if how.kind == "map":
            return _merge_keyed(live, wanted, how, shape)
    return copy.deepcopy(wanted)


def _merge_keyed(live: list[Any], wanted: list[Any], how: ListShape, shape: AnyShape) -> list[Any]:
    steps = {_step(item, how): item for item in wanted}
    merged = [
        _merge(item, steps.pop(_step(item, how)), shape.item())
        if _step(item, how) in steps
        else item
        for item in live
    ]
    return merged + [copy.deepcopy(item) for item in steps.values()]


def _remove(obj: Any, path: Path) -> None:
    """Take the value at a path away, copying what is shared with the stored object on the way down."""
    parents, last = path[:-1], path[-1]
    for step in parents:
        if step.startswith("f:"):
            if not isinstance(obj, dict) or step[2:] not in obj:
                return
            obj[step[2:]] = below = copy.copy(obj[step[2:]])
        else:
            found = _item_at(obj, step)
            if found is _ABSENT:
                return
            below = copy.copy(found)
            obj[next(i for i, item in enumerate(obj) if item is found)] = below
        obj = below
    if last.startswith("f:") and isinstance(obj, dict):
        obj.pop(last[2:], None)
    elif isinstance(obj, list):
        found = _item_at(obj, last)
        obj[:] = [item for item in obj if item is not found]
