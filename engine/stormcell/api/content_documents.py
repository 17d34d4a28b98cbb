"""Content as the documents StackStorm's API shows (st2common/models/api of StackStorm 3.9).

StackStorm gives everything an id; content has no row here, so its id is made from its kind and ref,
the same always.
"""

from __future__ import annotations

import hashlib
from typing import Any

from stormcell.catalog import Trigger, trigger_for
from stormcell.content.models import (
    Action,
    ActionAlias,
    Item,
    Pack,
    Policy,
    Rule,
    Sensor,
    TriggerType,
)
from stormcell.content.runner_types import RunnerType

JsonObject = dict[str, Any]


def content_id(kind: str, ref: str) -> str:
    return hashlib.sha256(f"{kind}:{ref}".encode()).hexdigest()[:24]


def _place(kind: str, item: Item | Trigger, *, uid: str = "") -> JsonObject:
    """What names a thing of a pack, in every one of StackStorm's ways."""
    return {
        "id": content_id(kind, item.ref),
        "uid": f"{uid or kind}:{item.pack}:{item.name}",
        "ref": item.ref,
        "pack": item.pack,
        "name": item.name,
    }


def action_document(action: Action) -> JsonObject:
    return {
        **_place("action", action),
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
        **_place("rule", rule),
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
        **_place("trigger_type", kind),
        "description": kind.description,
        "payload_schema": kind.payload_schema,
        "parameters_schema": kind.parameters_schema,
        "tags": kind.tags,
        "metadata_file": kind.file,
    }


def trigger_document(trigger: Trigger) -> JsonObject:
    return {
        **_place("trigger", trigger),
        "type": trigger.type,
        "parameters": trigger.parameters,
    }


def sensor_document(sensor: Sensor, pack: Pack | None) -> JsonObject:
    path = pack.path / "sensors" / sensor.entry_point if pack else sensor.entry_point
    return {
        **_place("sensor", sensor, uid="sensor_type"),
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


def alias_document(alias: ActionAlias) -> JsonObject:
    return {
        **_place(
            "action_alias", alias, uid="action"
        ),  # StackStorm's own: an alias shares its kind with actions there
        "description": alias.description,
        "enabled": alias.enabled,
        "action_ref": alias.action_ref,
        "formats": alias.formats,
        "ack": alias.ack,
        "result": alias.result,
        "extra": alias.extra,
        "immutable_parameters": alias.immutable_parameters,
        "metadata_file": alias.file,
    }


def policy_document(policy: Policy) -> JsonObject:
    return {
        **_place("policy", policy),
        "description": policy.description,
        "enabled": policy.enabled,
        "resource_ref": policy.resource_ref,
        "policy_type": policy.policy_type,
        "parameters": policy.parameters,
        "metadata_file": policy.file,
    }


def policy_type_document(name: str, parameters: JsonObject) -> JsonObject:
    kind, _, short = name.partition(".")
    return {
        "id": content_id("policy_type", name),
        "uid": f"policy_type:{kind}:{short}",
        "ref": name,
        "name": short,
        "resource_type": kind,
        "description": "",
        "enabled": True,
        "module": "stormcell",
        "parameters": parameters,
    }


def rule_type_document(name: str) -> JsonObject:
    return {"id": content_id("rule_type", name), "name": name, "enabled": True, "parameters": {}}
