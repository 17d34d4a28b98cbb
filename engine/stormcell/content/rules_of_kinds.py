"""What must hold of each kind of content beyond its shape: known runners and operators, files that
exist, positions.

Source: st2common/validators/api/{action,reactor}.py and st2common/policies/meta of StackStorm 3.9.
Each function returns the faults of one document.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any, Final

from stormcell.content.checking import closest, place_in
from stormcell.content.documents import read_document
from stormcell.content.runner_types import NOT_HERE, RUNNER_TYPES, RunnerType, runner_type
from stormcell.content.schemas import CompiledSchema, parameters_schema
from stormcell.errors import DefinitionError, InvalidInputError
from stormcell.expressions.dialect import is_kind
from stormcell.rules.checking import criterion_problems

OVERRIDABLE: Final = frozenset({"default", "description", "enum", "immutable", "required"})
"""What an action may say anew of a parameter of its runner."""

RULE_TYPES: Final = frozenset({"standard", "backstop"})

_THRESHOLD: Final[dict[str, Any]] = {
    "threshold": {"type": "integer", "required": True},
    "action": {"type": "string", "default": "delay", "enum": ["delay", "cancel"]},
}
POLICY_TYPES: Final[dict[str, dict[str, Any]]] = {
    "action.concurrency": _THRESHOLD,
    "action.concurrency.attr": {
        **_THRESHOLD,
        "attributes": {
            "type": "array",
            "uniqueItems": True,
            "items": {"type": "string", "minLength": 1},
        },
    },
    "action.retry": {
        "retry_on": {"type": "string", "required": True, "enum": ["failure", "timeout"]},
        "max_retry_count": {
            "type": "integer",
            "required": True,
            "minimum": 1,
            "maximum": 5,
            "default": 2,
        },
        "delay": {"type": "number", "minimum": 0, "maximum": 120},
    },
}
"""Policy type -> its parameters."""

_ESCAPED: Final = {"actions": {"parameters", "output_schema"}, "rules": {"criteria"}}
"""Folder -> the keys below which StackStorm escapes what its database does not take."""


class _Faults(list[DefinitionError]):
    """The faults of one file; the line is looked up as each is added."""

    def __init__(self, file: Path, name: str) -> None:
        super().__init__()
        self._file, self._name = file, name

    def add(self, path: list[str | int], message: str, remedy: str = "") -> None:
        place = place_in(self._file, path)
        self.append(DefinitionError(message, file=self._name, path=place, remedy=remedy))


def action_problems(
    document: dict[str, Any], *, root: Path, file: Path, name: str
) -> list[DefinitionError]:
    """Return what is wrong with an action: its runner, its entry point, its parameters."""
    found = _Faults(file, name)
    runner = runner_type(document["runner_type"])
    if runner is None:
        given = document["runner_type"]
        if given in NOT_HERE:
            remedy = "StackStorm itself has it; here use local-shell-cmd, or a python-script that connects."
            found.add(["runner_type"], f"stormcell has no runner '{given}'.", remedy)
        else:
            found.add(["runner_type"], f"there is no runner '{given}'.", _runner_hint(given))
        return found
    _entry_point(found, document, runner, root)
    parameters, output = document.get("parameters") or {}, document.get("output_schema") or {}
    _parameters(found, parameters, runner)
    found += properties_problems(parameters, file=file, name=name, at=("parameters",))
    properties = output.get("properties") or {}
    found += properties_problems(
        properties, file=file, name=name, at=("output_schema", "properties")
    )
    return found


def _runner_hint(given: str) -> str:
    known = f"Known: {', '.join(sorted(RUNNER_TYPES))}."
    near = closest(given, RUNNER_TYPES)
    return near if near == known else f"{near} {known}"


def _entry_point(found: _Faults, document: dict[str, Any], runner: RunnerType, root: Path) -> None:
    entry = document.get("entry_point") or ""
    if not runner.needs_entry_point:
        if entry and runner.name == "local-shell-cmd":
            found.add(
                ["entry_point"],
                "local-shell-cmd takes no entry_point.",
                "Use local-shell-script for a file.",
            )
        return
    if not entry:
        found.add(
            ["entry_point"],
            f"the runner {runner.name} needs an entry_point.",
            "Name a file under actions/.",
        )
        return
    if ".." in Path(entry).parts or Path(entry).is_absolute():
        remedy = "Put it there, or link its folder (actions/workflows -> ../workflows)."
        found.add(["entry_point"], "the entry_point must lie under actions/.", remedy)
        return
    target = root / "actions" / entry
    if not target.is_file():
        there = (
            sorted(path.name for path in target.parent.iterdir()) if target.parent.is_dir() else []
        )
        hint = closest(target.name, there) if there else "Its folder does not exist either."
        found.add(["entry_point"], f"the file actions/{entry} does not exist.", hint)
    elif runner.name == "action-chain" and target.suffix not in (".yaml", ".yml"):
        found.add(["entry_point"], "StackStorm reads a chain only from a .yaml file.", "Rename it.")
    elif runner.name in ("orquesta", "action-chain"):
        try:
            body = read_document(target, name=f"actions/{entry}")
        except DefinitionError as error:
            found.append(error)
        else:
            if not isinstance(body, dict):
                found.append(
                    DefinitionError("must be a mapping of keys to values.", file=f"actions/{entry}")
                )


def _parameters(found: _Faults, parameters: dict[str, Any], runner: RunnerType) -> None:
    positions: dict[int, str] = {}
    for name, schema in parameters.items():
        path: list[str | int] = ["parameters", name]
        of_runner = runner.runner_parameters.get(name)
        if of_runner is not None:
            for attribute, value in schema.items():
                if attribute not in OVERRIDABLE and value != of_runner.get(attribute):
                    remedy = f"An action changes only {', '.join(sorted(OVERRIDABLE))} of it."
                    message = f"'{attribute}' of the parameter '{name}' is set by the runner {runner.name}."
                    found.add([*path, attribute], message, remedy)
        if "position" in schema:
            other = positions.setdefault(schema["position"], name)
            if other != name:
                found.add(
                    [*path, "position"], f"'{other}' has the same position.", "Give each its own."
                )
        if "immutable" in schema and "default" not in schema and "default" not in (of_runner or {}):
            found.add(
                path, "an immutable parameter needs a default.", "Nobody else can give it a value."
            )
    wanted = [min(positions) + n for n in range(len(positions))] if positions else []
    if sorted(positions) != wanted:
        given = ", ".join(map(str, sorted(positions)))
        found.add(
            ["parameters"],
            f"the positions {given} have a gap.",
            "Count without leaving numbers out.",
        )


def rule_problems(document: dict[str, Any], *, file: Path, name: str) -> list[DefinitionError]:
    """Return what is wrong with a rule: its type, its criteria, the form of its refs."""
    found = _Faults(file, name)
    kind = document["type"]["ref"] if "type" in document else "standard"
    if kind not in RULE_TYPES:
        found.add(["type", "ref"], f"there is no rule type '{kind}'.", closest(kind, RULE_TYPES))
    _ref(found, document, "trigger", "type")
    _ref(found, document, "action", "ref")
    for key, criterion in (document.get("criteria") or {}).items():
        for path, message, remedy in criterion_problems(key, criterion):
            found.add(["criteria", key, *path], message, remedy)
    return found


def _ref(found: _Faults, document: Any, *path: str | int) -> None:
    ref = document
    for part in path:
        ref = ref[part]
    if "." not in ref:
        found.add([*path], f"'{ref}' is not a ref.", "Write PACK.NAME.")


def unstorable_keys(
    document: dict[str, Any], folder: str, *, file: Path, name: str
) -> list[DefinitionError]:
    """Return the keys that StackStorm's database does not take: those that start with a dollar."""
    found = _Faults(file, name)

    def look(value: Any, path: list[str | int]) -> None:
        if isinstance(value, dict):
            for key, item in value.items():
                if key.startswith("$"):
                    found.add([*path, key], "StackStorm cannot store a key that starts with '$'.")
                look(item, [*path, key])
        elif isinstance(value, list):
            for index, item in enumerate(value):
                look(item, [*path, index])

    for key, value in document.items():
        if key not in _ESCAPED.get(folder, ()):
            look(value, [key])
    return found


