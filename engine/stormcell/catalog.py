"""What is installed, compiled for use: actions with their parameters' schemas, rules in their
index, triggers.

A catalog is a value: a reload builds a new one and the engine swaps it in whole, so that a run
never sees half of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from functools import cached_property
from typing import Any

import msgspec

from stormcell.conducting import Conductor
from stormcell.content.models import Action, Pack, Policy, Rule
from stormcell.content.registry import Content
from stormcell.content.runner_types import RunnerType
from stormcell.content.schemas import CompiledSchema, parameters_schema
from stormcell.errors import InvalidInputError, NotFoundError
from stormcell.expressions.jinja import is_expression
from stormcell.expressions.schemas import cast, merge_schemas, validate_parameters
from stormcell.rules.index import RuleIndex

WEBHOOK_TYPE = "core.st2.webhook"
WORKFLOW_RUNNERS = frozenset({"action-chain", "orquesta"})
Schemas = dict[str, dict[str, Any]]


class Trigger(msgspec.Struct, frozen=True, kw_only=True):
    """A trigger type with parameters; the type alone where it takes none."""

    ref: str
    type: str
    parameters: dict[str, Any] = {}

    @property
    def pack(self) -> str:
        return self.type.partition(".")[0]

    @property
    def name(self) -> str:
        return self.ref.partition(".")[2]


def trigger_for(trigger_type: str, parameters: Mapping[str, Any]) -> Trigger:
    """Name a trigger: the type's ref, or for one with parameters `<pack>.<hash>`, the same at each
    start.
    """
    if not parameters:
        return Trigger(ref=trigger_type, type=trigger_type)
    text = msgspec.json.encode([trigger_type, parameters], order="deterministic")
    pack = trigger_type.partition(".")[0]
    digest = hashlib.sha256(text).hexdigest()[:32]
    return Trigger(ref=f"{pack}.{digest}", type=trigger_type, parameters=dict(parameters))


class Catalog:
    """All content at one moment."""

    def __init__(
        self, content: Content, *, make_conductor: Callable[[Action, Pack], Conductor]
    ) -> None:
        self.content = content
        self._make_conductor = make_conductor
        self._schemas: dict[str, Schemas] = {}
        self._checks: dict[str, CompiledSchema] = {}
        self._payload_checks: dict[str, CompiledSchema] = {}
        self._conductors: dict[str, Conductor] = {}
        self._fixed: dict[str, dict[str, Any] | None] = {}

    @cached_property
    def rule_index(self) -> RuleIndex:
        return RuleIndex(self.content.rules.values())

    @cached_property
    def _policies(self) -> dict[str, list[Policy]]:
        refs = {policy.resource_ref for policy in self.content.policies.values()}
        return {ref: self.content.policies_of(ref) for ref in refs}

    def policies_of(self, action_ref: str) -> list[Policy]:
        """The enabled policies of an action, by name."""
        return self._policies.get(action_ref, [])

    @cached_property
    def wanted_types(self) -> frozenset[str]:
        """Trigger types that an enabled rule asks for."""
        return frozenset(rule.trigger.type for rule in self.content.rules.values() if rule.enabled)

    @cached_property
    def triggers(self) -> dict[str, Trigger]:
        """By ref: one for each type without parameters, and one for each (type, parameters) a rule
        names.
        """
        plain = [
            Trigger(ref=ref, type=ref)
            for ref, kind in self.content.trigger_types.items()
            if not kind.parameters_schema
        ]
        asked = [
            trigger_for(rule.trigger.type, rule.trigger.parameters)
            for rule in self.content.rules.values()
        ]
        return {trigger.ref: trigger for trigger in (*plain, *asked)}

    @cached_property
    def webhooks(self) -> dict[str, list[Trigger]]:
        """The triggers of core.st2.webhook that an enabled rule asks for, by url without slashes at
        its ends: `a` and `/a` are two triggers of one url, as in StackStorm."""
        found: dict[str, list[Trigger]] = {}
        for trigger in self.asked_triggers((WEBHOOK_TYPE,)):
            found.setdefault(str(trigger.parameters.get("url", "")).strip("/"), []).append(trigger)
        return found

    def runnable_action(self, ref: str) -> Action:
        """The action of that ref. NotFoundError where there is none, InvalidInputError where it is
        disabled."""
        action = self.content.action(ref)
        if not action.enabled:
            raise InvalidInputError(f'Unable to execute. Action "{ref}" is disabled.')
        return action

    def asked_triggers(self, types: Collection[str]) -> list[Trigger]:
        """The triggers of these types that an enabled rule asks for, each once."""
        asked = [
            trigger_for(rule.trigger.type, rule.trigger.parameters)
            for rule in self.content.rules.values()
            if rule.enabled and rule.trigger.type in types
        ]
        return list({trigger.ref: trigger for trigger in asked}.values())

    def runner_type(self, action: Action) -> RunnerType:
        return self.content.runner_type(action.runner_type)

    def is_workflow(self, action: Action) -> bool:
        return self.runner_type(action).name in WORKFLOW_RUNNERS

    def schemas(self, action: Action) -> Schemas:
        """Schemas of all parameters an execution of this action takes: the runner's and its own."""
        found = self._schemas.get(action.ref)
        if found is None:
            found = merge_schemas(
                self.runner_type(action).runner_parameters, action.parameters, action_ref=action.ref
            )
            self._schemas[action.ref] = found
        return found

    def check_parameters(self, action: Action, live: Mapping[str, Any]) -> None:
        """Raise InvalidInputError where live parameters do not fit. The compiled check says only
        "surely right"; what it doubts goes through the slow one, which has StackStorm's sentences.
        """
        check = self._checks.get(action.ref)
        if check is None:
            check = self._checks[action.ref] = CompiledSchema(
                parameters_schema(self.schemas(action))
            )
        immutable = any(self.schemas(action).get(name, {}).get("immutable") for name in live)
        if immutable or check.problems(dict(live)):
            validate_parameters(self.schemas(action), live)

    def fixed_parameters(self, rule: Rule, action: Action) -> dict[str, Any] | None:
        """The live parameters, checked, of a rule whose action has nothing to render: the same for
        every event. None for any other rule. InvalidInputError where they do not fit."""
        if rule.ref not in self._fixed:
            schemas = self.schemas(action)
            given = rule.action.parameters
            live: dict[str, Any] | None = None
            if not any(
                _may_render(value)
                for value in (*given.values(), *(s.get("default") for s in schemas.values()))
            ):
                live = {
                    name: cast(name, value, schemas.get(name) or {})
                    for name, value in given.items()
                }
                self.check_parameters(action, live)
            self._fixed[rule.ref] = live
        return self._fixed[rule.ref]

    def check_payload(self, trigger_type: str, payload: Any) -> None:
        """Raise InvalidInputError where a payload does not fit its type's schema; a type without
        one takes any.
        """
        check = self._payload_checks.get(trigger_type)
        if check is None:
            kind = self.content.trigger_types.get(trigger_type)
            check = self._payload_checks[trigger_type] = CompiledSchema(
                kind.payload_schema if kind else {}
            )
        problems = check.problems(payload)
        if problems:
            raise InvalidInputError(
                f"The payload does not fit the trigger type {trigger_type}: {'; '.join(problems)}."
            )

    def conductor(self, action: Action) -> Conductor:
        """The conductor of a chain or workflow, made once. DefinitionError where the file is wrong."""
        found = self._conductors.get(action.ref)
        if found is None:
            found = self._conductors[action.ref] = self._make_conductor(
                action, self.content.pack(action.pack)
            )
        return found

    def resolve_trigger(self, trigger: str | Mapping[str, Any]) -> Trigger | None:
        """Find what a dispatch names: a ref, or `{type, parameters}`.

        None for a type that takes parameters when none are given and for a (type, parameters) that
        no rule asks for: there is no such trigger, as in StackStorm. NotFoundError for a name that
        nothing carries.
        """
        if isinstance(trigger, Mapping):
            return self.triggers.get(
                trigger_for(str(trigger.get("type")), trigger.get("parameters") or {}).ref
            )
        found = self.triggers.get(trigger)
        if found is None and trigger not in self.content.trigger_types:
            raise NotFoundError(
                f'The trigger "{trigger}" is not known. '
                "Name a trigger type as pack.name; `st2 trigger list` shows them."
            )
        return found


def _may_render(value: Any) -> bool:
    return is_expression(value if isinstance(value, str) else str(value))
