"""What is wrong with a rule before any event meets it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from stormcell.content.models import Rule
from stormcell.expressions.functions import parse_jsonpath
from stormcell.expressions.jinja import is_expression, syntax_problem
from stormcell.rules.operators import CONDITIONS, OPERATORS, REGEXES, SEARCH
from stormcell.rules.paths import plain_steps, strip_suffix


def check_rule(rule: Rule) -> list[str]:
    """Return what its author should mend, a sentence each; empty where nothing."""
    problems = [
        problem for key, spec in rule.criteria.items() for problem in _check(key, spec, "trigger")
    ]
    if rule.type not in ("standard", "backstop"):
        problems.append(f"type: '{rule.type}' is not a type of rule; use standard or backstop.")
    for name, value in rule.action.parameters.items():
        problems.extend(
            f"action.parameters.{name}: {problem}" for problem in _template_problems(value)
        )
    return problems


def _check(key: str, spec: Any, root: str) -> Iterator[str]:
    place = f"criteria.{key}"
    if not isinstance(spec, Mapping):
        yield f"{place}: must be an object with type and pattern."
        return
    yield from _check_key(place, key, root)
    kind = str(spec.get("type", "")).lower()
    if not kind:
        yield f"{place}: has no type; name an operator such as equals."
    elif kind not in OPERATORS and kind != SEARCH:
        near = difflib.get_close_matches(kind, [*OPERATORS, SEARCH], n=1)
        yield f"{place}: unknown operator '{kind}'{f'; did you mean {near[0]}?' if near else '.'}"
    if "pattern" not in spec:
        yield f"{place}: has no pattern, which every operator needs (exists and nexists too)."
    elif kind == SEARCH:
        yield from _check_search(place, spec)
    else:
        yield from _check_pattern(place, kind, spec["pattern"])


def _check_key(place: str, key: str, root: str) -> Iterator[str]:
    path = strip_suffix(key)
    if not (path == root or path.startswith((f"{root}.", f"{root}["))):
        yield f"{place}: the key must start with '{root}.' to find anything."
    if plain_steps(path, root) is not None:
        return
    try:
        parse_jsonpath(path)
    except Exception as error:  # noqa: BLE001 (jsonpath-rw raises bare exceptions)
        yield f"{place}: is not a JSON path ({error}); write names with dashes or dots as ['a-b']."


def _check_search(place: str, spec: Mapping[str, Any]) -> Iterator[str]:
    if spec.get("condition") not in CONDITIONS:
        yield f"{place}: search needs a condition, one of {', '.join(CONDITIONS)}."
    pattern = spec["pattern"]
    if not isinstance(pattern, Mapping):
        yield f"{place}: the pattern of search is an object of criteria on item.x."
        return
    for key, inner in pattern.items():
        yield from (f"{place}: {problem}" for problem in _check(key, inner, "item"))


def _check_pattern(place: str, kind: str, pattern: Any) -> Iterator[str]:
    yield from (f"{place}: {problem}" for problem in _template_problems(pattern))
    if OPERATORS.get(kind) not in REGEXES or is_expression(pattern):
        return
    if not isinstance(pattern, str):
        yield f"{place}: the pattern of {kind} must be text."
        return
    try:
        re.compile(pattern)
    except re.error as error:
        yield f"{place}: the pattern is not a regular expression ({error})."


def _template_problems(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _template_problems(item)
    elif isinstance(value, list):
        for item in value:
            yield from _template_problems(item)
    elif is_expression(value):
        problem = syntax_problem(value)
        if problem is not None:
            yield f"the template '{value}' does not parse ({problem})."
