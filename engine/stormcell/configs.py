"""Packs' configuration: the operator's `<pack>.yaml` over the schema's defaults, datastore references resolved."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stormcell.conducting import Lookups
from stormcell.content.documents import read_document
from stormcell.content.models import Pack
from stormcell.errors import DefinitionError
from stormcell.expressions.datastore import datastore_context
from stormcell.expressions.jinja import is_expression, render


class Configs:
    """Reads `<folder>/<pack>.yaml` once; `of` resolves anew, for a datastore value may change."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._given: dict[str, dict[str, Any]] = {}

    def of(self, pack: Pack | None, lookups: Lookups) -> dict[str, Any]:
        """A pack's configuration in clear; empty for a pack that is not there. DefinitionError for an unusable file."""
        if pack is None:
            return {}
        given = self._given.get(pack.ref)
        if given is None:
            given = self._given[pack.ref] = self._read(pack.ref)
        return _merged(pack.config_schema, given, lookups)

    def forget(self) -> None:
        """Read the files again at the next use."""
        self._given.clear()

    def _read(self, pack: str) -> dict[str, Any]:
        file = self._folder / f"{pack}.yaml" if self._folder else None
        if file is None or not file.exists():
            return {}
        document = read_document(file)
        if document is not None and not isinstance(document, dict):
            raise DefinitionError("must be a mapping of settings to values.", file=file)
        return document or {}


def _merged(schemas: Mapping[str, Any], given: Mapping[str, Any], lookups: Lookups) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for name in {**schemas, **given}:
        schema = schemas.get(name) or {}
        if name in given:
            merged[name] = _resolved(schema, given[name], lookups)
        elif "default" in schema:
            merged[name] = _resolved(schema, schema["default"], lookups)
        elif schema.get("properties"):
            below = _merged(schema["properties"], {}, lookups)
            if below:
                merged[name] = below
    return merged


def _resolved(schema: Mapping[str, Any], value: Any, lookups: Lookups) -> Any:
    if isinstance(value, dict):
        return _merged(schema.get("properties") or {}, value, lookups)
    if isinstance(value, list):
        return [_resolved(schema.get("items") or {}, item, lookups) for item in value]
    if not is_expression(value):
        return value
    if schema.get("secret"):
        # StackStorm decrypts a secret setting's reference by itself; the author writes no filter.
        inner = value.strip().removeprefix("{{").removesuffix("}}").strip()
        value = "{{ (" + inner + ") | decrypt_kv }}" if "decrypt_kv" not in inner else value
    return render(value, {"st2kv": datastore_context(lookups)})
