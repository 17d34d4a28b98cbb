"""All the content that is loaded, found by ref; and the checks that need to see more than one pack."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from stormcell.content.checking import closest
from stormcell.content.models import (
    Action,
    ActionAlias,
    Pack,
    PackContent,
    Policy,
    Rule,
    Sensor,
    TriggerType,
)
from stormcell.content.runner_types import RUNNER_TYPES, RunnerType, runner_type
from stormcell.content.schemas import CompiledSchema
from stormcell.errors import DefinitionError, InvalidInputError, NotFoundError

T = TypeVar("T")


class Content:
    """The content of several packs. A later pack of the same ref takes the place of an earlier one.

    The dictionaries are public and keyed by ref; the methods of the singular name raise
    NotFoundError with a hint.
    """

    def __init__(self, packs: Iterable[PackContent]) -> None:
        by_ref = {content.pack.ref: content for content in packs}
        self.contents: dict[str, PackContent] = by_ref
        self.packs: dict[str, Pack] = {ref: content.pack for ref, content in by_ref.items()}
        contents = by_ref.values()
        self.actions: dict[str, Action] = {item.ref: item for c in contents for item in c.actions}
        self.rules: dict[str, Rule] = {item.ref: item for c in contents for item in c.rules}
        self.sensors: dict[str, Sensor] = {item.ref: item for c in contents for item in c.sensors}
        self.trigger_types: dict[str, TriggerType] = {
            item.ref: item for c in contents for item in c.trigger_types
        }
        self.aliases: dict[str, ActionAlias] = {
            item.ref: item for c in contents for item in c.aliases
        }
        self.policies: dict[str, Policy] = {item.ref: item for c in contents for item in c.policies}
        self.runner_types: dict[str, RunnerType] = RUNNER_TYPES

    def pack(self, ref: str) -> Pack:
        return _find(self.packs, ref, "pack")

    def action(self, ref: str) -> Action:
        return _find(self.actions, ref, "action")

    def rule(self, ref: str) -> Rule:
        return _find(self.rules, ref, "rule")

    def sensor(self, ref: str) -> Sensor:
        return _find(self.sensors, ref, "sensor")

    def trigger_type(self, ref: str) -> TriggerType:
        return _find(self.trigger_types, ref, "trigger type")

    def alias(self, ref: str) -> ActionAlias:
        return _find(self.aliases, ref, "action alias")

    def policy(self, ref: str) -> Policy:
        return _find(self.policies, ref, "policy")

    def runner_type(self, name: str) -> RunnerType:
        """Return a runner by name; underscores and StackStorm's older names are understood."""
        return runner_type(name) or _find(self.runner_types, name, "runner")

    def policies_of(self, action_ref: str) -> list[Policy]:
        """Return the enabled policies of an action, by name."""
        found = [p for p in self.policies.values() if p.resource_ref == action_ref and p.enabled]
        return sorted(found, key=lambda policy: policy.name)


def _find(known: Mapping[str, T], ref: str, kind: str) -> T:
    try:
        return known[ref]
    except KeyError:
        hint = closest(ref, known) if known else "None is loaded."
        raise NotFoundError(f"There is no {kind} '{ref}'. {_short(hint)}") from None


def _short(hint: str) -> str:
    return hint if len(hint) < 200 else "`stormcell check` and the API list what there is."


class DefinitionWarning(DefinitionError):
    """Not right, but StackStorm registers it too: what is missing may come with another pack."""


def check_content(packs: Iterable[PackContent]) -> list[DefinitionError]:
    """Return what does not fit between packs: rules, aliases and policies that name what no pack
    has (warnings, as another pack may bring it), and rules whose trigger parameters do not fit the
    type's schema (errors)."""
    content = Content(packs)
    found: list[DefinitionError] = []
    for rule in content.rules.values():
        found += _check_rule(rule, content)
    for alias in content.aliases.values():
        found += _check_ref(
            alias.action_ref, content.actions, "action", f"{alias.pack}/{alias.file}", "action_ref"
        )
    for policy in content.policies.values():
        place = f"{policy.pack}/{policy.file}"
        found += _check_ref(policy.resource_ref, content.actions, "action", place, "resource_ref")
    return found


def _check_rule(rule: Rule, content: Content) -> list[DefinitionError]:
    file = f"{rule.pack}/{rule.file}"
    found = _check_ref(rule.action.ref, content.actions, "action", file, "action.ref")
    found += _check_ref(
        rule.trigger.type, content.trigger_types, "trigger type", file, "trigger.type"
    )
    trigger_type = content.trigger_types.get(rule.trigger.type)
    if trigger_type is not None and trigger_type.parameters_schema:
        try:
            CompiledSchema(trigger_type.parameters_schema).cleaned(rule.trigger.parameters)
        except InvalidInputError as error:
            remedy = f"See the parameters_schema of {trigger_type.ref}."
            found.append(
                DefinitionError(f"{error}.", file=file, path="trigger.parameters", remedy=remedy)
            )
    action = content.actions.get(rule.action.ref)
    if action is not None:
        found += _check_action_parameters(rule, action, content, file)
    return found


def _check_action_parameters(
    rule: Rule, action: Action, content: Content, file: str
) -> list[DefinitionError]:
    runner = content.runner_type(action.runner_type)
    known: dict[str, Any] = {**runner.runner_parameters, **action.parameters}
    found: list[DefinitionError] = []
    for name in rule.action.parameters:
        if name not in known:
            message = f"the action {action.ref} has no parameter '{name}'."
            found.append(
                DefinitionError(
                    message, file=file, path="action.parameters", remedy=closest(name, known)
                )
            )
    for name, schema in known.items():
        needed = schema.get("required") is True and schema.get("default") is None
        if needed and name not in rule.action.parameters:
            message = f"the action {action.ref} needs the parameter '{name}'."
            found.append(
                DefinitionError(
                    message, file=file, path="action.parameters", remedy="Give it a value."
                )
            )
    return found


def _check_ref(
    ref: str, known: Mapping[str, Any], kind: str, file: str, path: str
) -> list[DefinitionError]:
    if ref in known:
        return []
    return [
        DefinitionWarning(
            f"there is no {kind} '{ref}'.", file=file, path=path, remedy=_short(closest(ref, known))
        )
    ]