def properties_problems(
    properties: dict[str, Any], *, file: Path, name: str, at: tuple[str | int, ...] = ()
) -> list[DefinitionError]:
    """Return the properties for which StackStorm cannot let null stand, as it does before it checks
    values: it then refuses whatever is given."""
    found = _Faults(file, name)
    for key, schema in properties.items():
        kinds, items = schema.get("type"), schema.get("items")
        optional = "default" in schema or not schema.get("required")
        if kinds == "null" and optional and schema.get("default") is None:
            remedy = "Name another type: what is optional may be null anyway."
            found.add([*at, key, "type"], "StackStorm breaks on the type null alone.", remedy)
        below: tuple[str | int, ...] = ()
        if is_kind(kinds, "array") and isinstance(items, list):
            remedy = "Write one schema for all items."
            found.add([*at, key, "items"], "StackStorm breaks on a list of schemas here.", remedy)
        elif is_kind(kinds, "array") and items:
            schema, below = items, ("items",)
        if below or is_kind(kinds, "object"):
            deeper = schema.get("properties") or {}
            found += properties_problems(
                deeper, file=file, name=name, at=(*at, key, *below, "properties")
            )
    return found


def trigger_type_problems(
    document: dict[str, Any], *, file: Path, name: str, at: tuple[str | int, ...] = ()
) -> list[DefinitionError]:
    """Return what is wrong with a trigger type: schemas by which nothing can be checked."""
    found = _Faults(file, name)
    for key in ("payload_schema", "parameters_schema"):
        try:
            CompiledSchema(document.get(key) or {})
        except InvalidInputError as error:
            found.add([*at, key], f"{error}.")
        properties = (document.get(key) or {}).get("properties") or {}
        found += properties_problems(properties, file=file, name=name, at=(*at, key, "properties"))
    return found


