"""The shape of each metadata file, as StackStorm registers it: one msgspec Struct for each.

A file is checked against its Struct in microseconds; only when that fails is the JSON schema of the
same Struct used to find and word every fault (`checking.py`). So there is one source for both, and
it is this file. It is the larger half of the table of what StackStorm refuses (decision 0118); the
other half, which no shape can say, is `rules_of_kinds.py`.

Keys that StackStorm's registration fills in (`uid`, `ref`, `metadata_file`, `artifact_uri`)
are accepted, as they are there. A key without a value (null) is refused: `st2-validate-pack` does
so, and some registrars break on it.

Source: st2common/models/api/{action,rule,sensor,trigger,policy,pack}.py, models/db/*.py and
util/schema/*.json of StackStorm 3.9.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, TypeAlias, TypeVar

from msgspec import UNSET, Meta, Struct, UnsetType, field

T = TypeVar("T")
Maybe: TypeAlias = T | UnsetType
Object = dict[str, Any]
Name = Annotated[str, Meta(min_length=1)]
Count = Annotated[int, Meta(ge=0)]
SchemaType = Literal["array", "boolean", "integer", "null", "number", "object", "string"]
UNIQUE: dict[str, Any] = {"extra_json_schema": {"uniqueItems": True}}
"""For `Meta` of a list. The Struct that has it checks the same in `__post_init__`."""
ParameterName = Annotated[
    str, Meta(pattern=r"^\w+$", description="letters, digits and underscores")
]
PACK_REF = r"^[a-z0-9_]+$"
ST2_VERSION = r"^((>?>|>=|=|<=|<?<)\s*[0-9]+\.[0-9]+\.[0-9]+(\s*,)?\s*)+$"
EMAIL = r"^[A-Za-z0-9_!#$%&'*+/=?^`{}|~-]+(\.[A-Za-z0-9_!#$%&'*+/=?^`{}|~-]+)*@([A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z]{2,}$"


class Shape(Struct, kw_only=True, forbid_unknown_fields=True):
    """Base: a key that is not named here is a fault."""


class Schema(Struct, kw_only=True):
    """A JSON schema as StackStorm's meta-schema allows it: draft 4, with `required: true` on the
    property itself and not as a list, and with `secret`, `immutable` and `position`.

    Other keys are taken, as there: references of the meta-schema to itself lead StackStorm's
    validator to a copy that allows them.
    """

    beside: ClassVar = {
        "dependentRequired": {"exclusiveMaximum": ["maximum"], "exclusiveMinimum": ["minimum"]}
    }
    """What the JSON schema of this shape has on top, checked by `__post_init__` as well."""

    id: Maybe[str] = UNSET
    schema_: Maybe[str] = field(name="$schema", default=UNSET)
    title: Maybe[str] = UNSET
    description: Maybe[str] = UNSET
    default: Any = None
    type: Maybe[SchemaType | Annotated[list[SchemaType], Meta(min_length=1, **UNIQUE)]] = UNSET
    required: bool = False
    secret: bool = False
    immutable: bool = False
    position: Maybe[Annotated[float, Meta(ge=0)]] = UNSET
    enum: Maybe[Annotated[list[Any], Meta(min_length=1, **UNIQUE)]] = UNSET
    pattern: Maybe[str] = UNSET
    multipleOf: Maybe[Annotated[float, Meta(gt=0)]] = UNSET
    maximum: Maybe[float] = UNSET
    exclusiveMaximum: Maybe[bool] = UNSET
    minimum: Maybe[float] = UNSET
    exclusiveMinimum: Maybe[bool] = UNSET
    maxLength: Maybe[Count] = UNSET
    minLength: Maybe[Count] = UNSET
    items: Maybe[Schema | Schemas] = UNSET
    additionalItems: bool | Schema = True
    maxItems: Maybe[Count] = UNSET
    minItems: Maybe[Count] = UNSET
    uniqueItems: bool = False
    properties: Maybe[dict[str, Schema]] = UNSET
    patternProperties: Maybe[dict[str, Schema]] = UNSET
    additionalProperties: bool | Schema = True
    maxProperties: Maybe[Count] = UNSET
    minProperties: Maybe[Count] = UNSET
    definitions: Maybe[dict[str, Schema]] = UNSET
    dependencies: Maybe[dict[str, Schema | Annotated[list[str], Meta(min_length=1)]]] = UNSET
    allOf: Maybe[Schemas] = UNSET
    anyOf: Maybe[Schemas] = UNSET
    oneOf: Maybe[Schemas] = UNSET
    not_: Maybe[Schema] = field(name="not", default=UNSET)

    def __post_init__(self) -> None:
        for name, (other,) in self.beside["dependentRequired"].items():
            if getattr(self, name) is not UNSET and getattr(self, other) is UNSET:
                raise ValueError(f"{name} needs {other}")
        _refuse_twins(self.enum)
        _refuse_twins(self.type)


def _refuse_twins(values: Any) -> None:
    if isinstance(values, list) and len(set(map(repr, values))) < len(values):
        raise ValueError("names a value twice")


Schemas = Annotated[list[Schema], Meta(min_length=1)]


class OutputSchema(Schema, kw_only=True):
    """Of an action's output. At its top, as at a parameter's, the type cannot be a list of types;
    and a default there, odd as it is, must be text."""

    type: Maybe[SchemaType] = UNSET
    default: str | None = None


class Parameter(OutputSchema, kw_only=True, forbid_unknown_fields=True):
    """One parameter of an action or setting of a pack. At its top no other keys are allowed."""

    default: Any = None
    position: Maybe[Count] = UNSET


Parameters = dict[ParameterName, Parameter]


class PackFile(Struct, kw_only=True):
    """`pack.yaml`. The one file in which unknown keys are welcome."""

    name: Name
    description: str
    version: str | float
    author: str
    email: Annotated[
        str, Meta(pattern=EMAIL, description="an e-mail address, such as team@example.com")
    ]
    """StackStorm's registration breaks without it, though its schema does not ask for it."""
    ref: Maybe[
        Annotated[
            str, Meta(pattern=PACK_REF, description="lower-case letters, digits and underscores")
        ]
    ] = UNSET
    keywords: Maybe[list[str]] = UNSET
    stackstorm_version: Maybe[
        Annotated[
            str,
            Meta(pattern=ST2_VERSION, description='versions of three numbers, as in ">=3.8.0"'),
        ]
    ] = UNSET
    python_versions: Maybe[
        Annotated[
            list[Literal["2", "3"]],
            Meta(min_length=1, max_length=2, **UNIQUE),
        ]
    ] = UNSET
    dependencies: Maybe[list[str]] = UNSET
    contributors: Maybe[list[Annotated[str, Meta(max_length=100)]]] = UNSET
    system: Maybe[Object] = UNSET
    files: Maybe[list[str]] = UNSET
    path: Maybe[str] = UNSET
    id: Maybe[str] = UNSET
    uid: Maybe[str] = UNSET

    def __post_init__(self) -> None:
        _refuse_twins(self.python_versions)


