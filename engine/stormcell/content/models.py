"""The content of a pack as values, field for field as StackStorm's metadata files name them.

The loader checks files against StackStorm's schemas before it builds these, so that nothing here
checks again. `file` is the path of the metadata file relative to the pack's folder.
Source of the fields: st2common/models/api/{pack,action,rule,sensor,trigger,action_alias,policy}.py
of StackStorm 3.9.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

JsonObject = dict[str, Any]


class Model(msgspec.Struct, kw_only=True, omit_defaults=False):
    """Base of the content models."""


class Item(Model, kw_only=True):
    """What every kind of content has: a name in its pack."""

    pack: str
    name: str
    file: str = ""
    """Path in the pack; empty for what the API made."""
    description: str = ""

    @property
    def ref(self) -> str:
        return f"{self.pack}.{self.name}"


class Pack(Model):
    """`pack.yaml`, and where the pack lies."""

    ref: str
    name: str
    description: str
    version: str
    author: str
    path: Path
    email: str = ""
    keywords: list[str] = []
    stackstorm_version: str = ""
    python_versions: list[str] = []
    dependencies: list[str] = []
    contributors: list[str] = []
    system: JsonObject = {}
    config_schema: JsonObject = {}
    """Name of a setting -> its JSON schema (`config.schema.yaml`); empty where the pack has none.
    """


class Action(Item, kw_only=True):
    """One runnable thing."""

    runner_type: str
    enabled: bool = True
    entry_point: str = ""
    """Path relative to the pack's `actions/`; empty for runners that need none."""
    parameters: dict[str, JsonObject] = {}
    """Name -> JSON schema, with StackStorm's `required: true`, `immutable`, `secret`, `position`.
    """
    tags: list[JsonObject] = []
    notify: JsonObject = {}
    output_schema: JsonObject = {}
    metadata_hash: str = ""


class RuleAction(Model):
    """The `action` part of a rule."""

    ref: str
    parameters: JsonObject = {}


class RuleTrigger(Model):
    """The `trigger` part of a rule: the type's ref, and parameters for types that have a parameters
    schema.
    """

    type: str
    parameters: JsonObject = {}


class Rule(Item, kw_only=True):
    """Which trigger leads to which action."""

    trigger: RuleTrigger
    action: RuleAction
    enabled: bool = True
    type: str = "standard"
    """`standard`, or `backstop`: tried only where no standard rule matched."""
    criteria: dict[str, JsonObject] = {}
    """Key (`trigger.a.b`, with an optional `#n`) -> {type, pattern, condition}."""
    context: JsonObject = {}
    tags: list[JsonObject] = []


class TriggerType(Item, kw_only=True):
    """A kind of event."""

    payload_schema: JsonObject = {}
    parameters_schema: JsonObject = {}
    tags: list[JsonObject] = []


class Sensor(Item, kw_only=True):
    """A class that watches something and dispatches triggers; its name is the class's."""

    entry_point: str
    """Path relative to the pack's `sensors/`."""
    enabled: bool = True
    poll_interval: int | None = None
    """Seconds between polls; None for a passive sensor."""
    trigger_types: list[str] = []
    """Refs."""


class ActionAlias(Item, kw_only=True):
    """What a person types, and the action it stands for."""

    action_ref: str
    formats: list[Any]
    enabled: bool = True
    ack: JsonObject = {}
    result: JsonObject = {}
    extra: JsonObject = {}
    immutable_parameters: JsonObject = {}


class Policy(Item, kw_only=True):
    """A rule about how often, or how many at once, an action runs."""

    resource_ref: str
    policy_type: str
    parameters: JsonObject = {}
    enabled: bool = True


class PackContent(Model):
    """One pack and all that it holds."""

    pack: Pack
    actions: list[Action] = []
    rules: list[Rule] = []
    trigger_types: list[TriggerType] = []
    sensors: list[Sensor] = []
    aliases: list[ActionAlias] = []
    policies: list[Policy] = []
