"""Structural schemas of custom resources: pruning, defaulting and validation, with the real API
server's messages.

Follows k8s.io/apiextensions-apiserver/pkg/apiserver/{schema,validation} and go-openapi/validate.
Not evaluated: `x-kubernetes-validations` (CEL), which a server of version 1.20 does not know
either.
"""

from __future__ import annotations

import base64
import copy
import ipaddress
import re
import uuid
from collections.abc import Callable
from datetime import date, datetime
from typing import Any

from sandbox.kubernetes.errors import Cause, duplicate, required, unsupported, wrong

Json = dict[str, Any]

PRESERVE = "x-kubernetes-preserve-unknown-fields"
INT_OR_STRING = "x-kubernetes-int-or-string"
EMBEDDED = "x-kubernetes-embedded-resource"
_ALWAYS_KEPT = frozenset({"apiVersion", "kind", "metadata"})


def prune(value: Any, schema: Json | None, *, root: bool = False) -> Any:
    """The value without the fields that the schema does not name."""
    if schema is None:
        return value
    if isinstance(value, list):
        items = schema.get("items")
        return [prune(item, items) for item in value] if items else value
    if not isinstance(value, dict):
        return value
    properties = schema.get("properties") or {}
    extra = schema.get("additionalProperties")
    keep_all = (
        bool(schema.get(PRESERVE))
        or extra is True
        or (not properties and extra is None and not schema)
    )
    kept: Json = {}
    for key, item in value.items():
        if (root or schema.get(EMBEDDED)) and key in _ALWAYS_KEPT:
            kept[key] = item
        elif key in properties:
            kept[key] = prune(item, properties[key])
        elif isinstance(extra, dict):
            kept[key] = prune(item, extra)
        elif keep_all:
            kept[key] = item
    return kept


def apply_defaults(value: Any, schema: Json | None) -> None:
    """Fill in defaults where a field is absent (or null where null is not allowed), in place."""
    if schema is None:
        return
    if isinstance(value, list):
        for item in value:
            apply_defaults(item, schema.get("items"))
    if not isinstance(value, dict):
        return
    properties = schema.get("properties") or {}
    for key, below in properties.items():
        if key in value and value[key] is None and not below.get("nullable") and "default" in below:
            del value[key]
        if key not in value and "default" in below:
            value[key] = copy.deepcopy(below["default"])
        if key in value:
            apply_defaults(value[key], below)
    extra = schema.get("additionalProperties")
    if isinstance(extra, dict):
        for key, item in value.items():
            if key not in properties:
                apply_defaults(item, extra)


def drop_nulls(value: Any, schema: Json | None) -> None:
    """Remove nulls that the schema does not allow, in place, as decoding does for a field without
    `nullable`.
    """
    if schema is None:
        return
    if isinstance(value, list):
        for item in value:
            drop_nulls(item, schema.get("items"))
    if not isinstance(value, dict):
        return
    for key, below in (schema.get("properties") or {}).items():
        if key in value and value[key] is None and not below.get("nullable") and "default" in below:
            del value[key]
        else:
            drop_nulls(value.get(key), below)


def validate(value: Any, schema: Json, path: str = "") -> list[Cause]:
    """What is wrong with a value, by field; an empty list when nothing is."""
    if value is None and schema.get("nullable"):
        return []
    wrong_type = _wrong_type(value, schema, path)
    if wrong_type:
        return [wrong_type]
    causes = _enumerated(value, schema, path)
    if isinstance(value, str):
        causes += _string(value, schema, path)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        causes += _number(value, schema, path)
    elif isinstance(value, list):
        causes += _array(value, schema, path)
    elif isinstance(value, dict):
        causes += _object(value, schema, path)
    return causes + _combined(value, schema, path)