class Notification(Shape):
    message: Maybe[str] = UNSET
    data: Maybe[Object] = UNSET
    routes: Maybe[list[Any]] = UNSET
    channels: Maybe[list[Any]] = UNSET


class Notify(Shape):
    on_complete: Maybe[Notification] = field(name="on-complete", default=UNSET)
    on_success: Maybe[Notification] = field(name="on-success", default=UNSET)
    on_failure: Maybe[Notification] = field(name="on-failure", default=UNSET)


class Tag(Struct, kw_only=True):
    name: Annotated[str, Meta(max_length=1024)] | None = None
    value: Annotated[str, Meta(max_length=1024)] | None = None


class Content(Shape):
    """What all kinds below have in common."""

    ref: Maybe[str] = UNSET
    uid: Maybe[str] = UNSET
    pack: Maybe[str] = UNSET
    description: Maybe[str] = UNSET
    metadata_file: Maybe[str] = UNSET


class ActionFile(Content, kw_only=True):
    """`actions/*.yaml`."""

    name: Name
    runner_type: Name
    enabled: Maybe[bool] = UNSET
    entry_point: Maybe[str] = UNSET
    parameters: Maybe[Parameters] = UNSET
    output_schema: Maybe[OutputSchema] = UNSET
    tags: Maybe[list[Tag]] = UNSET
    notify: Maybe[Notify] = UNSET


class RuleTriggerFile(Struct, kw_only=True):
    """Unknown keys are allowed here by StackStorm."""

    type: Name
    description: Maybe[str] = UNSET
    parameters: Maybe[Object] = UNSET
    ref: Maybe[str] = UNSET


class RuleActionFile(Shape):
    ref: Name
    description: Maybe[str] = UNSET
    parameters: Maybe[Object] = UNSET


class RuleTypeFile(Shape):
    ref: str
    parameters: Maybe[Object] = UNSET


class RuleFile(Content, kw_only=True):
    """`rules/*.yaml`."""

    name: Name
    trigger: RuleTriggerFile
    action: RuleActionFile
    type: Maybe[RuleTypeFile] = UNSET
    criteria: Maybe[dict[str, Object]] = UNSET
    enabled: Maybe[bool] = UNSET
    context: Maybe[Object] = UNSET
    tags: Maybe[list[Tag]] = UNSET


class TriggerTypeFile(Content, kw_only=True):
    """`triggers/*.yaml`, and an item of a sensor's `trigger_types`.

    StackStorm looks at the schemas only when it uses them: a wrong one is registered, and then
    every rule with parameters and every event is refused.
    """

    name: Name
    payload_schema: Maybe[Schema] = UNSET
    parameters_schema: Maybe[Schema] = UNSET
    tags: Maybe[list[Tag]] = UNSET


class SensorFile(Content, kw_only=True):
    """`sensors/*.yaml`."""

    class_name: Name
    entry_point: Name
    artifact_uri: Maybe[str] = UNSET
    enabled: Maybe[bool] = UNSET
    trigger_types: Maybe[list[TriggerTypeFile]] = UNSET
    poll_interval: Maybe[Annotated[float, Meta(ge=4)]] = UNSET


class AliasFormat(Struct, kw_only=True):
    display: Maybe[str] = UNSET
    representation: Maybe[list[str]] = UNSET


class AliasResult(Struct, kw_only=True):
    enabled: Maybe[bool] = UNSET
    format: Maybe[str] = UNSET
    extra: Maybe[Object] = UNSET


class AliasAck(AliasResult, kw_only=True):
    append_url: Maybe[bool] = UNSET


class AliasFile(Content, kw_only=True):
    """`aliases/*.yaml`."""

    name: Name
    action_ref: Name
    formats: Annotated[list[str | AliasFormat], Meta(min_length=1)]
    enabled: Maybe[bool] = UNSET
    ack: Maybe[AliasAck] = UNSET
    result: Maybe[AliasResult] = UNSET
    extra: Maybe[Object] = UNSET
    immutable_parameters: Maybe[Object] = UNSET


class PolicyFile(Content, kw_only=True):
    """`policies/*.yaml`."""

    name: Name
    resource_ref: Name
    policy_type: Name
    enabled: Maybe[bool] = UNSET
    parameters: Maybe[Object] = UNSET
