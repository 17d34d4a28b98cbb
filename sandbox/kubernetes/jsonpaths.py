"""The JSONPath that printer columns and scale paths use: `.a.b`, `['a.b']`, `[0]`, `[*]`,
`[?(@.type=="Ready")]`.
"""

from __future__ import annotations

import functools
import re
from typing import Any

_STEP = re.compile(
    r"""\.(?P<name>[A-Za-z0-9_$-]+(?:\\\.[A-Za-z0-9_$/-]+)*)"""
    r"""|\[(?P<quote>['"])(?P<quoted>.+?)(?P=quote)\]"""
    r"""|\[(?P<index>-?\d+)\]|\[(?P<all>\*)\]|\.(?P<every>\*)"""
    r"""|\[\?\(\s*@\.(?P<field>[A-Za-z0-9_.-]+)\s*(?P<op>==|!=)\s*(?P<q>['"])(?P<value>.*?)(?P=q)\s*\)\]"""
)

Step = tuple[str, Any]


@functools.lru_cache(maxsize=1024)
def parse(path: str) -> tuple[Step, ...]:
    """The steps of a path. Raises ValueError when it is none."""
    text = path.strip().removeprefix("{").removesuffix("}").removeprefix("$")
    steps: list[Step] = []
    at = 0
    while at < len(text):
        found = _STEP.match(text, at)
        if not found:
            raise ValueError(
                f"{path!r} is not a JSONPath that columns may use; what begins at {text[at:]!r} is not understood"
            )
        steps.append(_step(found))
        at = found.end()
    return tuple(steps)


def _step(found: re.Match[str]) -> Step:
    if found["name"] or found["quoted"]:
        return "name", (found["name"] or found["quoted"]).replace("\\.", ".")
    if found["index"]:
        return "index", int(found["index"])
    if found["field"]:
        return "filter", (found["field"].split("."), found["op"] == "==", found["value"])
    return "all", None


def find(obj: Any, path: str) -> list[Any]:
    """Every value a path leads to; an empty list when there is none or the path is broken."""
    try:
        steps = parse(path)
    except ValueError:
        return []
    values = [obj]
    for kind, argument in steps:
        values = [below for value in values for below in _take(value, kind, argument)]
    return values


def _take(value: Any, kind: str, argument: Any) -> list[Any]:
    if kind == "name":
        return [value[argument]] if isinstance(value, dict) and argument in value else []
    if kind == "all":
        return (
            list(value.values())
            if isinstance(value, dict)
            else list(value)
            if isinstance(value, list)
            else []
        )
    if not isinstance(value, list):
        return []
    if kind == "index":
        return [value[argument]] if -len(value) <= argument < len(value) else []
    keys, equal, wanted = argument
    return [item for item in value if (_word(item, keys) == wanted) == equal]


def _word(item: Any, keys: list[str]) -> str | None:
    for key in keys:
        item = item.get(key) if isinstance(item, dict) else None
    return None if item is None else str(item)
