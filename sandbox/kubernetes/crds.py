"""CustomResourceDefinitions: what is wrong with one, its defaults, and the rows it adds to the
catalog.
"""

from __future__ import annotations

import re
from typing import Any

from sandbox.kubernetes.errors import Cause, required, unsupported, wrong
from sandbox.kubernetes.resources import CustomVersion, Resource
from sandbox.kubernetes.schema import INT_OR_STRING, PRESERVE, validate

Json = dict[str, Any]

GROUP = "apiextensions.k8s.io"
PLURAL = "customresourcedefinitions"
_DNS_LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_AGE = {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}


# Held until the objects of a deleted definition are gone.
CLEANUP = "customresourcecleanup.apiextensions.k8s.io"


def set_defaults(crd: Json, *, deleting: bool = False) -> None:
    """Fill in the names and the conversion that the author may leave out, in place."""
    if not deleting:
        finalizers = crd["metadata"].setdefault("finalizers", [])
        if CLEANUP not in finalizers:
            crd["metadata"]["finalizers"] = [*finalizers, CLEANUP]
    spec = crd.setdefault("spec", {})
    names = spec.setdefault("names", {})
    kind = names.get("kind", "")
    names.setdefault("singular", kind.lower())
    names.setdefault("listKind", f"{kind}List")
    spec.setdefault("conversion", {"strategy": "None"})


def check(crd: Json) -> list[Cause]:
    """The mistakes that make a definition useless; not every rule of the real server, but its
    commonest.
    """
    spec = crd.get("spec") or {}
    names = spec.get("names") or {}
    causes = [required(f"spec.{field}") for field in ("group", "scope") if not spec.get(field)]
    causes += [
        required(f"spec.names.{field}") for field in ("plural", "kind") if not names.get(field)
    ]
    if causes:
        return causes
    wanted = f"{names['plural']}.{spec['group']}"
    if crd["metadata"].get("name") != wanted:
        why = 'must be spec.names.plural+"."+spec.group'
        causes.append(wrong("metadata.name", crd["metadata"].get("name"), why))
    if spec["scope"] not in ("Namespaced", "Cluster"):
        causes.append(unsupported("spec.scope", spec["scope"], ["Cluster", "Namespaced"]))
    if not _DNS_LABEL.fullmatch(names["plural"]):
        why = "a DNS-1035 label must consist of lower case alphanumeric characters or '-'"
        causes.append(wrong("spec.names.plural", names["plural"], why))
    return causes + _check_versions(spec.get("versions") or [])


def _check_versions(versions: list[Json]) -> list[Cause]:
    if sum(bool(version.get("storage")) for version in versions) != 1:
        return [
            wrong(
                "spec.versions",
                len(versions),
                "must have exactly one version marked as storage version",
            )
        ]
    causes = []
    for place, version in enumerate(versions):
        path = f"spec.versions[{place}].schema.openAPIV3Schema"
        schema = (version.get("schema") or {}).get("openAPIV3Schema")
        if not schema:
            causes.append(required(path, "schemas are required"))
        else:
            causes += _check_schema(schema, path, root=True)
    return causes


def _check_schema(schema: Json, path: str, *, root: bool = False) -> list[Cause]:
    """Structural: each place has a type (or says it takes anything), and properties stand alone;
    defaults must fit.
    """
    causes: list[Cause] = []
    free = schema.get(INT_OR_STRING) or schema.get(PRESERVE)
    if not schema.get("type") and not (free and not root):
        where = "at the root" if root else "for specified object fields"
        causes.append(required(f"{path}.type", f"must not be empty {where}"))
    if schema.get("properties") and schema.get("additionalProperties"):
        causes.append(
            Cause(f"{path}.additionalProperties", "FieldValueForbidden",
                  "Forbidden: additionalProperties and properties are mutual exclusive")
        )  # fmt: skip
    if schema.get("type") == "array" and not schema.get("items"):
        causes.append(required(f"{path}.items", "must be specified"))
    if "default" in schema:
        causes += validate(schema["default"], schema, f"{path}.default")
    for name, below in (schema.get("properties") or {}).items():
        causes += _check_schema(below, f"{path}.properties[{name}]")
    for word in ("items", "additionalProperties"):
        if isinstance(schema.get(word), dict):
            causes += _check_schema(schema[word], f"{path}.{word}")
    return causes


def established(crd: Json, now: str, others: list[Resource]) -> Json:
    """The status of a definition: names accepted and established, or refused because another kind
    has them.
    """
    spec = crd["spec"]
    names = dict(spec["names"])
    old = {c["type"]: c for c in (crd.get("status") or {}).get("conditions") or []}
    taken = [
        row
        for row in others
        if row.group == spec["group"]
        and row.plural != names["plural"]
        and row.kind == names["kind"]
    ]
    if taken:
        conditions = [
            _condition(
                "NamesAccepted",
                "False",
                "KindConflict",
                f'"{names["kind"]}" is already in use',
                now,
                old,
            ),
            _condition(
                "Established", "False", "NotAccepted", "not all names are accepted", now, old
            ),
        ]
    else:
        accepted = "the initial names have been accepted"
        conditions = [
            _condition("NamesAccepted", "True", "NoConflicts", "no conflicts found", now, old),
            _condition("Established", "True", "InitialNamesAccepted", accepted, now, old),
        ]
    storage = next(version["name"] for version in spec["versions"] if version.get("storage"))
    stored = list((crd.get("status") or {}).get("storedVersions") or [])
    return {
        "acceptedNames": names if not taken else {"kind": "", "plural": ""},
        "conditions": conditions,
        "storedVersions": stored if storage in stored else [*stored, storage],
    }


def _condition(
    kind: str, status: str, reason: str, message: str, now: str, old: dict[str, Json]
) -> Json:
    before = old.get(kind)
    since = before["lastTransitionTime"] if before and before["status"] == status else now
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": since,
    }


def is_established(crd: Json) -> bool:
    conditions = (crd.get("status") or {}).get("conditions") or []
    return any(c["type"] == "Established" and c["status"] == "True" for c in conditions)


def to_resource(crd: Json) -> Resource:
    """The catalog's row for a definition."""
    spec = crd["spec"]
    names = spec["names"]
    served = [version for version in spec["versions"] if version.get("served")]
    return Resource(
        group=spec["group"],
        versions=tuple(version["name"] for version in served),
        storage_version=next(
            version["name"] for version in spec["versions"] if version.get("storage")
        ),
        plural=names["plural"],
        singular=names.get("singular") or names["kind"].lower(),
        kind=names["kind"],
        list_kind=names.get("listKind") or f"{names['kind']}List",
        namespaced=spec["scope"] == "Namespaced",
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        generation=True,
        custom={version["name"]: _custom_version(version) for version in spec["versions"]},
    )


def _custom_version(version: Json) -> CustomVersion:
    subresources = version.get("subresources") or {}
    return CustomVersion(
        schema=version["schema"]["openAPIV3Schema"],
        columns=tuple(version.get("additionalPrinterColumns") or (_AGE,)),
        status="status" in subresources,
        scale=subresources.get("scale"),
    )
