"""Records and content as the documents StackStorm's API shows (st2common/models/api of StackStorm 3.9).

StackStorm gives everything an id; content has no row here, so its id is made from its kind and ref, the same always.
Secrets are masked here: records carry them sealed, and content says by its schemas which values are secret.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from stormcell.catalog import Catalog, Trigger, trigger_for
from stormcell.content.models import Action, Pack, Rule, Sensor, TriggerType
from stormcell.content.runner_types import RunnerType
from stormcell.core import Core
from stormcell.errors import NotFoundError
from stormcell.store import Enforcement, Execution, KeyValue, TriggerInstance
from stormcell.store.sealing import mask
from stormcell.times import elapsed_seconds, from_timestamp

JsonObject = dict[str, Any]
_WORKFLOWS = ("action-chain", "orquesta")


def content_id(kind: str, ref: str) -> str:
    return hashlib.sha256(f"{kind}:{ref}".encode()).hexdigest()[:24]


def action_document(action: Action) -> JsonObject:
    return {
        "id": content_id("action", action.ref),
        "uid": f"action:{action.pack}:{action.name}",
        "ref": action.ref,
        "pack": action.pack,
        "name": action.name,
        "description": action.description,
        "enabled": action.enabled,
        "entry_point": action.entry_point,
        "runner_type": action.runner_type,
        "parameters": action.parameters,
        "output_schema": action.output_schema,
        "tags": action.tags,
        "notify": action.notify,
        "metadata_file": action.file,
    }


def runner_document(runner: RunnerType) -> JsonObject:
    return {
        "id": content_id("runner", runner.name),
        "uid": f"runner_type:{runner.name}",
        "name": runner.name,
        "description": runner.description,
        "enabled": runner.enabled,
        "runner_package": runner.runner_module,
        "runner_module": runner.runner_module,
        "runner_parameters": runner.runner_parameters,
        "output_key": runner.output_key,
        "output_schema": runner.output_schema,
    }


def rule_document(rule: Rule) -> JsonObject:
    trigger = trigger_for(rule.trigger.type, rule.trigger.parameters)
    return {
        "id": content_id("rule", rule.ref),
        "uid": f"rule:{rule.pack}:{rule.name}",
        "ref": rule.ref,
        "pack": rule.pack,
        "name": rule.name,
        "description": rule.description,
        "enabled": rule.enabled,
        "type": {"ref": rule.type, "parameters": {}},
        "trigger": {"type": trigger.type, "ref": trigger.ref, "parameters": trigger.parameters},
        "criteria": rule.criteria,
        "action": {"ref": rule.action.ref, "parameters": rule.action.parameters},
        "context": rule.context,
        "tags": rule.tags,
        "metadata_file": rule.file,
    }


def trigger_type_document(kind: TriggerType) -> JsonObject:
    return {
        "id": content_id("trigger_type", kind.ref),
        "uid": f"trigger_type:{kind.pack}:{kind.name}",
        "ref": kind.ref,
        "pack": kind.pack,
        "name": kind.name,
        "description": kind.description,
        "payload_schema": kind.payload_schema,
        "parameters_schema": kind.parameters_schema,
        "tags": kind.tags,
        "metadata_file": kind.file,
    }


def trigger_document(trigger: Trigger) -> JsonObject:
    return {
        "id": content_id("trigger", trigger.ref),
        "uid": f"trigger:{trigger.pack}:{trigger.name}",
        "ref": trigger.ref,
        "pack": trigger.pack,
        "name": trigger.name,
        "type": trigger.type,
        "parameters": trigger.parameters,
    }


def sensor_document(sensor: Sensor, pack: Pack | None) -> JsonObject:
    path = pack.path / "sensors" / sensor.entry_point if pack else sensor.entry_point
    return {
        "id": content_id("sensor", sensor.ref),
        "uid": f"sensor_type:{sensor.pack}:{sensor.name}",
        "ref": sensor.ref,
        "pack": sensor.pack,
        "name": sensor.name,
        "description": sensor.description,
        "enabled": sensor.enabled,
        "entry_point": f"sensors.{sensor.name}" if not sensor.entry_point else sensor.entry_point,
        "artifact_uri": f"file://{path}",
        "trigger_types": sensor.trigger_types,
        "poll_interval": sensor.poll_interval,
        "metadata_file": sensor.file,
    }


def pack_document(pack: Pack) -> JsonObject:
    return {
        "id": content_id("pack", pack.ref),
        "uid": f"pack:{pack.ref}",
        "ref": pack.ref,
        "name": pack.name,
        "description": pack.description,
        "version": pack.version,
        "author": pack.author,
        "email": pack.email,
        "keywords": pack.keywords,
        "stackstorm_version": pack.stackstorm_version,
        "python_versions": pack.python_versions,
        "dependencies": pack.dependencies,
        "contributors": pack.contributors,
        "system": pack.system,
        "path": str(pack.path),
    }


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
        "rule": {"ref": rule, "id": content_id("rule", rule), "uid": f"rule:{rule.replace('.', ':', 1)}"},
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


def execution_document(execution: Execution, core: Core, children: list[str] | None = None) -> JsonObject:
    """An execution with all that belongs to it. As in StackStorm, what is empty is left out."""
    catalog = core.catalog
    parameters = mask(execution.parameters)
    result = mask(execution.result)
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
        "context": mask(execution.context),
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
    instance = core.store.events.instance(execution.trigger_instance_id) if execution.trigger_instance_id else None
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
    return {"ref": execution.action_ref, "pack": pack, "name": name, "runner_type": execution.runner_type}


def _runner_part(execution: Execution, catalog: Catalog) -> JsonObject:
    try:
        return runner_document(catalog.content.runner_type(execution.runner_type))
    except NotFoundError:
        return {"name": execution.runner_type}
