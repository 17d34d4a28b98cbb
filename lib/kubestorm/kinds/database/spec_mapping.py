"""Other kinds of resource that describe a database (`database.kinds`), read as a Database. Pure.

Only the field names differ: steps, finalizer, status and conditions are the same, and messages name
the fields that the developer wrote.
"""

from __future__ import annotations

from typing import Any, Dict, Mapping, Optional, Sequence

from kubestorm.core.naming import Identity
from kubestorm.core.settings import KindMapping

Object = Dict[str, Any]


def mapping_for(identity: Identity, kinds: Sequence[KindMapping]) -> Optional[KindMapping]:
    """How to read this object, None for a Database."""
    return next(
        (kind for kind in kinds if (kind.group, kind.plural) == (identity.group, identity.plural)),
        None,
    )


def as_database(resource: Mapping[str, Any], kind: Optional[KindMapping]) -> Object:
    """The object with the `spec` of a Database; metadata and status are as they were."""
    if kind is None:
        return dict(resource)
    spec: Object = {}
    for theirs, ours in kind.fields.items():
        value = get_path(resource, theirs)
        if value is not None:
            _put(spec, ours, value)
    for ours, value in kind.values.items():
        _put(spec, ours, value)
    return {**resource, "spec": spec}


def their_path(ours: str, kind: Optional[KindMapping]) -> Optional[str]:
    """Where in the object (dotted, from its top) a field of our spec is written; None where the
    kind has none.
    """
    if kind is None:
        return f"spec.{ours}"
    return next((theirs for theirs, known in kind.fields.items() if known == ours), None)


def patch_of(values: Mapping[str, Any]) -> Object:
    """Dotted paths and their values as one nested object, as a merge patch takes it."""
    body: Object = {}
    for path, value in values.items():
        _put(body, path, value)
    return body


def in_their_words(text: str, kind: Optional[KindMapping]) -> str:
    """A message with the field names that the developer wrote; longer names first, as one may begin
    another.
    """
    if kind is None:
        return text
    for theirs, ours in sorted(kind.fields.items(), key=lambda pair: -len(pair[1])):
        text = text.replace(f"spec.{ours}", theirs)
    return text


def get_path(value: Any, path: str) -> Any:
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _put(spec: Object, path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for part in parents:
        spec = spec.setdefault(part, {})
    spec[last] = value
