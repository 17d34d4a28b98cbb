"""Keys of criteria: JSON paths into `{trigger: payload}`, of which the first match counts.

Most keys are plain (`trigger.a.b`, `trigger['k-v']`) and become a chain of look-ups; the rest go to
jsonpath-rw, the library StackStorm uses, so that they answer alike. Source:
st2common/util/payload.py, jsonpath_rw/jsonpath.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from stormcell.expressions.functions import parse_jsonpath

Find = Callable[[Any], Any]
"""Payload -> the first value found, None where there is none."""

_STEP = re.compile(r"""\.([A-Za-z_@][A-Za-z0-9_@\-]*)|\['([^'\\*,]+)'\]|\["([^"\\*,]+)"\]""")
_MISSING = (TypeError, IndexError, KeyError, AttributeError)


def strip_suffix(key: str) -> str:
    """Drop `#n`, which lets a rule name the same key twice."""
    return key.split("#", 1)[0]


def plain_steps(key: str, root: str) -> tuple[str, ...] | None:
    """Return the field names of a plain key below `root`, or None where the key needs a JSON path
    parser.
    """
    if not key.startswith(root):
        return None
    rest, position, steps = key[len(root) :], 0, []
    while position < len(rest):
        step = _STEP.match(rest, position)
        if step is None:
            return None
        name = step.group(1) or step.group(2) or step.group(3)
        if step.group(1) == "where":  # a word of the path language, so not a field
            return None
        steps.append(name)
        position = step.end()
    return tuple(steps)


@lru_cache(maxsize=8192)
def find_plain(steps: tuple[str, ...]) -> Find:
    """Return a getter for field names; each count has its own, since matching spends its time here."""
    if not steps:
        return lambda payload: payload
    if len(steps) == 1:
        return _one(steps[0])
    if len(steps) == 2:
        return _two(*steps)
    return _many(steps)


def _one(name: str) -> Find:
    def find(payload: Any) -> Any:
        try:
            return payload[name]
        except _MISSING:
            return None

    return find


def _two(first: str, second: str) -> Find:
    def find(payload: Any) -> Any:
        try:
            return payload[first][second]
        except _MISSING:
            return None

    return find


def _many(steps: tuple[str, ...]) -> Find:
    def find(payload: Any) -> Any:
        try:
            for name in steps:
                payload = payload[name]
        except _MISSING:
            return None
        return payload

    return find


def find_jsonpath(key: str, scope: dict[str, Any]) -> Any:
    """Return the first match of any JSON path in `scope`. Raises what jsonpath-rw raises, bare
    exceptions too.
    """
    matches = parse_jsonpath(key).find(scope)
    return matches[0].value if matches else None
