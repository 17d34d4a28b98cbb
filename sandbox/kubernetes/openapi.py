"""The OpenAPI documents that kubectl reads before it applies or explains: v2 (JSON and protobuf)
and v3.

Custom resources are described in full, from their CRDs. The core kinds carry their names alone;
kubectl then leaves the checking of their fields to the server.
"""

from __future__ import annotations

import hashlib
from typing import Any

from sandbox.kubernetes import openapi_protobuf
from sandbox.kubernetes.discovery import VERSION
from sandbox.kubernetes.resources import Catalog, Resource

Json = dict[str, Any]

# What real servers of 1.20 answer with; the type that clients ask for holds an "@", which Go
# refuses to parse.
PROTOBUF_ANSWER = "application/octet-stream"
_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_V2_KEYS = frozenset(
    {
        "type", "format", "title", "description", "default", "multipleOf", "maximum", "exclusiveMaximum", "minimum",
        "exclusiveMinimum", "maxLength", "minLength", "pattern", "maxItems", "minItems", "uniqueItems", "maxProperties",
        "minProperties", "required", "enum",
    }
)  # fmt: skip


def definition_name(row: Resource, version: str) -> str:
    """`io.kubestorm.v1alpha1.Database`; core kinds under `io.k8s.api`."""
    if row.is_custom or "." in row.group:
        return ".".join([*reversed(row.group.split(".")), version, row.kind])
    return f"io.k8s.api.{row.group or 'core'}.{version}.{row.kind}"


def _kind_mark(row: Resource, version: str) -> list[Json]:
    return [{"group": row.group, "version": version, "kind": row.kind}]


def _definition(row: Resource, version: str, reference: str, *, v2: bool) -> Json:
    schema: Json = {"type": "object"}
    if row.is_custom:
        schema = dict(row.custom[version].schema)
        schema = _v2_schema(schema, root=True) if v2 else schema
    texts = {
        "apiVersion": "APIVersion defines the versioned schema of this representation of an object.",
        "kind": "Kind is a string value representing the REST resource this object represents.",
    }
    head: Json = {name: {"type": "string", "description": text} for name, text in texts.items()}
    head["metadata"] = {"$ref": reference + _META, "description": "Standard object's metadata."}
    schema["properties"] = {**(schema.get("properties") or {}), **head}
    schema["x-kubernetes-group-version-kind"] = _kind_mark(row, version)
    if not row.is_custom:
        schema["x-kubernetes-preserve-unknown-fields"] = True
    return schema


def _v2_schema(schema: Json, *, root: bool = False) -> Json:
    """A structural schema in the words of OpenAPI v2, which has neither nullable nor alternatives.

    As the real server does: what takes anything, or null, or one of several types, is left without
    a type.
    """
    if schema.get("nullable") or schema.get("x-kubernetes-int-or-string"):
        kept = {
            key: schema[key]
            for key in ("description", "x-kubernetes-int-or-string")
            if key in schema
        }
        return {**kept, **({"x-nullable": True} if schema.get("nullable") else {})}
    if schema.get("x-kubernetes-preserve-unknown-fields") and not root:
        return {
            key: schema[key]
            for key in ("description", "x-kubernetes-preserve-unknown-fields", "type")
            if key in schema
        }
    result = {
        key: value
        for key, value in schema.items()
        if key in _V2_KEYS or key.startswith("x-kubernetes-")
    }
    if "properties" in schema:
        result["properties"] = {
            name: _v2_schema(below) for name, below in schema["properties"].items()
        }
    if isinstance(schema.get("items"), dict):
        result["items"] = _v2_schema(schema["items"])
    if isinstance(schema.get("additionalProperties"), dict):
        result["additionalProperties"] = _v2_schema(schema["additionalProperties"])
    return result


