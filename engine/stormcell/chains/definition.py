"""An action-chain as a value: what a chain file says, checked.

Source: st2common/models/system/actionchain.py and `ChainHolder` of the action_chain_runner of
StackStorm 3.9.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from stormcell.errors import DefinitionError

_CHAIN_KEYS = frozenset({"chain", "default", "vars"})
_TASK_KEYS = frozenset(
    {"name", "ref", "params", "parameters", "on-success", "on-failure", "publish", "notify"}
)


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a chain."""

    name: str
    ref: str
    parameters: dict[str, Any] = {}
    on_success: str = ""
    on_failure: str = ""
    publish: dict[str, Any] = {}
    notify: dict[str, Any] | None = None


class Chain(msgspec.Struct, frozen=True, kw_only=True):
    """A whole chain; `default` is always filled in (empty for a chain without tasks)."""

    tasks: dict[str, Task]
    default: str
    vars: dict[str, Any] = {}


def parse_chain(document: Any, *, file: Path | str | None = None) -> Chain:
    """Read a chain from the content of its file. DefinitionError names the place and what would be
    right.
    """
    if not isinstance(document, dict):
        raise DefinitionError("an action-chain is a mapping with the key chain.", file=file)
    _refuse_unknown(document, _CHAIN_KEYS, file, "")
    entries = document.get("chain")
    if not isinstance(entries, list):
        raise DefinitionError(
            "is required: a list of tasks, each with name and ref.", file=file, path="chain"
        )
    tasks: dict[str, Task] = {}
    for position, entry in enumerate(entries):
        task = _parse_task(entry, file, f"chain[{position}]")
        # Of two tasks with the same name StackStorm silently takes the first; so do we.
        tasks.setdefault(task.name, task)
    default = document.get("default") or _first(tasks)
    variables = document.get("vars") or {}
    if not isinstance(variables, dict):
        raise DefinitionError("must be a mapping of names to values.", file=file, path="vars")
    _check_references(tasks, default, file)
    return Chain(tasks=tasks, default=default, vars=variables)


def _parse_task(entry: Any, file: Path | str | None, path: str) -> Task:
    if not isinstance(entry, dict):
        raise DefinitionError("a task is a mapping with name and ref.", file=file, path=path)
    _refuse_unknown(entry, _TASK_KEYS, file, path)
    for key in ("name", "ref"):
        if not isinstance(entry.get(key), str) or not entry[key]:
            raise DefinitionError("is required: a text.", file=file, path=f"{path}.{key}")
    if entry.get("params") and entry.get("parameters"):
        raise DefinitionError(
            'Either "params" or "parameters" attribute needs to be provided, but not both',
            file=file,
            path=path,
        )
    parameters = entry.get("parameters") or entry.get("params") or {}
    publish = entry.get("publish") or {}
    for key, value in (
        ("parameters", parameters),
        ("publish", publish),
        ("notify", entry.get("notify") or {}),
    ):
        if not isinstance(value, dict):
            raise DefinitionError("must be a mapping.", file=file, path=f"{path}.{key}")
    return Task(
        name=entry["name"],
        ref=entry["ref"],
        parameters=parameters,
        on_success=_name(entry, "on-success", file, path),
        on_failure=_name(entry, "on-failure", file, path),
        publish=publish,
        notify=entry.get("notify"),
    )


def _name(entry: dict[str, Any], key: str, file: Path | str | None, path: str) -> str:
    value = entry.get(key) or ""
    if not isinstance(value, str):
        raise DefinitionError("must be the name of one task.", file=file, path=f"{path}.{key}")
    return value


def _refuse_unknown(
    mapping: dict[str, Any], known: frozenset[str], file: Path | str | None, path: str
) -> None:
    for key in mapping:
        if key not in known:
            raise DefinitionError(
                f'"{key}" is not known here.',
                file=file,
                path=path,
                remedy=f"Known: {', '.join(sorted(known))}.",
            )


def _first(tasks: dict[str, Task]) -> str:
    """The first task that no other names; in a circle, the first of all."""
    referenced = {name for task in tasks.values() for name in (task.on_success, task.on_failure)}
    return next((name for name in tasks if name not in referenced), next(iter(tasks), ""))


def _check_references(tasks: dict[str, Task], default: str, file: Path | str | None) -> None:
    for task in tasks.values():
        for key, name in (("on-success", task.on_success), ("on-failure", task.on_failure)):
            if name and "{{" not in name and name not in tasks:
                raise DefinitionError(
                    f'Unable to find node with name "{name}" referenced in "{key}" in task "{task.name}".',
                    file=file,
                )
    if default and "{{" not in default and default not in tasks:
        raise DefinitionError(
            f'Unable to find node with name "{default}" referenced in "default".', file=file
        )
