"""A pack's configuration: read, checked, completed with defaults, and resolved when it is used.

Values such as `{{ st2kv.system.token }}` stay as they are written until a run or a sensor needs
them; those of fields marked `secret: true` are decrypted by themselves then. Source:
st2common/util/config_loader.py and util/pack.py (`validate_config_against_schema`) of StackStorm
3.9.
"""

from __future__ import annotations

import copy
import logging
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import msgspec

from stormcell.conducting import Lookups
from stormcell.content.checking import closest, describe
from stormcell.content.documents import read_document
from stormcell.content.models import JsonObject, Pack
from stormcell.content.schemas import CompiledSchema, parameters_schema
from stormcell.errors import DefinitionError, Error
from stormcell.expressions.datastore import datastore_context
from stormcell.expressions.dialect import with_defaults
from stormcell.expressions.jinja import is_expression, render

log = logging.getLogger(__name__)

MASK: Final = "********"
"""What stands in the place of a secret; StackStorm's MASKED_ATTRIBUTE_VALUE."""

Change = Callable[[Any, JsonObject, str], Any]
"""Leaf value, its schema, its dotted path -> the value to put there."""


class PackConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A pack's configuration with defaults, expressions not yet resolved."""

    pack: str
    values: JsonObject
    schema: JsonObject

    def resolved(self, lookups: Lookups, *, user: str = "") -> JsonObject:
        """Return the values with datastore expressions resolved, secrets in clear: never log it.

        Raises DefinitionError that names the setting, not its value. Reads the datastore each time.
        """

        def resolve(value: Any, schema: JsonObject, path: str) -> Any:
            if not is_expression(value):
                return value
            secret = schema.get("secret") is True
            try:
                context = {
                    "st2kv": datastore_context(_Decrypting(lookups) if secret else lookups, user)
                }
                return render(value, context) or None
            except Error as error:
                raise DefinitionError(
                    f"cannot be resolved: {error}", file=f"configs/{self.pack}.yaml", path=path
                ) from error

        return _changed(self.values, self.schema, resolve)

    def masked(self) -> JsonObject:
        """Return the values for people to see."""
        return mask_config(self.values, self.schema)


def load_config(pack: Pack, configs_dir: Path | None) -> PackConfig:
    """Return a pack's configuration from `CONFIGS/PACK.yaml`; defaults alone where there is no such
    file.

    Raises DefinitionError with everything that does not fit the pack's config.schema.yaml. A
    setting that the schema does not know is logged, as StackStorm ignores it.
    """
    values = read_values(pack, configs_dir)
    check_schema(pack, values, configs_dir)
    for key, hint in unknown_settings(pack, values):
        log.warning(
            "config.unknown_setting", extra={"pack": pack.ref, "setting": key, "hint": hint}
        )
    complete = with_config_defaults(values, pack.config_schema)
    return PackConfig(pack=pack.ref, values=complete, schema=pack.config_schema)


def read_values(pack: Pack, configs_dir: Path | None) -> JsonObject:
    """Return what `CONFIGS/PACK.yaml` says; nothing where there is no such file. Raises
    DefinitionError.
    """
    file = configs_dir / f"{pack.ref}.yaml" if configs_dir is not None else None
    values: Any = {}
    name = f"configs/{pack.ref}.yaml"
    if file is not None and file.is_file():
        values = read_document(file, name=name)
        if values is None:
            values = {}
        if not isinstance(values, dict):
            raise DefinitionError(
                f"must be a mapping of settings to values, and is {describe(values)}.", file=name
            )
    found: JsonObject = values
    return found


def check_schema(pack: Pack, values: JsonObject, configs_dir: Path | None) -> None:
    """Raises DefinitionError with everything that does not fit the pack's config.schema.yaml."""
    problems = _problems(values, pack.config_schema)
    if problems:
        name = f"configs/{pack.ref}.yaml"
        is_there = configs_dir is not None and (configs_dir / f"{pack.ref}.yaml").is_file()
        missing = "" if is_there else " The file does not exist yet."
        raise DefinitionError(
            f"{'; '.join(problems)}.",
            file=name,
            remedy=f"The pack's config.schema.yaml says what fits.{missing}",
        )


def unknown_settings(pack: Pack, values: JsonObject) -> list[tuple[str, str]]:
    """Return the settings that the schema does not know, each with a remedy: the nearest one."""
    if not pack.config_schema:
        return []
    return [
        (str(key), closest(str(key), pack.config_schema))
        for key in values
        if key not in pack.config_schema
    ]


