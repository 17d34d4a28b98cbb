"""The answer to "why did, or did not, this happen?": each rule that was tried, and the tree of what
ran.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from stormcell.engine import Engine
from stormcell.errors import NotFoundError
from stormcell.rules.index import Attempt
from stormcell.store import Execution, TriggerInstance
from stormcell.store.sealing import mask

JsonObject = dict[str, Any]


def explain(engine: Engine, wanted: str) -> JsonObject:
    """Return `{trigger_instance, rules, executions}` for the id of a trigger instance or of an
    execution.

    Rules are judged anew, as they are now. `executions` are trees: `{id, action, task, status,
    error, children}`. NotFoundError where nothing has the id.
    """
    engine.store.writer.flush()
    instance = engine.store.events.instance(wanted)
    if instance is None:
        root = _root_of(engine, wanted)
        instance = (
            engine.store.events.instance(root.trigger_instance_id)
            if root.trigger_instance_id
            else None
        )
        roots = [root]
    else:
        roots, _ = engine.store.executions.find(
            {"trigger_instance": wanted, "parent": None}, limit=-1, newest_first=False
        )
    trees = [_tree(engine.store.executions.tree(root.id)) for root in roots]
    return {
        "trigger_instance": _instance(instance) if instance else None,
        "rules": _rules(engine, instance) if instance else [],
        "executions": trees,
    }


def _root_of(engine: Engine, execution_id: str) -> Execution:
    found = engine.store.executions.get(execution_id)
    if found is None:
        raise NotFoundError(f"No trigger instance and no execution has the id {execution_id}.")
    return found if found.parent is None else engine.trees.find(found.root)


def _instance(instance: TriggerInstance) -> JsonObject:
    return {
        "id": instance.id,
        "trigger": instance.trigger_ref,
        "occurrence_time": instance.occurred_at,
        "status": instance.status,
    }


def _rules(engine: Engine, instance: TriggerInstance) -> list[JsonObject]:
    try:
        trigger = engine.catalog.resolve_trigger(instance.trigger_ref)
    except NotFoundError:
        return []
    if trigger is None:
        return []
    result = engine.catalog.rule_index.match(
        trigger.type, trigger.parameters, instance.payload, engine.core.lookups
    )
    enforcements, _ = engine.store.events.find_enforcements(
        {"trigger_instance": instance.id}, limit=-1
    )
    failures = {item.rule_ref: item.failure_reason for item in enforcements if item.failure_reason}
    return [_attempt(attempt, failures) for attempt in result.attempts()]


def _attempt(attempt: Attempt, failures: dict[str, str]) -> JsonObject:
    criteria = [
        {
            "key": result.key,
            "type": result.type,
            "pattern": result.pattern,
            "value": mask(msgspec.to_builtins(result.value, enc_hook=str)),
            "passed": result.passed,
            "reason": result.reason,
        }
        for result in attempt.results
    ]
    return {
        "rule": attempt.rule.ref,
        "action": attempt.rule.action.ref,
        "matched": attempt.matched,
        "reason": attempt.reason or failures.get(attempt.rule.ref, ""),
        "criteria": criteria,
    }


def _tree(executions: Iterable[Execution]) -> JsonObject:
    """Nest a tree that comes parents first."""
    nodes: dict[str, JsonObject] = {}
    root: JsonObject = {}
    for execution in executions:
        node: JsonObject = {
            "id": execution.id,
            "action": execution.action_ref,
            "task": _task(execution),
            "status": execution.status,
            "start_timestamp": execution.started_at,
            "end_timestamp": execution.ended_at,
            "error": _error(execution),
            "children": [],
        }
        nodes[execution.id] = node
        if execution.parent in nodes:
            nodes[execution.parent]["children"].append(node)
        elif not root:
            root = node
    return root


def _task(execution: Execution) -> str:
    for kind, key in (("chain", "name"), ("orquesta", "task_name")):
        found = execution.context.get(kind)
        if isinstance(found, dict):
            return str(found.get(key) or found.get("name") or "")
    return ""


def _error(execution: Execution) -> str:
    """The shortest text that tells what failed."""
    result = mask(execution.result)
    if not isinstance(result, dict) or execution.status in ("succeeded", "canceled"):
        return ""
    if result.get("errors"):
        first = result["errors"][0] if isinstance(result["errors"], list) else result["errors"]
        return str(first.get("message", first)) if isinstance(first, dict) else str(first)
    for key in ("error", "stderr", "result"):
        if result.get(key):
            return str(result[key]).strip().splitlines()[-1] if str(result[key]).strip() else ""
    return ""
