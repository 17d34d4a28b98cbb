"""All rules, compiled and indexed, so that matching does not slow down as rules are added.

Rules are grouped by their trigger (type and parameters). Within a group a rule is filed under one
of its equality criteria: its key and the value it asks for. Matching looks that key up in the
payload once and meets only the rules that ask for the value found. A rule may be filed under an
equality only if the criteria before it cannot fail with an error (equality, existence, on plain
keys), so that what StackStorm records as failed is recorded here too; other rules are tried one by
one.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from stormcell.conducting import Lookups
from stormcell.content.models import Rule
from stormcell.expressions.budget import CRITERIA_SECONDS, Interrupted, Scope
from stormcell.rules.criteria import Criterion, CriterionError, CriterionResult, Surroundings
from stormcell.rules.operators import OPERATORS, equals
from stormcell.rules.paths import Find, find_plain

BACKSTOP = "backstop"


@dataclass(frozen=True, slots=True)
class Failure:
    """A rule that could not be judged; the engine records it as a failed rule enforcement."""

    rule: Rule
    reason: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """One rule of a trigger and how each of its criteria fared."""

    rule: Rule
    matched: bool
    results: tuple[CriterionResult, ...]
    reason: str = ""
    """Why it was not tried (disabled, a standard rule matched before a backstop); empty where it
    was.
    """


@dataclass(frozen=True, slots=True)
class MatchResult:
    """What a trigger instance leads to. `attempts` does its work only when asked."""

    matched: tuple[Rule, ...]
    failures: tuple[Failure, ...]
    attempts: Callable[[], list[Attempt]]


class _Compiled:
    """A rule with its criteria ready, and its place in the order rules were given."""

    __slots__ = ("criteria", "position", "rule")

    def __init__(self, position: int, rule: Rule) -> None:
        self.position = position
        self.rule = rule
        self.criteria = tuple(Criterion(key, spec) for key, spec in rule.criteria.items())

    def discriminators(self) -> list[tuple[tuple[str, ...], Any]]:
        """Equality criteria that may decide first: (steps of the key, the value asked for)."""
        found = []
        for criterion in self.criteria:
            if not criterion.never_raises or criterion.steps is None:
                break
            if OPERATORS[criterion.type] is equals and _is_scalar(criterion.pattern):
                found.append((criterion.steps, criterion.pattern))
        return found


def _is_scalar(value: Any) -> bool:
    return isinstance(value, str | int) or (isinstance(value, float) and value == value)


class _Pass:
    """The standard rules of one trigger, or its backstop rules."""

    def __init__(self, rules: list[_Compiled]) -> None:
        self.size = len(rules)
        self._others: list[_Compiled] = []
        self._filed: dict[tuple[str, ...], dict[Any, list[_Compiled]]] = {}
        options = {id(rule): rule.discriminators() for rule in rules}
        sharing = Counter(option for each in options.values() for option in each)
        users = Counter(steps for each in options.values() for steps, _ in each)
        for rule in rules:
            if not options[id(rule)]:
                self._others.append(rule)
                continue
            # The fewest rules to meet; among equals the key most rules use, to keep the look-ups
            # few.
            steps, value = min(
                options[id(rule)], key=lambda option: (sharing[option], -users[option[0]])
            )
            self._filed.setdefault(steps, {}).setdefault(value, []).append(rule)
        self._lookups: list[tuple[Find, dict[Any, list[_Compiled]]]] = [
            (find_plain(steps), filed) for steps, filed in self._filed.items()
        ]

    def match(self, payload: Any, around: Surroundings, failures: list[Failure]) -> list[Rule]:
        candidates = self._others
        for find, filed in self._lookups:
            try:
                found = filed.get(find(payload))
            except TypeError:  # a list or an object equals no scalar
                continue
            if found:
                candidates = candidates + found
        if not candidates:
            return []
        with Scope(CRITERIA_SECONDS) as scope:
            matched = [
                candidate
                for candidate in candidates
                if _holds(candidate, payload, around, failures, scope)
            ]
        if len(matched) > 1:
            matched.sort(key=lambda candidate: candidate.position)
        return [candidate.rule for candidate in matched]


def _holds(
    candidate: _Compiled,
    payload: Any,
    around: Surroundings,
    failures: list[Failure],
    scope: Scope,
) -> bool:
    if candidate.criteria and not payload:
        return False
    scope.spent = 0  # the time is for each rule
    try:
        for criterion in candidate.criteria:
            if not criterion.holds(payload, around):
                return False
    except CriterionError as error:
        reason = str(error)
    except Interrupted as error:
        if error.scope is not scope:
            raise
        reason = criterion.unjudged(scope.over())
    else:
        return True
    failures.append(
        Failure(candidate.rule, f'Failed to match rule "{candidate.rule.ref}": {reason}')
    )
    return False


class _Group:
    """The rules of one trigger."""

    def __init__(self, rules: list[_Compiled]) -> None:
        self.all = rules
        enabled = [compiled for compiled in rules if compiled.rule.enabled]
        self.standard = _Pass([compiled for compiled in enabled if compiled.rule.type != BACKSTOP])
        self.backstop = _Pass([compiled for compiled in enabled if compiled.rule.type == BACKSTOP])


def _utc_now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


class RuleIndex:
    """Which rules match. Immutable; `clock` serves the operators on time differences."""

    def __init__(
        self, rules: Iterable[Rule], *, clock: Callable[[], dt.datetime] = _utc_now
    ) -> None:
        self._clock = clock
        groups: dict[tuple[str, bytes], list[_Compiled]] = {}
        for position, rule in enumerate(rules):
            key = _trigger_key(rule.trigger.type, rule.trigger.parameters)
            groups.setdefault(key, []).append(_Compiled(position, rule))
        self._groups = {key: _Group(compiled) for key, compiled in groups.items()}

    def rules_of(self, trigger_type: str, trigger_parameters: Mapping[str, Any]) -> list[Rule]:
        """All rules of a trigger, disabled ones too."""
        group = self._groups.get(_trigger_key(trigger_type, trigger_parameters))
        return [compiled.rule for compiled in group.all] if group else []

    def match(
        self,
        trigger_type: str,
        trigger_parameters: Mapping[str, Any],
        payload: Any,
        lookups: Lookups,
    ) -> MatchResult:
        """Return the rules that match, in the order they were given; backstop rules only where no
        standard one did.
        """
        group = self._groups.get(_trigger_key(trigger_type, trigger_parameters))
        if group is None:
            return _NOTHING
        around = Surroundings(lookups, self._clock)
        failures: list[Failure] = []
        matched = group.standard.match(payload, around, failures)
        standard_matched = bool(matched)
        if not matched and group.backstop.size:
            matched = group.backstop.match(payload, around, failures)
        return MatchResult(
            tuple(matched),
            tuple(failures),
            lambda: _attempts(group, payload, around, standard_matched),
        )


def _attempts(
    group: _Group, payload: Any, around: Surroundings, standard_matched: bool
) -> list[Attempt]:
    return [_attempt(compiled, payload, around, standard_matched) for compiled in group.all]


def _attempt(
    compiled: _Compiled, payload: Any, around: Surroundings, standard_matched: bool
) -> Attempt:
    rule = compiled.rule
    if not rule.enabled:
        return Attempt(rule, False, (), "The rule is disabled.")
    if rule.type == BACKSTOP and standard_matched:
        return Attempt(
            rule, False, (), "A standard rule matched, so backstop rules were not tried."
        )
    if compiled.criteria and not payload:
        return Attempt(rule, False, (), "The payload is empty, so no criterion can hold.")
    with Scope(CRITERIA_SECONDS) as scope:
        results = tuple(
            _examine(criterion, payload, around, scope) for criterion in compiled.criteria
        )
    return Attempt(rule, all(result.passed for result in results), results)


def _examine(
    criterion: Criterion, payload: Any, around: Surroundings, scope: Scope
) -> CriterionResult:
    scope.spent = 0
    try:
        return criterion.examine(payload, around)
    except Interrupted as error:
        if error.scope is not scope:
            raise
        reason = criterion.unjudged(scope.over())
    return CriterionResult(criterion.key, criterion.type, criterion.pattern, None, False, reason)


def _trigger_key(trigger_type: str, parameters: Mapping[str, Any]) -> tuple[str, bytes]:
    return trigger_type, msgspec.json.encode(
        parameters, order="deterministic"
    ) if parameters else b""


_NOTHING = MatchResult((), (), list)
