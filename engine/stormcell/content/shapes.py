"""The shape of each metadata file, as StackStorm registers it: one msgspec Struct for each.

A file is checked against its Struct in microseconds; only when that fails is the JSON schema of the
same Struct used to find and word every fault (`checking.py`). So there is one source for both, and
it is this file.

Keys that StackStorm's registration fills in (`id`, `uid`, `ref`, `metadata_file`, `artifact_uri`)
are accepted, as they are there. An optional key may be null, also as there.

Source: st2common/models/api/{action,rule,sensor,trigger,policy,pack}.py and
util/schema/action_params.json of StackStorm 3.9.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct, field

Object = dict[str, Any]
Name = Annotated[str, Meta(min_length=1)]
Positive = Annotated[int, Meta(ge=0)]
SchemaType = Literal["array", "boolean", "integer", "null", "number", "object", "string"]


class Shape(Struct, kw_only=True, forbid_unknown_fields=True):
    """Base: a key that is not named here is a fault."""


class Parameter(Shape):
    """One parameter of an action or setting of a pack: JSON schema draft 4 with `required: true` on
    the property itself, and StackStorm's `secret`, `immutable` and `position`."""

    id: str | msgspec.UnsetType = msgspec.UNSET
    schema_: str | msgspec.UnsetType = field(name="$schema", default=msgspec.UNSET)
    title: str | msgspec.UnsetType = msgspec.UNSET
    description: str | msgspec.UnsetType = msgspec.UNSET
    default: Any = None
    type: SchemaType | msgspec.UnsetType = msgspec.UNSET
    required: bool = False
    secret: bool = False
    immutable: bool = False
    position: Annotated[float, Meta(ge=0)] | msgspec.UnsetType = msgspec.UNSET
    enum: Annotated[list[Any], Meta(min_length=1)] | msgspec.UnsetType = msgspec.UNSET
    pattern: str | msgspec.UnsetType = msgspec.UNSET
    multipleOf: float | msgspec.UnsetType = msgspec.UNSET
    maximum: float | msgspec.UnsetType = msgspec.UNSET
    exclusiveMaximum: bool = False
    minimum: float | msgspec.UnsetType = msgspec.UNSET
    exclusiveMinimum: bool = False
    maxLength: Positive | msgspec.UnsetType = msgspec.UNSET
    minLength: Positive | msgspec.UnsetType = msgspec.UNSET
    items: Parameter | list[Parameter] | msgspec.UnsetType = msgspec.UNSET
    additionalItems: bool | Parameter = True
    maxItems: Positive | msgspec.UnsetType = msgspec.UNSET
    minItems: Positive | msgspec.UnsetType = msgspec.UNSET
    uniqueItems: bool = False
    properties: dict[str, Parameter] | msgspec.UnsetType = msgspec.UNSET
    patternProperties: dict[str, Parameter] | msgspec.UnsetType = msgspec.UNSET
    additionalProperties: bool | Parameter = True
    maxProperties: Positive | msgspec.UnsetType = msgspec.UNSET
    minProperties: Positive | msgspec.UnsetType = msgspec.UNSET
    definitions: dict[str, Parameter] | msgspec.UnsetType = msgspec.UNSET
    dependencies: dict[str, Parameter | list[str]] | msgspec.UnsetType = msgspec.UNSET
    allOf: list[Parameter] | msgspec.UnsetType = msgspec.UNSET
    anyOf: list[Parameter] | msgspec.UnsetType = msgspec.UNSET
    oneOf: list[Parameter] | msgspec.UnsetType = msgspec.UNSET
    not_: Parameter | msgspec.UnsetType = field(name="not", default=msgspec.UNSET)


ParameterName = Annotated[str, Meta(pattern=r"^\w+$")]
Parameters = dict[ParameterName, Parameter]


class PackFile(Struct, kw_only=True):
    """`pack.yaml`. The one file in which unknown keys are welcome."""

    name: Name
    description: str
    version: str | float
    author: str
    ref: Annotated[str, Meta(pattern=r"^[a-z0-9_]+$")] | None = None
    email: str | None = None
    keywords: list[str] | None = None
    stackstorm_version: str | None = None
    python_versions: Annotated[list[Literal["2", "3"]], Meta(min_length=1, max_length=2)] | None = (
        None
    )
    dependencies: list[str] | None = None
    contributors: list[Annotated[str, Meta(max_length=100)]] | None = None
    files: list[str] | None = None
    system: Object | None = None
    path: str | None = None


