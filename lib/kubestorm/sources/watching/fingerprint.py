"""A short fingerprint of what an object asks for: enough to tell that it changed, and which fields
did.

Keeping the objects would cost kilobytes each. A fingerprint is a 16-byte digest of everything that
counts, which decides whether anything changed, and for at most 24 fields a 4-byte id of the path
and a 4-byte hash of the value, which only name what changed. An object with more fields is
described coarser, a whole map or list as one field. What does not count: `status`, `apiVersion` and
`kind` (lists of built-in kinds leave them out), and of the metadata everything but labels,
annotations and owner references. Decision 0061 says why finalizers are not among them. Outcomes are
counted as well where a trigger asks for them (decision 0108).
"""

from __future__ import annotations

import json
import re
from hashlib import blake2b
from typing import Any, Dict, FrozenSet, Iterable, List, Mapping, NamedTuple, Optional, Tuple
from zlib import crc32

MAX_FIELDS = 24
MAX_PATHS = 20_000
DIGEST_BYTES = 16
FIELD_BYTES = 8

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_COUNTING_METADATA = ("labels", "annotations", "ownerReferences")
_NOT_COUNTING = frozenset(("apiVersion", "kind", "metadata", "status"))
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode


class Fingerprint(NamedTuple):
    """`digest` is 16 bytes; `fields` is a run of 8-byte entries, path id then value hash, in no
    order.
    """

    digest: bytes
    fields: bytes


class _Node:
    """One path: its text as a rule's criterion would write it, its id, and the paths below it."""

    __slots__ = ("children", "id", "mark", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        data = path.encode("utf-8", "surrogatepass")
        self.id = crc32(data).to_bytes(4, "big")
        self.mark = data + b"\0"
        self.children: Dict[str, _Node] = {}


class PathTable:
    """The paths met in one kind of object. Objects of a kind share them, so they are kept once, by
    id.

    Maps with keys of the users' own choice could fill it without end: beyond 20,000 paths new ones
    are not kept, and only their removal can then no longer be named.
    """

    def __init__(self, paths: Iterable[str] = ()) -> None:
        self._root = _Node("")
        self._names: Dict[bytes, str] = {}
        self._size = 0
        for path in paths:
            self._names[crc32(path.encode("utf-8", "surrogatepass")).to_bytes(4, "big")] = path

    def paths(self) -> List[str]:
        """Every path known, for keeping."""
        return list(self._names.values())

    def name(self, path_id: bytes) -> str:
        """The path of an id, or empty when it was never met."""
        return self._names.get(path_id, "")

    def child(self, node: _Node, key: str) -> _Node:
        found = node.children.get(key)
        if found is None:
            step = f".{key}" if _PLAIN.fullmatch(key) else f"['{key}']"
            found = _Node(f"{node.path}{step}".lstrip("."))
            if self._size < MAX_PATHS:
                node.children[key] = found
                self._size += 1
                if len(self._names) < MAX_PATHS:
                    self._names[found.id] = found.path
        return found

    @property
    def root(self) -> _Node:
        return self._root


def fingerprint(
    obj: Mapping[str, Any], table: PathTable, outcome: Optional[Mapping[str, Any]] = None
) -> Fingerprint:
    """Describe an object. The same content gives the same fingerprint in every process, whatever
    the key order.

    `outcome` is what of its status counts as well, where that was asked for.
    """
    child = table.child
    root = table.root
    level: List[Tuple[_Node, Any]] = [
        (child(root, key), obj[key]) for key in obj if key not in _NOT_COUNTING
    ]
    if outcome:
        level.append((child(root, "status"), outcome))
    metadata = obj.get("metadata") or {}
    above = child(root, "metadata")
    for key in _COUNTING_METADATA:
        value = metadata.get(key)
        if value:
            if key == "annotations" and type(value) is dict and LAST_APPLIED in value:
                value = {name: text for name, text in value.items() if name != LAST_APPLIED}
                if not value:
                    continue
            level.append((child(above, key), value))
    texts: List[bytes] = []
    fields: List[bytes] = []
    room = MAX_FIELDS - len(level)
    while level:
        below: List[Tuple[_Node, Any]] = []
        if sum([len(value) - 1 for _, value in level if type(value) is dict and value]) > room:
            # Not all of them can be taken apart: which ones must not depend on the order of the
            # keys.
            level.sort(key=lambda pair: pair[0].path)
        for node, value in level:
            kind = type(value)
            if kind is str:
                text = '"' + value
            elif kind is dict:
                if value and len(value) - 1 <= room:
                    room -= len(value) - 1
                    known = node.children
                    below.extend(
                        [(known.get(key) or child(node, key), value[key]) for key in value]
                    )
                    continue
                text = _canonical(value)
            else:
                text = _canonical(value) if kind is list else repr(value)
            data = text.encode("utf-8", "surrogatepass")
            texts.append(node.mark + data)
            fields.append(node.id + crc32(data).to_bytes(4, "big"))
        level = below
    texts.sort()
    digest = blake2b(b"\1".join(texts), digest_size=DIGEST_BYTES).digest()
    return Fingerprint(digest, b"".join(fields))


def changed_fields(before: Fingerprint, after: Fingerprint, table: PathTable) -> List[str]:
    """The paths that were added, removed or given another value, sorted; empty when the digests
    agree.

    Where one of the two is coarser, the coarser path is named and not the ones below it.
    """
    if before.digest == after.digest:
        return []
    old, new = _entries(before.fields), _entries(after.fields)
    differing = {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
    names = sorted(filter(None, (table.name(key) for key in differing)))
    coarse: List[str] = []
    for name in names:
        if not any(name.startswith((parent + ".", parent + "[")) for parent in coarse):
            coarse.append(name)
    return coarse


def removed_fields(before: Fingerprint, after: Fingerprint, table: PathTable) -> FrozenSet[str]:
    """The paths that are no longer there; empty names for those that are not known."""
    gone = _entries(before.fields).keys() - _entries(after.fields).keys()
    return frozenset(table.name(key) for key in gone)


def _entries(fields: bytes) -> Dict[bytes, bytes]:
    return {
        fields[at : at + 4]: fields[at + 4 : at + 8] for at in range(0, len(fields), FIELD_BYTES)
    }
