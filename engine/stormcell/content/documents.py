"""Read one YAML file of a pack into plain values, and say where in the file a value stands.

Everything that is read goes through here, so that what we refuse is refused once: documents with
duplicate keys (StackStorm silently takes the last one), what StackStorm cannot load (merge
keys) or store (keys that are not text, dates, sets, huge integers), tags that would make objects,
and files that are not UTF-8. libyaml composes the nodes; the values are built here rather than by
PyYAML's generator-based constructor, which is three times slower, and a start with a thousand rules
is dominated by this.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import yaml

from stormcell.errors import DefinitionError

try:
    from yaml import CSafeLoader as _BaseLoader
except ImportError:  # PyYAML built without libyaml: slower, the same answers.
    from yaml import SafeLoader as _BaseLoader  # type: ignore[assignment]

_STRING: Final = "tag:yaml.org,2002:str"
_MAPPING: Final = "tag:yaml.org,2002:map"
_SEQUENCE: Final = "tag:yaml.org,2002:seq"
_MERGE: Final = "tag:yaml.org,2002:merge"
_UNDER_CONSTRUCTION: Final = object()


def read_document(file: Path, *, name: str = "") -> Any:
    """Return the content of a YAML file; None for an empty one.

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
    return parse_document(text, name=name)


def parse_document(text: str, *, name: str) -> Any:
    """Return the value that `text` writes. Raises DefinitionError, which calls the text `name`."""
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
    return line


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
            return node.value if node.tag == _STRING else self._plain(node)
        known = self._built.get(id(node))
        if known is _UNDER_CONSTRUCTION:
            raise self._fault(node, "an alias leads back to itself.")
        if known is not None:
            return known
        self._built[id(node)] = _UNDER_CONSTRUCTION
        value: Any
        if isinstance(node, yaml.MappingNode) and node.tag == _MAPPING:
            value = self._mapping(node)
        elif isinstance(node, yaml.SequenceNode) and node.tag == _SEQUENCE:
            value = [self.build(child) for child in node.value]
        else:
            value = self._plain(node)
        self._built[id(node)] = value
        return value

    def _plain(self, node: Any) -> Any:
        """The value of a node that is neither text, mapping nor list."""
        value = self._loader.construct_object(node, deep=True)
        if value is None or type(value) in (bool, float, datetime):
            return value
        if type(value) is int:
            if -(2**63) <= value < 2**63:
                return value
            raise self._fault(node, "StackStorm cannot store an integer of more than 64 bits.")
        kind = node.tag.rpartition(":")[2].replace("timestamp", "date")
        raise self._fault(
            node,
            f"is read as a YAML {kind}, which StackStorm does not keep.",
            "Put it in quotes." if isinstance(node, yaml.ScalarNode) else "Write a plain list.",
        )

    def _mapping(self, node: Any) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE:
                raise self._fault(
                    key_node,
                    "StackStorm cannot load the merge key '<<'.",
                    "Write the keys out; a whole value may be repeated with an alias (`key: *name`).",
                )
            key = self.build(key_node)
            if not isinstance(key, str):
                written = f"'{key_node.value}'" if isinstance(key_node, yaml.ScalarNode) else "it"
                raise self._fault(
                    key_node, f"a key must be text, and {written} is not.", "Put it in quotes."
                )
            if key in result:
                raise self._fault(
                    key_node,
                    f"the key '{key}' stands here a second time.",
                    "Keep one of the two; YAML readers silently drop the other.",
                )
            result[key] = self.build(value_node)
        return result

    def _fault(self, node: Any, message: str, remedy: str = "") -> DefinitionError:
        line = node.start_mark.line + 1
        return DefinitionError(f"line {line}: {message}", file=self._name, remedy=remedy)


def _yaml_error(error: yaml.MarkedYAMLError, name: str) -> DefinitionError:
    mark = error.problem_mark or error.context_mark
    place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    problem = " ".join(part for part in (error.context, error.problem) if part)
    return DefinitionError(f"{place}is not valid YAML: {problem}.", file=name)
