"""One criterion of a rule, compiled: find a value by its key, render the pattern, apply the
operator.

Compiling takes the work that does not depend on the payload out of the matching: the key becomes a
getter, a pattern without Jinja a constant. What goes wrong while judging raises CriterionError,
whose text is the reason a person reads. Source: st2reactor/rules/filter.py of StackStorm 3.9. One
difference, on purpose: `{{ st2kv.system.x }}` in a pattern works (StackStorm fails to serialize its
own look-up object and records a failed match).
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from stormcell.conducting import Lookups
from stormcell.content.models import Rule
from stormcell.errors import Error
from stormcell.expressions.datastore import datastore_context
from stormcell.expressions.errors import ExpressionError
from stormcell.expressions.jinja import render
from stormcell.rules.operators import CONDITIONS, NEVER_RAISING, OPERATORS, SEARCH, Operator
from stormcell.rules.paths import Find, find_jsonpath, find_plain, plain_steps, strip_suffix

_VARIABLE = re.compile(r"({{)\s*(.*)\s*(}})")
_JINJA = ("{{", "{%", "{#")


class CriterionError(Error):
    """A criterion could not be judged: the rule counts as not matched, and the reason is recorded."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a criterion may read beside the payload."""

    lookups: Lookups
    now: Callable[[], dt.datetime]


@dataclass(frozen=True, slots=True)
class CriterionResult:
    """What `why` shows of one criterion."""

    key: str
    type: str
    pattern: Any
    """As rendered; as written where rendering failed."""
    value: Any
    passed: bool
    reason: str = ""
    """Why it could not be judged; empty where it could."""


class Criterion:
    """A compiled criterion. `holds` is the fast path; `examine` answers with everything that was
    looked at.
    """

    __slots__ = (
        "_find",
        "_judge",
        "_operator",
        "_scope_name",
        "key",
        "pattern",
        "static",
        "steps",
        "type",
    )

    def __init__(self, key: str, spec: Mapping[str, Any], scope_name: str = "trigger") -> None:
        self.key = key
        self.type = str(spec.get("type", "")).lower()
        self._scope_name = scope_name
        self.steps = plain_steps(strip_suffix(key), scope_name)
        self._find: Find | None = None if self.steps is None else find_plain(self.steps)
        self.pattern = spec.get("pattern")
        self.static = not (
            isinstance(self.pattern, str) and any(mark in self.pattern for mark in _JINJA)
        )
        if (
            self.static
            and isinstance(self.pattern, str)
            and ("\n" in self.pattern or "\r" in self.pattern)
        ):
            self.pattern = render(
                self.pattern, {}
            )  # Jinja drops a last newline, also of plain text
        self._operator: Operator | None = OPERATORS.get(self.type)
        self._judge = (
            _search(self.pattern, spec.get("condition")) if self.type == SEARCH else self._operate
        )

    @property
    def never_raises(self) -> bool:
        return self.static and self.steps is not None and self._operator in NEVER_RAISING

    def holds(self, payload: Any, around: Surroundings) -> bool:
        """Whether the criterion is met. Raises CriterionError where that cannot be told."""
        if self._operator is not None and self.static and self._find is not None:
            try:
                return bool(self._operator(self._find(payload), self.pattern, around.now))
            except Exception as error:  # any operator meets any value; the reason is recorded
                raise CriterionError(self.unjudged(error)) from error
        pattern = self.rendered(payload, around)
        return bool(self._judge(self.value(payload, around), pattern, around))

    def examine(self, payload: Any, around: Surroundings) -> CriterionResult:
        """Judge, and tell what was compared."""
        pattern, value = self.pattern, None
        try:
            pattern = self.rendered(payload, around)
            value = self.value(payload, around)
            passed = bool(self._judge(value, pattern, around))
        except CriterionError as error:
            return CriterionResult(self.key, self.type, pattern, value, False, str(error))
        return CriterionResult(self.key, self.type, pattern, value, passed)

    def value(self, payload: Any, around: Surroundings) -> Any:
        if self._find is not None:
            return self._find(payload)
        try:
            return find_jsonpath(strip_suffix(self.key), self._scope(payload, around))
        except Exception as error:  # jsonpath-rw raises bare exceptions for a bad path
            raise CriterionError(f"Failed transforming criteria key {self.key}: {error}") from error

    def rendered(self, payload: Any, around: Surroundings) -> Any:
        if self.static:
            return self.pattern
        try:
            return _render_pattern(str(self.pattern), self._scope(payload, around))
        except ExpressionError as error:
            message = (
                f'Failed to render pattern value "{self.pattern}" for key "{self.key}": {error}'
            )
            raise CriterionError(message) from error

    def _scope(self, payload: Any, around: Surroundings) -> dict[str, Any]:
        st2kv = datastore_context(around.lookups)
        return {self._scope_name: payload, "system": st2kv["system"], "st2kv": st2kv}

    def _operate(self, value: Any, pattern: Any, around: Surroundings) -> bool:
        if self._operator is None:
            raise CriterionError(
                f"Invalid operator: {self.type}."
                if self.type
                else f"The criterion on {self.key} names no type."
            )
        try:
            return bool(self._operator(value, pattern, around.now))
        except Exception as error:  # as in holds
            raise CriterionError(self.unjudged(error)) from error

    def unjudged(self, error: Exception) -> str:
        """Why the criterion could not be judged, as a sentence."""
        return f"There might be a problem with the criterion {self.key} ({self.type}): {error}"


