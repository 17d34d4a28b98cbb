"""Which images a change concerns: patterns of paths against the paths that changed. Pure.

Patterns read like those of a .gitignore: `*` stays within a folder, `**` goes through any number of
them, a folder's name means all below it, and `!` takes back what a pattern before it matched. They
begin at the repository's root.
"""

from __future__ import annotations

import re
from typing import Iterable, List, Optional, Pattern, Sequence, Tuple

EVERYTHING = "**"


def problem(pattern: str) -> str:
    """What is wrong with a pattern, in words to follow its field's name; empty if nothing is."""
    text = pattern[1:] if pattern.startswith("!") else pattern
    if not text or text.startswith("/") or ".." in text.split("/"):
        return (
            "a pattern begins at the repository's root, without a slash in front and without `..`"
        )
    if "\0" in text or "\n" in text:
        return "a pattern is one line of text"
    return ""


def default_patterns(context: str) -> Tuple[str, ...]:
    """What an image is built from where nothing else is said: all of its context."""
    return (EVERYTHING,) if context in ("", ".") else (f"{context.rstrip('/')}/**",)


class PathFilter:
    """Patterns, compiled."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._rules: List[Tuple[bool, Pattern[str]]] = []
        for pattern in patterns:
            wanted = not pattern.startswith("!")
            self._rules.append(
                (wanted, re.compile(_expression(pattern if wanted else pattern[1:]), re.DOTALL))
            )

    def matches(self, path: str) -> bool:
        """Whether the last pattern that fits the path wants it."""
        found = False
        for wanted, pattern in self._rules:
            if found is not wanted and pattern.match(path):
                found = wanted
        return found

    def first(self, paths: Iterable[str]) -> Optional[str]:
        """The first of the paths that is wanted, None when none is."""
        return next((path for path in paths if self.matches(path)), None)


def _expression(pattern: str) -> str:
    """One pattern as a regular expression that has to match from the start to the end of a path."""
    parts = [part for part in pattern.split("/") if part not in ("", ".")]
    if not parts:
        return r".*\Z"
    out: List[str] = []
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        if part == "**":
            out.append(".*" if last else "(?:[^/]+/)*")
        else:
            out.append(_segment(part) + (r"(?:/.*)?" if last else "/"))
    return "".join(out) + r"\Z"


def _segment(text: str) -> str:
    """One folder's or file's name; `*` and `?` stand for characters other than a slash."""
    return "".join(
        "[^/]*" if char == "*" else "[^/]" if char == "?" else re.escape(char) for char in text
    )
