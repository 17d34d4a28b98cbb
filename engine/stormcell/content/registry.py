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
from stormcell.rules.operators import HOLD_FOR_NOTHING, cannot_judge_nothing
from stormcell.rules.paths import plain_steps, strip_suffix

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
        """Return a runner by name; StackStorm's older names are understood."""
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


def _near(ref: str, known: Mapping[str, Any]) -> str:
    return _short(closest(ref, known))


def _short(hint: str) -> str:
    return hint if len(hint) < 200 else "`stormcell check` and the API list what there is."


class DefinitionWarning(DefinitionError):
    """Not right, but StackStorm registers it too: what is missing may come with another pack."""


def check_content(content: Content) -> list[DefinitionError]:
    """Return what does not fit between packs: rules, aliases and policies that name what no pack
    has (warnings, as another pack may bring it), rules whose trigger or action parameters do not
    fit, and criteria that fail on events without the value that they look at (warnings)."""
    refused = refused_rules(content)
    found: list[DefinitionError] = list(refused.values())
    for rule in content.rules.values():
        found += _check_rule(rule, content, is_refused=rule.ref in refused)
    for alias in content.aliases.values():
        found += _check_ref(
            alias.action_ref, content.actions, "action", f"{alias.pack}/{alias.file}", "action_ref"
        )
    for policy in content.policies.values():
        place = f"{policy.pack}/{policy.file}"
        found += _check_ref(policy.resource_ref, content.actions, "action", place, "resource_ref")
    return found


def refused_rules(content: Content) -> dict[str, DefinitionError]:
    """Return, by ref, the rules that StackStorm does not register, as far as that depends on
    trigger types."""
    schemas = {
        ref: CompiledSchema(kind.parameters_schema)
        for ref, kind in content.trigger_types.items()
        if kind.parameters_schema
    }
    found = {}
    for rule in content.rules.values():
        problem = _trigger_problem(rule, content, schemas)
        if problem is not None:
            file, (path, message, remedy) = f"{rule.pack}/{rule.file}", problem
            found[rule.ref] = DefinitionError(message, file=file, path=path, remedy=remedy)
    return found


def _trigger_problem(
    rule: Rule, content: Content, schemas: Mapping[str, CompiledSchema]
) -> tuple[str, str, str] | None:
    """Path, what is wrong, what to do."""
    kind, given = rule.trigger.type, rule.trigger.parameters
    if kind not in content.trigger_types:
        if given or kind.partition(".")[0] not in content.packs:
            return None  # another pack may bring it; with parameters StackStorm registers the rule
        return (
            "trigger.type",
            f"there is no trigger type '{kind}'.",
            _near(kind, content.trigger_types),
        )
    if kind not in schemas:
        return None
    remedy = f"See the parameters_schema of {kind}."
    try:
        schemas[kind].cleaned(given)
    except InvalidInputError as error:
        return "trigger.parameters", f"{error}.", remedy
    if not given:
        return "trigger", "has no parameters, and its type wants some.", remedy
    return None


def _check_rule(rule: Rule, content: Content, *, is_refused: bool) -> list[DefinitionError]:
    file = f"{rule.pack}/{rule.file}"
    found = _check_ref(rule.action.ref, content.actions, "action", file, "action.ref")
    kind = content.trigger_types.get(rule.trigger.type)
    if kind is not None:
        found += _unguarded_criteria(rule, kind, file)
    elif not is_refused:
        types = content.trigger_types
        found += _check_ref(rule.trigger.type, types, "trigger type", file, "trigger.type")
    action = content.actions.get(rule.action.ref)
    if action is not None:
        found += _check_action_parameters(rule, action, content, file)
    return found


def _unguarded_criteria(rule: Rule, kind: TriggerType, file: str) -> list[DefinitionError]:
    """StackStorm judges criteria in their order up to the first that does not hold. One that cannot
    judge a missing value raises there: a failed enforcement, and a traceback for each such event.
    """
    found: list[DefinitionError] = []
    given: set[str] = set()
    for key, criterion in rule.criteria.items():
        path, operator = strip_suffix(key), criterion["type"]
        steps = plain_steps(path, "trigger")
        if (
            path not in given
            and cannot_judge_nothing(operator, criterion["pattern"])
            and not (steps is not None and _is_always_there(kind.payload_schema, steps))
        ):
            remedy = (
                f"Put `{path}#given: {{type: exists, pattern: true}}` before it, or make it "
                f"`required: true` in the payload_schema of {kind.ref}."
            )
            message = f"fails on StackStorm for each event without {path}."
            place = f"criteria.{key}"
            found.append(DefinitionWarning(message, file=file, path=place, remedy=remedy))
        if operator not in HOLD_FOR_NOTHING:
            given.add(path)
    return found


def _is_always_there(schema: Mapping[str, Any], steps: Iterable[str]) -> bool:
    for step in steps:
        schema = (schema.get("properties") or {}).get(step) or {}
        if not schema.get("required"):
            return False
    return True


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
            f"there is no {kind} '{ref}'.", file=file, path=path, remedy=_near(ref, known)
        )
    ]