def _type_name(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "integer" if value.is_integer() else "number"
    return "string" if isinstance(value, str) else "array" if isinstance(value, list) else "object"


def _wrong_type(value: Any, schema: Json, path: str) -> Cause | None:
    if schema.get(INT_OR_STRING):
        wanted = ["integer", "string"]
    elif "type" in schema:
        wanted = [schema["type"]]
    else:
        return None
    found = _type_name(value)
    if found in wanted or (found == "integer" and "number" in wanted):
        return None
    return wrong(path, found, f'{path} in body must be of type {",".join(wanted)}: "{found}"')


def _enumerated(value: Any, schema: Json, path: str) -> list[Cause]:
    if "enum" in schema and value not in schema["enum"]:
        return [unsupported(path, value, schema["enum"])]
    return []


def _string(value: str, schema: Json, path: str) -> list[Cause]:
    causes = []
    if "maxLength" in schema and len(value) > schema["maxLength"]:
        causes.append(
            wrong(path, value, f"{path} in body should be at most {schema['maxLength']} chars long")
        )
    if "minLength" in schema and len(value) < schema["minLength"]:
        causes.append(
            wrong(
                path, value, f"{path} in body should be at least {schema['minLength']} chars long"
            )
        )
    if "pattern" in schema and not re.search(schema["pattern"], value):
        causes.append(wrong(path, value, f"{path} in body should match '{schema['pattern']}'"))
    check = _FORMATS.get(schema.get("format", ""))
    if check and not _parses(check, value):
        causes.append(
            wrong(path, value, f'{path} in body must be of type {schema["format"]}: "{value}"')
        )
    return causes


def _number(value: float, schema: Json, path: str) -> list[Cause]:
    causes = []
    low, high = schema.get("minimum"), schema.get("maximum")
    if high is not None and (value >= high if schema.get("exclusiveMaximum") else value > high):
        words = "less than" if schema.get("exclusiveMaximum") else "less than or equal to"
        causes.append(wrong(path, value, f"{path} in body should be {words} {high}"))
    if low is not None and (value <= low if schema.get("exclusiveMinimum") else value < low):
        words = "greater than" if schema.get("exclusiveMinimum") else "greater than or equal to"
        causes.append(wrong(path, value, f"{path} in body should be {words} {low}"))
    step = schema.get("multipleOf")
    if step and abs(value / step - round(value / step)) > 1e-9:
        causes.append(wrong(path, value, f"{path} in body should be a multiple of {step}"))
    return causes


def _array(value: list[Any], schema: Json, path: str) -> list[Cause]:
    causes = []
    if "maxItems" in schema and len(value) > schema["maxItems"]:
        causes.append(
            wrong(
                path, len(value), f"{path} in body should have at most {schema['maxItems']} items"
            )
        )
    if "minItems" in schema and len(value) < schema["minItems"]:
        causes.append(
            wrong(
                path, len(value), f"{path} in body should have at least {schema['minItems']} items"
            )
        )
    items = schema.get("items")
    if isinstance(items, dict):
        for place, item in enumerate(value):
            causes += validate(item, items, f"{path}[{place}]")
    return causes + _repeated(value, schema, path)


def _repeated(value: list[Any], schema: Json, path: str) -> list[Cause]:
    kind = schema.get("x-kubernetes-list-type")
    if kind not in ("set", "map"):
        return []
    keys = schema.get("x-kubernetes-list-map-keys") or []
    seen: list[Any] = []
    causes = []
    for place, item in enumerate(value):
        key = (
            {k: item[k] for k in keys if k in item}
            if kind == "map" and isinstance(item, dict)
            else item
        )
        if key in seen:
            causes.append(duplicate(f"{path}[{place}]", key))
        seen.append(key)
    return causes


def _object(value: Json, schema: Json, path: str) -> list[Cause]:
    causes = []
    count = len(value)
    if "maxProperties" in schema and count > schema["maxProperties"]:
        causes.append(
            wrong(
                path,
                count,
                f"{path} in body should have at most {schema['maxProperties']} properties",
            )
        )
    if "minProperties" in schema and count < schema["minProperties"]:
        causes.append(
            wrong(
                path,
                count,
                f"{path} in body should have at least {schema['minProperties']} properties",
            )
        )
    causes += [
        required(_below(path, name)) for name in schema.get("required") or [] if name not in value
    ]
    properties = schema.get("properties") or {}
    extra = schema.get("additionalProperties")
    for key, item in value.items():
        if key in properties:
            causes += validate(item, properties[key], _below(path, key))
        elif isinstance(extra, dict):
            causes += validate(item, extra, _below(path, key))
    return causes


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _combined(value: Any, schema: Json, path: str) -> list[Cause]:
    """`allOf`, `anyOf`, `oneOf`, `not`; the quoted path and the empty field are the real server's."""
    causes: list[Cause] = []
    for part in schema.get("allOf") or []:
        causes += validate(value, part, path)
    if schema.get("anyOf"):
        results = [validate(value, part, path) for part in schema["anyOf"]]
        if all(results):
            causes += [_combination(path, "must validate at least one schema (anyOf)"), *results[0]]
    if schema.get("oneOf"):
        results = [validate(value, part, path) for part in schema["oneOf"]]
        fitting = sum(not result for result in results)
        if fitting == 0:
            why = "must validate one and only one schema (oneOf). Found none valid"
            causes += [_combination(path, why), *results[0]]
        elif fitting > 1:
            why = (
                f"must validate one and only one schema (oneOf). Found {fitting} valid alternatives"
            )
            causes.append(_combination(path, why))
    if schema.get("not") and not validate(value, schema["not"], path):
        causes.append(_combination(path, "must not validate the schema (not)"))
    return causes


def _combination(path: str, why: str) -> Cause:
    return Cause("<nil>", "FieldValueInvalid", f'Invalid value: "": "{path}" {why}')


def _parses(check: Callable[[str], object], value: str) -> bool:
    try:
        check(value)
    except ValueError:
        return False
    return True


def _matching(pattern: str) -> Callable[[str], object]:
    compiled = re.compile(pattern)

    def check(value: str) -> None:
        if not compiled.fullmatch(value):
            raise ValueError(value)

    return check


def _date_time(value: str) -> None:
    if not re.match(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}", value):
        raise ValueError(value)
    datetime.fromisoformat(value.upper().replace("Z", "+00:00"))


def _base64(value: str) -> bytes:
    return base64.b64decode(value, validate=True)


_HOST = (
    r"([a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)(\.[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*"
)
# The formats that the real server enforces; others are annotations.
_FORMATS: dict[str, Callable[[str], object]] = {
    "date": date.fromisoformat,
    "date-time": _date_time,
    "datetime": _date_time,
    "ipv4": ipaddress.IPv4Address,
    "ipv6": ipaddress.IPv6Address,
    "cidr": ipaddress.ip_network,
    "uuid": uuid.UUID,
    "hostname": _matching(_HOST),
    "email": _matching(r"[^@\s]+@[^@\s]+"),
    "uri": _matching(r"(?:[A-Za-z][A-Za-z0-9+.-]*:|/)\S*"),
    "byte": _base64,
    "mac": _matching(r"([0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}"),
    "duration": _matching(r"[-+]?(\d+(\.\d+)?\s*(ns|us|µs|ms|s|m|h|d|w|[a-z]+))+"),
}


def unknown_fields(
    value: Any, schema: Json | None, path: str = "", *, root: bool = True
) -> list[str]:
    """The paths of fields that `prune` would drop."""
    if schema is None:
        return []
    if isinstance(value, list):
        items = schema.get("items")
        return [
            found
            for i, item in enumerate(value)
            for found in unknown_fields(item, items, f"{path}[{i}]", root=False)
        ]
    if not isinstance(value, dict):
        return []
    kept = prune(value, schema, root=root)
    unknown = [_below(path, key) for key in value if key not in kept]
    properties, extra = schema.get("properties") or {}, schema.get("additionalProperties")
    for key in kept:
        below = properties.get(key, extra if isinstance(extra, dict) else None)
        if not (root and key in _ALWAYS_KEPT):
            unknown += unknown_fields(value[key], below, _below(path, key), root=False)
    return unknown
