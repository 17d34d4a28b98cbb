"""What an answer to an HTTP request of a post-deploy test has to be. Pure."""

from __future__ import annotations

import json
import re
from typing import Any, List, Mapping, NamedTuple, Optional, Sequence

import regex

from kubestorm.application.values import HttpCheck

SHOWN = 80
PATTERN_SECONDS = 1.0


class HttpAnswer(NamedTuple):
    """What came back, and after how long; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: str
    seconds: float


_ABSENT = object()
_STEP = re.compile(r"""\[\s*'([^']*)'\s*\]|\[\s*"([^"]*)"\s*\]|\[(-?\d+)\]|([^.\[\]]+)""")


def unmet(check: HttpCheck, answer: HttpAnswer) -> Optional[str]:
    """The first expectation that an answer does not meet, as a sentence; None if it meets all."""
    if answer.status != check.status:
        return (
            f"GET {check.path} answered {answer.status}, expected {check.status}{_excerpt(answer)}"
        )
    if check.within_seconds is not None and answer.seconds > check.within_seconds:
        return (
            f"GET {check.path} took {answer.seconds:.2f} s, expected at most "
            f"{check.within_seconds:g} s"
        )
    if check.contains is not None and check.contains not in answer.body:
        return f"GET {check.path}: the answer does not contain {check.contains!r}{_excerpt(answer)}"
    if check.matches is not None and not _matches(check.matches, answer.body):
        return f"GET {check.path}: the answer does not match {check.matches!r}{_excerpt(answer)}"
    for name, wanted in check.expect_headers.items():
        found = answer.headers.get(name.lower())
        if found != wanted:
            return f"GET {check.path}: header {name} is {found!r}, expected {wanted!r}"
    return _unmet_json(check, answer)


def _matches(pattern: str, body: str) -> bool:
    try:
        return regex.search(pattern, body, timeout=PATTERN_SECONDS) is not None
    except TimeoutError:
        return False  # a pattern that goes astray must not hold the worker


def _unmet_json(check: HttpCheck, answer: HttpAnswer) -> Optional[str]:
    if not check.json:
        return None
    try:
        document = json.loads(answer.body)
    except ValueError:
        return f"GET {check.path}: the answer is no JSON{_excerpt(answer)}"
    for path, wanted in check.json.items():
        found = at(document, path)
        if found is _ABSENT:
            return f"GET {check.path}: the answer has no {path}"
        if not _same(found, wanted):
            return f"GET {check.path}: {path} is {_shown(found)}, expected {wanted!r}"
    return None


def at(document: Any, path: str) -> Any:
    """The value at a dotted path (`$.checks[0].state`, `checks.0.state`)."""
    value = document
    for part in steps_of(path):
        if isinstance(value, list) and part.lstrip("-").isdigit():
            index = int(part)
            value = value[index] if -len(value) <= index < len(value) else _ABSENT
        elif isinstance(value, dict):
            value = value.get(part, _ABSENT)
        else:
            return _ABSENT
    return value


def steps_of(path: str) -> Sequence[str]:
    """The steps of a path."""
    text = path[1:] if path.startswith("$") else path
    found: List[str] = []
    for groups in _STEP.findall(text):
        found.append("".join(groups))
    return found


def _same(found: Any, wanted: str) -> bool:
    """A custom resource's expectation is text; a document's value may be a number or a boolean."""
    if isinstance(found, bool):
        return wanted.lower() == str(found).lower()
    if found is None:
        return wanted in ("null", "")
    if isinstance(found, (dict, list)):
        return json.dumps(found, sort_keys=True) == wanted
    return str(found) == wanted


def _excerpt(answer: HttpAnswer) -> str:
    text = " ".join(answer.body.split())
    return f": {_cut(text)}" if text else ""


def _shown(value: Any) -> str:
    return _cut(json.dumps(value))


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