def _render_pattern(pattern: str, scope: dict[str, Any]) -> Any:
    """Render a pattern; one that is a single variable keeps the variable's type."""
    if _VARIABLE.search(pattern):
        rendered = render(_VARIABLE.sub(r"\1\2 | to_complex\3", pattern), scope)
        try:
            return msgspec.json.decode(rendered)
        except msgspec.DecodeError:
            pass  # more than the variable: text it is
    return render(pattern, scope)


def _search(pattern: Any, condition: Any) -> Callable[[Any, Any, Surroundings], bool]:
    """The operator `search`: criteria on the items of a list; any/all of items, any/all of
    criteria.
    """
    inner = (
        [Criterion(key, spec, "item") for key, spec in pattern.items()]
        if isinstance(pattern, Mapping)
        else []
    )
    of_items = any if condition in ("any", "any2any") else all
    of_criteria = any if condition in ("all2any", "any2any") else all

    def judge(value: Any, _: Any, around: Surroundings) -> bool:
        if condition not in CONDITIONS:
            raise CriterionError(
                f"The '{condition}' condition is not recognized for type search, "
                "'any', 'all', 'any2any' and 'all2any' are allowed"
            )
        items = [value] if isinstance(value, dict) else value
        if not isinstance(items, list):
            raise CriterionError(
                f"search needs a list or an object, and found {type(value).__name__}."
            )
        faults: list[CriterionError] = []
        found = of_items(
            [of_criteria([_holds(one, item, around, faults) for one in inner]) for item in items]
        )
        if faults and not found:
            raise faults[0]
        return found

    return judge


def _holds(
    criterion: Criterion, item: Any, around: Surroundings, faults: list[CriterionError]
) -> bool:
    """An item on which a criterion cannot be judged does not match; others may, so it does not fail
    the whole search.
    """
    try:
        return criterion.holds(item, around)
    except CriterionError as error:
        faults.append(error)
        return False


def explain(
    rule: Rule, payload: Any, lookups: Lookups, *, now: dt.datetime | None = None
) -> list[CriterionResult]:
    """Judge every criterion of a rule, also those after the first that failed."""
    moment = now or dt.datetime.now(dt.UTC)
    around = Surroundings(lookups, lambda: moment)
    return [Criterion(key, spec).examine(payload, around) for key, spec in rule.criteria.items()]
