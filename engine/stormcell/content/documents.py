"""Read one YAML or JSON file of a pack into plain values, and say where in the file a value stands.

Everything that is read goes through here, so that what we refuse is refused once: documents with
duplicate keys (StackStorm takes the last one without a word), tags that would make objects, and
files that are not UTF-8. libyaml composes the nodes; the values are built here rather than by
PyYAML's generator-based constructor, which is three times slower, and a start with a thousand rules
is dominated by this.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from stormcell.errors import DefinitionError

try:
    from yaml import CSafeLoader as _BaseLoader
except ImportError:  # PyYAML built without libyaml: slower, the same answers.
    from yaml import SafeLoader as _BaseLoader  # type: ignore[assignment]

_STRING: Final = "tag:yaml.org,2002:str"
_MERGE: Final = "tag:yaml.org,2002:merge"
_UNDER_CONSTRUCTION: Final = object()


def read_document(file: Path, *, name: str = "") -> Any:
    """Return the content of a `.yaml`, `.yml` or `.json` file; None for an empty one.

    `name` is how errors call the file (by default its path). Raises DefinitionError with the line
    of the fault.
    """
    name = name or str(file)
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DefinitionError(
            f"is not UTF-8 text (byte {error.start}).", file=name, remedy="Save it as UTF-8."
        ) from error
    except OSError as error:
        raise DefinitionError(f"cannot be read: {error.strerror}.", file=name) from error
    return parse_document(text, name=name, is_json=file.suffix == ".json")


def parse_document(text: str, *, name: str, is_json: bool = False) -> Any:
    """Return the value that `text` writes. Raises DefinitionError, which calls the text `name`."""
    if is_json:
        return _parse_json(text, name)
    loader = _BaseLoader(text)
    try:
        node = loader.get_single_node()
        return None if node is None else _Builder(loader, name).build(node)
    except yaml.MarkedYAMLError as error:
        raise _yaml_error(error, name) from error
    except yaml.YAMLError as error:
        raise DefinitionError(f"is not valid YAML: {error}.", file=name) from error
    finally:
        loader.dispose()


def line_of(file: Path, path: Sequence[str | int]) -> int | None:
    """Return the line (counted from 1) on which the value at `path` stands, or None where that
    cannot be told.

    Reads the file anew: called for errors only.
    """
    if file.suffix == ".json":
        return None
    try:
        node: Any = yaml.compose(file.read_text(encoding="utf-8"), Loader=_BaseLoader)
    except (OSError, ValueError, yaml.YAMLError):
        return None
    line: int | None = None
    for part in path:
        found = _child(node, part)
        if found is None:
            break
        mark, node = found
        line = mark.line + 1
    return line if line is not None or path else 1


def _child(node: Any, part: str | int) -> tuple[Any, Any] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(part):
                return key.start_mark, value
    elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part].start_mark, node.value[part]
    return None


class _Builder:
    """Turns composed nodes into values. An anchored node is built once, however often it is used."""

    def __init__(self, loader: Any, name: str) -> None:
        self._loader = loader
        self._name = name
        self._built: dict[int, Any] = {}

    def build(self, node: Any) -> Any:
        if isinstance(node, yaml.ScalarNode):
            return node.value if node.tag == _STRING else self._loader.construct_object(node)
        known = self._built.get(id(node))
        if known is _UNDER_CONSTRUCTION:
            raise DefinitionError(
                f"line {node.start_mark.line + 1}: an alias leads back to itself.", file=self._name
            )
        if known is not None:
            return known
        self._built[id(node)] = _UNDER_CONSTRUCTION
        value: Any
        if isinstance(node, yaml.MappingNode):
            value = self._mapping(node)
        elif isinstance(node, yaml.SequenceNode) and node.tag == "tag:yaml.org,2002:seq":
            value = [self.build(child) for child in node.value]
        else:
            value = self._loader.construct_object(node, deep=True)
        self._built[id(node)] = value
        return value

    def _mapping(self, node: Any) -> Any:
        if node.tag != "tag:yaml.org,2002:map":
            return self._loader.construct_object(node, deep=True)
        result: dict[Any, Any] = {}
        merged: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE:
                self._merge(merged, value_node)
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                line = key_node.start_mark.line + 1
                raise DefinitionError(
                    f"line {line}: a key must be text, not a list or mapping.", file=self._name
                )
            key = self.build(key_node)
            if key in result:
                raise DefinitionError(
                    f"line {key_node.start_mark.line + 1}: the key '{key}' stands here a second time.",
                    file=self._name,
                    remedy="Keep one of the two; YAML readers silently drop the other.",
                )
            result[key] = self.build(value_node)
        return {**merged, **result} if merged else result

    def _merge(self, merged: dict[Any, Any], node: Any) -> None:
        sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
        for source in sources:
            value = self.build(source)
            if not isinstance(value, dict):
                line = source.start_mark.line + 1
                raise DefinitionError(
                    f"line {line}: '<<' needs a mapping to merge.", file=self._name
                )
            for key, item in value.items():
                merged.setdefault(key, item)


def _yaml_error(error: yaml.MarkedYAMLError, name: str) -> DefinitionError:
    mark = error.problem_mark or error.context_mark
    place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    problem = " ".join(part for part in (error.context, error.problem) if part)
    return DefinitionError(f"{place}is not valid YAML: {problem}.", file=name)


def _parse_json(text: str, name: str) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, value in pairs:
            if key in result:
                raise DefinitionError(
                    f"the key '{key}' stands twice in one object.", file=name, remedy="Keep one."
                )
            result[key] = value
        return result

    try:
        return json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        message = f"line {error.lineno}, column {error.colno}: is not valid JSON: {error.msg}."
        raise DefinitionError(message, file=name) from error
