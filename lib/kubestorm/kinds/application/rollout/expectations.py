"""What an answer to an HTTP request of a post-deploy test has to be. Pure.

What is said of an answer names what was expected and how it differs, and repeats nothing of it but
its status: an answer may be anybody's secret.
"""

from __future__ import annotations

import json
import re
from typing import Any, List, Mapping, NamedTuple, Optional, Sequence

from kubestorm.core.untrusted import MAX_BODY_BYTES, compile_pattern
from kubestorm.kinds.application.values import HttpCheck

PATTERN_SECONDS = 1.0


class HttpAnswer(NamedTuple):
    """What came back, and after how long; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: str
    seconds: float


_ABSENT = object()
_INDEX = re.compile(r"^-?[0-9]{1,9}\Z")
_STEP = re.compile(r"""\[\s*'([^']*)'\s*\]|\[\s*"([^"]*)"\s*\]|\[(-?\d+)\]|([^.\[\]]+)""")


def unmet(check: HttpCheck, answer: HttpAnswer) -> Optional[str]:
    """The first expectation that an answer does not meet, as a sentence; None if it meets all."""
    if answer.status != check.status:
        return f"GET {check.path} answered {answer.status}, expected {check.status}"
    if check.within_seconds is not None and answer.seconds > check.within_seconds:
        return (
            f"GET {check.path} took {answer.seconds:.2f} s, expected at most "
            f"{check.within_seconds:g} s"
        )
    if check.contains is not None and check.contains not in answer.body:
        return f"GET {check.path}: the answer does not contain {check.contains!r}{_cut(answer)}"
    if check.matches is not None and not _matches(check.matches, answer.body):
        return f"GET {check.path}: the answer does not match {check.matches!r}{_cut(answer)}"
    for name, wanted in check.expect_headers.items():
        found = answer.headers.get(name.lower())
        if found != wanted:
            differs = "is absent" if found is None else "has another value"
            return f"GET {check.path}: header {name} {differs}, expected {wanted!r}"
    return _unmet_json(check, answer)


def _matches(pattern: str, body: str) -> bool:
    try:
        found = compile_pattern(pattern).search(body, timeout=PATTERN_SECONDS)
        return found is not None
    except TimeoutError:
        return False  # a pattern that goes astray must not hold the worker


def _unmet_json(check: HttpCheck, answer: HttpAnswer) -> Optional[str]:
    if not check.json:
        return None
    try:
        document = json.loads(answer.body)
    except (ValueError, RecursionError):
        return f"GET {check.path}: the answer is not JSON{_cut(answer)}"
    for path, wanted in check.json.items():
        found = at(document, path)
        differs = _difference(found, wanted)
        if differs:
            return f"GET {check.path}: {path} {differs}, expected {wanted!r}"
    return None


def at(document: Any, path: str) -> Any:
    """The value at a dotted path (`$.checks[0].state`, `checks.0.state`)."""
    value = document
    for part in steps_of(path):
        if isinstance(value, list) and _INDEX.match(part):
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


def _difference(found: Any, wanted: str) -> str:
    """How a value of a document differs from what was expected; empty where it does not.

    A custom resource's expectation is text; a document's value may be a number or a boolean.
    """
    if found is _ABSENT:
        return "is absent"
    if isinstance(found, str):
        return "" if found == wanted else "has another value"
    if found is None:
        return "" if wanted in ("null", "") else "is of another type"
    if isinstance(found, (dict, list)):
        return "" if _as_json(found) == wanted else "is of another type"
    said = str(found).lower() if isinstance(found, bool) else str(found)
    if said == (wanted.lower() if isinstance(found, bool) else wanted):
        return ""
    return "has another value" if type(_read(wanted)) is type(found) else "is of another type"


def _as_json(found: Any) -> Optional[str]:
    try:
        return json.dumps(found, sort_keys=True)
    except RecursionError:
        return None


def _read(wanted: str) -> Any:
    try:
        return json.loads(wanted.lower())
    except (ValueError, RecursionError):
        return wanted


def _cut(answer: HttpAnswer) -> str:
    """Whether it may be that what was not read would have fitted."""
    is_cut = len(answer.body.encode()) >= MAX_BODY_BYTES
    return f" in its first {MAX_BODY_BYTES // 1024} KiB" if is_cut else ""
