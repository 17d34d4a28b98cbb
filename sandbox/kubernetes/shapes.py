"""What strategic merge and server-side apply must know of an object's shape: which lists are keyed,
sets, or atomic.

For custom resources the CRD's schema says it (`x-kubernetes-list-type` and friends); for the core
kinds it is the table below, taken from the `patchMergeKey`, `listMapKeys` and `mapType` marks of
k8s.io/api.
"""

from __future__ import annotations

from typing import Any, NamedTuple

Json = dict[str, Any]


class ListShape(NamedTuple):
    """How a list merges: `map` (by keys), `set`, or `atomic` (replaced whole)."""

    kind: str = "atomic"
    keys: tuple[str, ...] = ()  # of server-side apply
    merge_key: str = ""  # of strategic merge, which knows one key only


ATOMIC = ListShape()
_SET = ListShape("set")


def _by(*keys: str) -> ListShape:
    return ListShape("map", keys, keys[0])


# By the name of the list; `parent.name` where the same name means different things.
_CORE_LISTS: dict[str, ListShape] = {
    "metadata.finalizers": _SET,
    "metadata.ownerReferences": _by("uid"),
    "spec.finalizers": _SET,
    "conditions": _by("type"),
    "containers": _by("name"),
    "initContainers": _by("name"),
    "ephemeralContainers": _by("name"),
    "env": _by("name"),
    "volumes": _by("name"),
    "volumeMounts": _by("mountPath"),
    "volumeDevices": _by("devicePath"),
    "containers.ports": _by("containerPort", "protocol"),
    "initContainers.ports": _by("containerPort", "protocol"),
    "spec.ports": _by("port", "protocol"),
    "imagePullSecrets": _by("name"),
    "secrets": _by("name"),
    "hostAliases": _by("ip"),
    "topologySpreadConstraints": _by("topologyKey", "whenUnsatisfiable"),
    "addresses": _by("type"),
    "podIPs": _by("ip"),
    "resourceClaims": _by("name"),
    "webhooks": _by("name"),
}
# Maps that are one value for server-side apply.
_ATOMIC_MAPS = frozenset(
    {"selector", "nodeSelector", "matchLabels", "resourceFieldRef", "fieldRef", "secretKeyRef"}
)


class Shape(NamedTuple):
    """A place in an object of a core kind."""

    name: str = ""
    parent: str = ""
    deep: bool = True

    def child(self, name: str) -> Shape:
        return Shape(name, self.name, self.deep)

    def item(self) -> Shape:
        """Elements of a list carry the list's name, so that `containers.ports` is found below them."""
        return self

    def as_list(self) -> ListShape:
        qualified = _CORE_LISTS.get(f"{self.parent}.{self.name}")
        return qualified or _CORE_LISTS.get(self.name, ATOMIC)

    def is_atomic_map(self) -> bool:
        return self.name in _ATOMIC_MAPS and self.parent != "metadata"


class SchemaShape(NamedTuple):
    """A place in a custom resource, as its schema describes it (None where the schema says
    nothing).
    """

    schema: Json | None
    name: str = ""
    depth: int = 0

    def child(self, name: str) -> SchemaShape | Shape:
        if self.depth == 0 and name == "metadata":
            return Shape("metadata")
        schema = self.schema or {}
        below = (schema.get("properties") or {}).get(name)
        if below is None:
            extra = schema.get("additionalProperties")
            below = extra if isinstance(extra, dict) else None
        return SchemaShape(below, name, self.depth + 1)

    def item(self) -> SchemaShape:
        return SchemaShape((self.schema or {}).get("items"), self.name, self.depth + 1)

    def as_list(self) -> ListShape:
        schema = self.schema or {}
        kind = schema.get("x-kubernetes-list-type", "atomic")
        keys = tuple(schema.get("x-kubernetes-list-map-keys") or ())
        return ListShape(kind, keys, keys[0] if keys else "")

    def is_atomic_map(self) -> bool:
        return (self.schema or {}).get("x-kubernetes-map-type") == "atomic"


AnyShape = Shape | SchemaShape