class Notification(Shape):
    message: str | msgspec.UnsetType = msgspec.UNSET
    data: Object | msgspec.UnsetType = msgspec.UNSET
    routes: list[Any] | msgspec.UnsetType = msgspec.UNSET
    channels: list[Any] | msgspec.UnsetType = msgspec.UNSET


class Notify(Shape):
    on_complete: Notification | msgspec.UnsetType = field(name="on-complete", default=msgspec.UNSET)
    on_success: Notification | msgspec.UnsetType = field(name="on-success", default=msgspec.UNSET)
    on_failure: Notification | msgspec.UnsetType = field(name="on-failure", default=msgspec.UNSET)


class ActionFile(Shape):
    """`actions/*.yaml`."""

    name: Name
    runner_type: Name
    id: str | None = None
    ref: str | None = None
    uid: str | None = None
    pack: str | None = None
    description: str | None = None
    enabled: bool | None = None
    entry_point: str | None = None
    parameters: Parameters | None = None
    output_schema: Object | None = None
    tags: list[Object] | None = None
    notify: Notify | None = None
    metadata_file: str | None = None


class RuleTriggerFile(Struct, kw_only=True):
    """Unknown keys are allowed here by StackStorm."""

    type: Name
    description: str | None = None
    parameters: Object | None = None
    ref: str | None = None


class RuleActionFile(Shape):
    ref: Name
    description: str | None = None
    parameters: Object | None = None


class RuleTypeFile(Shape):
    ref: str
    parameters: Object | None = None


class RuleFile(Shape):
    """`rules/*.yaml`."""

    name: Name
    trigger: RuleTriggerFile
    action: RuleActionFile
    id: str | None = None
    ref: str | None = None
    uid: str | None = None
    pack: str | None = None
    description: str | None = None
    type: RuleTypeFile | None = None
    criteria: dict[str, Object] | None = None
    enabled: bool | None = None
    context: Object | None = None
    tags: list[Object] | None = None
    metadata_file: str | None = None


class TriggerTypeFile(Shape):
    """`triggers/*.yaml`, and an item of a sensor's `trigger_types`."""

    name: Name
    id: str | None = None
    ref: str | None = None
    uid: str | None = None
    pack: str | None = None
    description: str | None = None
    payload_schema: Object | None = None
    parameters_schema: Object | None = None
    tags: list[Object] | None = None
    metadata_file: str | None = None


class SensorFile(Shape):
    """`sensors/*.yaml`."""

    class_name: Name
    entry_point: Name
    id: str | None = None
    ref: str | None = None
    uid: str | None = None
    pack: str | None = None
    description: str | None = None
    artifact_uri: str | None = None
    enabled: bool | None = None
    trigger_types: list[TriggerTypeFile] | None = None
    poll_interval: Annotated[float, Meta(ge=1)] | None = None
    metadata_file: str | None = None


class AliasFormat(Struct, kw_only=True):
    display: str | None = None
    representation: str | list[str] | None = None
    match_multiple: bool | None = None


class AliasAck(Struct, kw_only=True):
    enabled: bool | None = None
    format: str | None = None
    extra: Object | None = None
    append_url: bool | None = None


class AliasResult(Struct, kw_only=True):
    enabled: bool | None = None
    format: str | None = None
    extra: Object | None = None


class AliasFile(Shape):
    """`aliases/*.yaml`."""

    name: Name
    action_ref: Name
    formats: Annotated[list[str | AliasFormat], Meta(min_length=1)]
    id: str | None = None
    ref: str | None = None
    uid: str | None = None
    pack: str | None = None
    description: str | None = None
    enabled: bool | None = None
    ack: AliasAck | None = None
    result: AliasResult | None = None
    extra: Object | None = None
    immutable_parameters: Object | None = None
    metadata_file: str | None = None


class PolicyFile(Shape):
    """`policies/*.yaml`."""

    name: Name
    resource_ref: Name
    policy_type: Name
    id: str | None = None
    ref: str | None = None
    uid: str | None = None
    pack: str | None = None
    description: str | None = None
    enabled: bool | None = None
    parameters: Object | None = None
    metadata_file: str | None = None
