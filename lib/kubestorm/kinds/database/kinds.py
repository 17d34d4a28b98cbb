"""Other kinds of resource that ask for a database (the form of 2016 among them), read as if they
were a Database.

Pure. Only the words differ: the journey, its finalizer, its status and its conditions are the same,
and what is told to the developer names the fields that the developer wrote.
"""

from __future__ import annotations

from typing import Any, Dict, Mapping, Optional, Sequence

from kubestorm.core.naming import Identity
from kubestorm.core.settings import KindMapping

Object = Dict[str, Any]


def mapping_for(identity: Identity, kinds: Sequence[KindMapping]) -> Optional[KindMapping]:
    """How this object is to be read, None where it is a Database (or nobody said)."""
    return next(
        (kind for kind in kinds if (kind.group, kind.plural) == (identity.group, identity.plural)),
        None,
    )


def as_database(resource: Mapping[str, Any], kind: Optional[KindMapping]) -> Object:
    """The object with a `spec` in our words; metadata and status are as they were."""
    if kind is None:
        return dict(resource)
    spec: Object = {}
    for theirs, ours in kind.fields.items():
        value = _get(resource, theirs)
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
    """A message with the fields' names as the developer wrote them; longer names first, as one may
    begin another.
    """
    if kind is None:
        return text
    for theirs, ours in sorted(kind.fields.items(), key=lambda pair: -len(pair[1])):
        text = text.replace(f"spec.{ours}", theirs)
    return text


def _get(value: Any, path: str) -> Any:
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _put(spec: Object, path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for part in parents:
        spec = spec.setdefault(part, {})
    spec[last] = value
