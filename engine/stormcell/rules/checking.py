"""What is wrong with a rule's criteria and templates before any event meets it.

StackStorm refuses a criterion without a known operator or without a pattern (its
st2common/validators/api/reactor.py). The rest told here it registers, and then every event fails.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from stormcell.content.checking import closest
from stormcell.content.models import Rule
from stormcell.expressions.functions import parse_jsonpath
from stormcell.expressions.jinja import is_expression, syntax_problem
from stormcell.rules.operators import CONDITIONS, OPERATORS, REGEXES, SEARCH
from stormcell.rules.paths import plain_steps, strip_suffix

Path = tuple[str | int, ...]
Problem = tuple[Path, str, str]
"""Where (below the criterion), what is wrong, what to do."""


def criterion_problems(key: str, spec: Any, root: str = "trigger") -> Iterator[Problem]:
    """Yield what is wrong with one criterion: its key, its operator, its pattern."""
    if not isinstance(spec, Mapping):
        yield (), "must be a mapping with a type and a pattern.", ""
        return
    yield from _key_problems(key, root)
    operator = spec.get("type")
    if operator is None:
        yield (), "has no operator.", "Give it a `type`, such as equals."
    elif operator not in (*OPERATORS, SEARCH):
        yield (
            ("type",),
            f"there is no operator '{operator}'.",
            closest(operator, (*OPERATORS, SEARCH)),
        )
    elif spec.get("pattern") is None:
        needless = operator in ("exists", "nexists")
        remedy = "Any value will do, such as true." if needless else "Say what to compare with."
        yield (), "has no pattern.", remedy
    elif operator == SEARCH:
        yield from _search_problems(spec)
    else:
        yield from _pattern_problems(operator, spec["pattern"])


def _key_problems(key: str, root: str) -> Iterator[Problem]:
    path = strip_suffix(key)
    if not (path == root or path.startswith((f"{root}.", f"{root}["))):
        yield (), f"the key must start with '{root}.' to find anything.", ""
    if plain_steps(path, root) is not None:
        return
    try:
        parse_jsonpath(path)
    except Exception:  # noqa: BLE001 (jsonpath-rw raises bare exceptions)
        yield (), "the key is not a JSON path.", "Write names with dashes or dots as ['a-b']."


def _search_problems(spec: Mapping[str, Any]) -> Iterator[Problem]:
    condition, pattern = spec.get("condition"), spec["pattern"]
    if condition not in CONDITIONS:
        remedy = f"One of {', '.join(CONDITIONS)}."
        yield ("condition",), f"a search cannot have the condition '{condition}'.", remedy
    if not isinstance(pattern, Mapping):
        yield ("pattern",), "a search needs a mapping of `item.x` to criteria.", ""
        return
    for key, inner in pattern.items():
        for path, message, remedy in criterion_problems(key, inner, "item"):
            yield ("pattern", key, *path), message, remedy


def _pattern_problems(operator: str, pattern: Any) -> Iterator[Problem]:
    if OPERATORS[operator] not in REGEXES or is_expression(pattern):
        return
    if not isinstance(pattern, str):
        yield ("pattern",), f"the pattern of {operator} must be text.", ""
        return
    try:
        re.compile(pattern)
    except re.error as error:
        yield ("pattern",), f"the pattern is not a regular expression ({error}).", ""


def template_problems(rule: Rule) -> Iterator[Problem]:
    """Yield the templates that do not parse. Not done at each load: parsing them takes its time."""
    yield from _templates(("criteria",), rule.criteria)
    yield from _templates(("action", "parameters"), rule.action.parameters)


def _templates(path: Path, value: Any) -> Iterator[Problem]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _templates((*path, key), item)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _templates((*path, index), item)
    elif is_expression(value):
        problem = syntax_problem(value)
        if problem is not None:
            yield path, f"the template '{value}' does not parse ({problem}).", ""
