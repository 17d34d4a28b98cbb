"""What a run starts from: the definition as its author wrote it, and what StackStorm tells a
workflow about its run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml


def load_definition(definition: Mapping[str, Any] | str) -> Mapping[str, Any]:
    """Return the definition as a mapping, short forms written out. Raises ValueError with a
    sentence.
    """
    try:
        loaded = yaml.safe_load(definition) if isinstance(definition, str) else definition
    except yaml.YAMLError as error:
        raise ValueError(f"The workflow definition is not YAML: {error}") from error
    if not isinstance(loaded, Mapping):
        raise ValueError("The workflow definition must be a mapping with a key tasks.")
    tasks = loaded.get("tasks")
    if isinstance(tasks, Mapping):  # `with: x in <% ... %>` is short for `with: {items: ...}`
        tasks = {name: _long_with(task) for name, task in tasks.items()}
        loaded = {**loaded, "tasks": tasks}
    return loaded


def _long_with(task: Any) -> Any:
    if isinstance(task, Mapping) and isinstance(task.get("with"), str):
        return {**task, "with": {"items": task["with"]}}
    return {} if task is None else task


def st2_context(context: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `ctx().st2` and `ctx().parent` are; source: orquesta_runner's
    `_construct_st2_context`.
    """
    st2 = context.get("st2") or {
        "action_execution_id": context.get("execution_id", ""),
        "api_url": context.get("api_url", ""),
        "user": context.get("user"),
        "pack": context.get("pack"),
        "action": context.get("action"),
        "runner": "orquesta",
        "workflow_execution_id": context.get("workflow_execution_id")
        or context.get("execution_id", ""),
        **{key: context[key] for key in ("api_user", "source_channel") if context.get(key)},
    }
    parent = {key: value for key, value in context.items() if key != "st2"}
    return {"st2": st2, "parent": parent} if parent else {"st2": st2}