def _object_meta() -> Json:
    text = {"type": "string"}
    texts = {"type": "object", "additionalProperties": text}
    owner = {"type": "object", "properties": {"apiVersion": text, "kind": text, "name": text, "uid": text,
             "controller": {"type": "boolean"}, "blockOwnerDeletion": {"type": "boolean"}}}  # fmt: skip
    properties: Json = dict.fromkeys(
        ("name", "namespace", "generateName", "uid", "resourceVersion", "selfLink"), text
    )
    properties |= {
        "labels": texts,
        "annotations": texts,
        "finalizers": {"type": "array", "items": text},
    }
    properties |= {
        "generation": {"type": "integer", "format": "int64"},
        "ownerReferences": {"type": "array", "items": owner},
    }
    properties |= {
        name: {"type": "string", "format": "date-time"}
        for name in ("creationTimestamp", "deletionTimestamp")
    }
    properties |= {"deletionGracePeriodSeconds": {"type": "integer", "format": "int64"}}
    properties |= {"managedFields": {"type": "array", "items": {"type": "object"}}}
    return {
        "description": "ObjectMeta is metadata that all persisted resources must have.",
        "type": "object",
        "properties": properties,
    }


def _rows(catalog: Catalog) -> list[tuple[Resource, str]]:
    return [(row, version) for row in catalog.rows() for version in row.versions]


def v2(catalog: Catalog) -> Json:
    """The Swagger 2.0 document."""
    definitions: Json = {_META: _object_meta()}
    for row, version in _rows(catalog):
        if row.is_custom:
            definitions[definition_name(row, version)] = _definition(
                row, version, "#/definitions/", v2=True
            )
    paths: Json = {}
    for row, version in _rows(catalog):
        paths |= _paths(row, version, "#/definitions/")
    return {
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": VERSION["gitVersion"]},
        "paths": paths,
        "definitions": definitions,
    }


def v2_protobuf(catalog: Catalog) -> bytes:
    """The same in gnostic's protobuf form, which older kubectl asks for."""
    return openapi_protobuf.encode_document(v2(catalog))


def _paths(row: Resource, version: str, reference: str) -> Json:
    """The PATCH of an object: where kubectl looks whether the server checks fields
    (`fieldValidation`) and dry runs.
    """
    group = f"/apis/{row.group}/{version}" if row.group else f"/api/{version}"
    where = (
        f"{group}/namespaces/{{namespace}}/{row.plural}/{{name}}"
        if row.namespaced
        else f"{group}/{row.plural}/{{name}}"
    )
    names = ("dryRun", "fieldManager", "fieldValidation", "force")
    v3 = reference.startswith("#/components")
    parameters = [
        {
            "name": name,
            "in": "query",
            "uniqueItems": True,
            **({"schema": {"type": "string"}} if v3 else {"type": "string"}),
        }
        for name in names
    ]
    operation = {
        "operationId": f"patch{row.group}{version}{row.kind}",
        "parameters": parameters,
        "responses": {"200": {"description": "OK"}},
        "x-kubernetes-action": "patch",
        "x-kubernetes-group-version-kind": _kind_mark(row, version)[0],
    }
    return {where: {"patch": operation}}


def _group_path(group: str, version: str) -> str:
    return f"apis/{group}/{version}" if group else f"api/{version}"


def v3_index(catalog: Catalog) -> Json:
    """`/openapi/v3`: one document a group and version, with a hash that changes when it does."""
    paths = {}
    for path in sorted({_group_path(row.group, version) for row, version in _rows(catalog)}):
        digest = hashlib.sha256(repr(v3(catalog, path)).encode()).hexdigest()
        paths[path] = {"serverRelativeURL": f"/openapi/v3/{path}?hash={digest}"}
    return {"paths": paths}


def v3(catalog: Catalog, path: str) -> Json | None:
    """`/openapi/v3/apis/GROUP/VERSION`; None when nothing is served there."""
    reference = "#/components/schemas/"
    schemas: Json = {_META: _object_meta()}
    paths: Json = {}
    for row, version in _rows(catalog):
        if _group_path(row.group, version) == path:
            schemas[definition_name(row, version)] = _definition(row, version, reference, v2=False)
            paths |= _paths(row, version, reference)
    if not paths:
        return None
    info = {"title": "Kubernetes", "version": VERSION["gitVersion"]}
    return {"openapi": "3.0.0", "info": info, "paths": paths, "components": {"schemas": schemas}}