def sensor_problems(
    document: dict[str, Any], *, root: Path, file: Path, name: str
) -> list[DefinitionError]:
    """Return what is wrong with a sensor: its file, its class, its trigger types."""
    found = _Faults(file, name)
    entry, class_name = document["entry_point"], document["class_name"]
    target = root / "sensors" / entry
    if not target.is_file():
        there = sorted(path.name for path in (root / "sensors").glob("*.py"))
        hint = closest(entry, there) if there else "There is no Python file in sensors/."
        found.add(["entry_point"], f"the file sensors/{entry} does not exist.", hint)
    else:
        _class_exists(found, target, entry, class_name)
    for index, item in enumerate(document.get("trigger_types") or []):
        found += trigger_type_problems(item, file=file, name=name, at=("trigger_types", index))
    return found


def _class_exists(found: _Faults, target: Path, entry: str, class_name: str) -> None:
    try:
        tree = ast.parse(target.read_bytes())
    except SyntaxError as error:
        found.append(
            DefinitionError(
                f"line {error.lineno}: is not valid Python: {error.msg}.", file=f"sensors/{entry}"
            )
        )
        return
    names = {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    if class_name not in names and "*" not in names:
        hint = closest(class_name, names) if names else ""
        found.add(["class_name"], f"sensors/{entry} has no class '{class_name}'.", hint)


def alias_problems(document: dict[str, Any], *, file: Path, name: str) -> list[DefinitionError]:
    """Return what is wrong with an alias: a format that says nothing."""
    found = _Faults(file, name)
    _ref(found, document, "action_ref")
    for index, item in enumerate(document["formats"]):
        if isinstance(item, dict) and not (item.get("display") or item.get("representation")):
            found.add(["formats", index], "has neither display nor representation.", "Give it one.")
    return found


def policy_problems(
    document: dict[str, Any], *, file: Path, name: str
) -> tuple[dict[str, Any], list[DefinitionError]]:
    """Return a policy's parameters with defaults, and what is wrong with it."""
    found = _Faults(file, name)
    kind, parameters = document["policy_type"], document.get("parameters") or {}
    known = POLICY_TYPES.get(kind)
    if known is None:
        found.add(
            ["policy_type"], f"there is no policy type '{kind}'.", closest(kind, POLICY_TYPES)
        )
        return parameters, found
    _ref(found, document, "resource_ref")
    for key, value in parameters.items():
        if value is None:
            found.add(["parameters", key], "is nothing (null).", "Give it a value or remove it.")
    try:
        parameters = CompiledSchema(parameters_schema(known)).cleaned(parameters)
    except InvalidInputError as error:
        found.add(["parameters"], f"{error}.", "")
    return parameters, found
