"""Records as the documents StackStorm's API shows (st2common/models/api of StackStorm 3.9).

Secrets are masked here: records carry them sealed.
"""

from __future__ import annotations

from typing import Any

import msgspec

from stormcell.api.content_documents import (
    action_document,
    content_id,
    rule_document,
    runner_document,
    trigger_document,
    trigger_type_document,
)
from stormcell.catalog import Catalog
from stormcell.core import Core
from stormcell.errors import NotFoundError
from stormcell.store import Enforcement, Execution, KeyValue, TriggerInstance
from stormcell.store.sealing import mask
from stormcell.times import elapsed_seconds, from_timestamp

JsonObject = dict[str, Any]
_WORKFLOWS = ("action-chain", "orquesta")


def instance_document(instance: TriggerInstance) -> JsonObject:
    return {
        "id": instance.id,
        "trigger": instance.trigger_ref,
        "occurrence_time": instance.occurred_at,
        "status": instance.status,
        "payload": mask(instance.payload),
    }


def enforcement_document(enforcement: Enforcement) -> JsonObject:
    rule = enforcement.rule_ref
    document = {
        "id": enforcement.id,
        "uid": f"rule_enforcement:{enforcement.id}",
        "trigger_instance_id": enforcement.trigger_instance_id,
        "execution_id": enforcement.execution_id,
        "failure_reason": enforcement.failure_reason,
        "rule": {
            "ref": rule,
            "id": content_id("rule", rule),
            "uid": f"rule:{rule.replace('.', ':', 1)}",
        },
        "enforced_at": enforcement.enforced_at,
        "status": "failed" if enforcement.failure_reason else "succeeded",
    }
    return {name: value for name, value in document.items() if value is not None}


def key_document(entry: KeyValue, value: str, *, decrypted: bool = False) -> JsonObject:
    document: JsonObject = {
        "id": content_id("key", f"{entry.scope}:{entry.user}:{entry.name}"),
        "uid": f"key_value_pair:st2kv.{entry.scope}:{entry.name}",
        "name": entry.name,
        "value": value,
        "scope": f"st2kv.{entry.scope}",
        "secret": entry.secret,
        "encrypted": entry.secret and not decrypted,
    }
    if entry.user:
        document["user"] = entry.user
    if entry.expires_at is not None:
        document["expire_timestamp"] = from_timestamp(entry.expires_at)
    return document


def execution_document(
    execution: Execution,
    core: Core,
    children: list[str] | None = None,
    *,
    show_secrets: bool = False,
) -> JsonObject:
    """An execution with all that belongs to it. As in StackStorm, what is empty is left out."""
    catalog = core.catalog
    shown = core.store.sealer.open if show_secrets else mask
    parameters = shown(execution.parameters)
    result = shown(execution.result)
    document: JsonObject = {
        "id": execution.id,
        "status": execution.status,
        "start_timestamp": execution.started_at,
        "end_timestamp": execution.ended_at,
        "action": _action_part(execution, catalog),
        "runner": _runner_part(execution, catalog),
        "liveaction": {
            "id": execution.id,
            "action": execution.action_ref,
            "action_is_workflow": execution.runner_type in _WORKFLOWS,
            "parameters": parameters,
            "callback": {},
            "runner_info": {},
        },
        "parameters": parameters,
        "context": shown(execution.context),
        "result": result,
        "result_size": len(msgspec.json.encode(result, enc_hook=str)) if result is not None else 0,
        "parent": execution.parent,
        "children": children or [],
        "log": execution.log_entries(),
    }
    if execution.ended_at:
        document["elapsed_seconds"] = elapsed_seconds(execution.started_at, execution.ended_at)
    document = {name: value for name, value in document.items() if value or name == "parameters"}
    return {**document, **_origin(execution, core)}


def _origin(execution: Execution, core: Core) -> JsonObject:
    """The rule and the event that led to it."""
    origin: JsonObject = {}
    rule = core.catalog.content.rules.get(execution.rule_ref or "")
    if rule is not None:
        origin["rule"] = rule_document(rule)
    instance = (
        core.store.events.instance(execution.trigger_instance_id)
        if execution.trigger_instance_id
        else None
    )
    if instance is None:
        return origin
    origin["trigger_instance"] = instance_document(instance)
    trigger = core.catalog.triggers.get(instance.trigger_ref)
    if trigger is not None:
        origin["trigger"] = trigger_document(trigger)
        kind = core.catalog.content.trigger_types.get(trigger.type)
        if kind is not None:
            origin["trigger_type"] = trigger_type_document(kind)
    return origin


def _action_part(execution: Execution, catalog: Catalog) -> JsonObject:
    action = catalog.content.actions.get(execution.action_ref)
    if action is not None:
        return action_document(action)
    pack, _, name = execution.action_ref.partition(".")
    return {
        "ref": execution.action_ref,
        "pack": pack,
        "name": name,
        "runner_type": execution.runner_type,
    }


def _runner_part(execution: Execution, catalog: Catalog) -> JsonObject:
    try:
        return runner_document(catalog.content.runner_type(execution.runner_type))
    except NotFoundError:
        return {"name": execution.runner_type}