def _problems(values: JsonObject, schema: JsonObject) -> list[str]:
    if not schema:
        return []
    compiled = CompiledSchema(parameters_schema(schema, allow_additional=True))
    found = compiled.problems(values)  # an expression is text, also where it stands for a number
    for key, value in with_defaults(values, compiled.schema).items():
        if (schema.get(key) or {}).get("secret") and is_expression(value) and "decrypt_kv" in value:
            found.append(f"'{key}' is secret and decrypted by itself: remove the filter decrypt_kv")
    return found


def with_config_defaults(values: JsonObject, schema: JsonObject) -> JsonObject:
    """Return the values completed with the schema's defaults, also in nested objects and in lists."""
    return _complete_object(copy.deepcopy(values), schema)


def _complete_object(values: JsonObject, schemas: JsonObject) -> JsonObject:
    for key, schema in schemas.items():
        if not isinstance(schema, dict):
            continue
        if key not in values and "default" in schema:
            values[key] = copy.deepcopy(schema["default"])
        kind = schema.get("type")
        if kind == "object" and any(
            schema.get(k) for k in ("properties", "patternProperties", "additionalProperties")
        ):
            inner = values.get(key) or {}
            if isinstance(inner, dict):
                values[key] = _complete_object(inner, object_schemas(schema, inner))
        elif kind == "array" and (schema.get("items") or schema.get("additionalItems")):
            inner_list = values.get(key) or []
            if isinstance(inner_list, list):
                values[key] = _complete_list(inner_list, schema)
    return values


def _complete_list(values: list[Any], schema: JsonObject) -> list[Any]:
    schemas = {str(index): sub for index, sub in enumerate(item_schemas(schema, len(values)))}
    return list(
        _complete_object(
            {str(index): value for index, value in enumerate(values)}, schemas
        ).values()
    )


def object_schemas(schema: JsonObject, keys: Iterable[str]) -> JsonObject:
    """Return key -> schema for an object: `properties`, then all patterns that match, then
    additionalProperties.
    """
    found: JsonObject = dict(schema.get("properties") or {})
    patterns = schema.get("patternProperties") or {}
    additional = schema.get("additionalProperties")
    for key in keys:
        if key in found:
            continue
        matching = [sub for pattern, sub in patterns.items() if re.search(pattern, str(key))]
        if matching:
            found[key] = {name: value for sub in matching for name, value in sub.items()}
        elif isinstance(additional, dict):
            found[key] = additional
    return found


def item_schemas(schema: JsonObject, count: int) -> list[JsonObject]:
    """Return the schema of each item of a list of that length."""
    items, additional = schema.get("items") or [], schema.get("additionalItems")
    if isinstance(items, dict):
        return [items] * count
    rest = additional if isinstance(additional, dict) else {}
    return [*items[:count], *([rest] * max(0, count - len(items)))]


def mask_config(values: JsonObject, schema: JsonObject) -> JsonObject:
    """Return a copy in which secrets are masked. A secret object or list is masked as a whole."""
    masked = {
        key: MASK if (schema.get(key) or {}).get("secret") is True and value is not None else value
        for key, value in values.items()
    }
    return _changed(
        masked,
        schema,
        lambda value, sub, _: MASK if sub.get("secret") is True and value is not None else value,
    )


def _changed(values: JsonObject, schemas: JsonObject, change: Change) -> JsonObject:
    return {
        key: _change(value, schemas.get(key) or {}, str(key), change)
        for key, value in values.items()
    }


def _change(value: Any, schema: JsonObject, path: str, change: Change) -> Any:
    if isinstance(value, dict):
        subs = object_schemas(schema, value)
        return {
            key: _change(item, _inherit(subs.get(key), schema), f"{path}.{key}", change)
            for key, item in value.items()
        }
    if isinstance(value, list):
        items = item_schemas(schema, len(value))
        return [
            _change(item, _inherit(sub, schema), f"{path}[{index}]", change)
            for index, (item, sub) in enumerate(zip(value, items, strict=True))
        ]
    return change(value, schema, path)


def _inherit(sub: JsonObject | None, parent: JsonObject) -> JsonObject:
    """What lies in a secret object is secret."""
    sub = sub or {}
    return {**sub, "secret": True} if parent.get("secret") is True else sub


class _Decrypting:
    """Lookups that always decrypt; for settings marked as secret."""

    def __init__(self, lookups: Lookups) -> None:
        self._lookups = lookups

    def datastore(self, name: str, *, scope: str, decrypt: bool = False, user: str = "") -> Any:
        return self._lookups.datastore(name, scope=scope, decrypt=True, user=user)

    def pack_config(self, pack: str) -> dict[str, Any]:
        return self._lookups.pack_config(pack)
