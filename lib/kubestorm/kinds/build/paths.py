"""Matches changed paths against the patterns of an image. Pure.

The patterns are those of a .gitignore at the repository's root, byte for byte (git's dir.c and
wildmatch.c; a property test asks `git check-ignore`). So one without a slash, or with one only at
its end, matches at any depth; a folder that matches includes all below it; and `!` excludes only
where no folder above matches.
"""

from __future__ import annotations

import re
from typing import Iterable, List, NamedTuple, Optional, Pattern, Sequence, Tuple

from kubestorm.core.globs import between_stars

EVERYTHING = "**"
BEFORE_SPACES = re.compile(rb"((?:\\.|[^\\])*?) *\Z", re.DOTALL)
"""A line without the spaces at its end, unless a backslash is before them."""
BEFORE_WILDCARDS = re.compile(rb"[^*?\[\\]*")
TOKEN = re.compile(
    rb"(?P<slash>\\?/)|(?P<stars>\*+)|(?P<one>\?)|(?P<bracket>\[)|(?P<char>\\.|[^\\])", re.DOTALL
)
MEMBER = re.compile(
    rb"(?P<low>\\.|[^\\])-(?P<high>\\.|[^\\\]])|\[:(?P<name>[^\]]*):\]|(?P<char>\\.|[^\\])",
    re.DOTALL,
)
CLASSES = {
    b"alnum": rb"0-9A-Za-z",
    b"alpha": rb"A-Za-z",
    b"blank": rb" \t",
    b"cntrl": rb"\x00-\x1f\x7f",
    b"digit": rb"0-9",
    b"graph": rb"!-~",
    b"lower": rb"a-z",
    b"print": rb" -~",
    b"punct": rb"!-/:-@\[-`{-~",
    b"space": rb" \t\n\r",
    b"upper": rb"A-Z",
    b"xdigit": rb"0-9A-Fa-f",
}


def problem(pattern: str) -> str:
    """What is wrong with a pattern, to follow its field's name; empty if nothing is."""
    text = pattern[1:] if pattern.startswith("!") else pattern
    if any(char in text for char in "\0\n\r"):
        return "a pattern must be a single line"
    if pattern.startswith("#"):
        return "this is a comment in a .gitignore; write \\# for a name that begins with #"
    if {".", ".."} & set(text.split("/")):
        return "patterns start at the repository's root and must not have `.` or `..`"
    if _read(pattern) is None:
        return "no path can match: it is empty, ends in a backslash, or has an invalid bracket"
    return ""


def default_patterns(context: str) -> Tuple[str, ...]:
    """The patterns of an image that has none: all of its context."""
    if context in ("", "."):
        return (EVERYTHING,)
    return ("/" + re.sub(r"([*?\[\\])", r"\\\1", context.strip("/")) + "/**",)


Part = Optional[Pattern[bytes]]
"""What one part of a path has to be; None for any number of parts."""
ANY_PART: Part = re.compile(b".*", re.DOTALL)


class _Rule(NamedTuple):
    """One pattern, compiled."""

    is_wanted: bool
    is_for_folders: bool
    is_for_names: bool
    """Whether only the last part of a path is matched."""
    plain: bytes
    """The part before the first wildcard."""
    parts: Sequence[Part]
    """The rest of the pattern."""

    def fits(self, path: bytes) -> bool:
        if self.is_for_names:
            path = path.rpartition(b"/")[2]
        return path.startswith(self.plain) and _fit(self.parts, path[len(self.plain) :].split(b"/"))


class PathFilter:
    """Compiled patterns. Those that no path can match are left out."""

    def __init__(self, patterns: Sequence[str]) -> None:
        found = (_read(pattern) for pattern in reversed(patterns))
        self._rules = [rule for rule in found if rule is not None]

    def matches(self, path: str) -> bool:
        """Whether a file matches. The last matching pattern decides: first for each folder above
        the file, from the root on, then for the file itself.
        """
        parts = _encoded(path).split(b"/")
        folders = [b"/".join(parts[:end]) for end in range(1, len(parts))]
        return any(self._is_wanted(each, is_folder=True) for each in folders) or self._is_wanted(
            _encoded(path), is_folder=False
        )

    def first(self, paths: Iterable[str]) -> Optional[str]:
        """The first of the paths that matches, or None."""
        return next((path for path in paths if self.matches(path)), None)

    def _is_wanted(self, path: bytes, *, is_folder: bool) -> bool:
        for rule in self._rules:
            if (is_folder or not rule.is_for_folders) and rule.fits(path):
                return rule.is_wanted
        return False


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _read(line: str) -> Optional[_Rule]:
    """One pattern; None for a comment, and for what no path can match."""
    text = _encoded(line)
    if text.startswith(b"#"):
        return None
    found = BEFORE_SPACES.match(text)
    text = found[1] if found else text
    is_wanted = not text.startswith(b"!")
    text = text if is_wanted else text[1:]
    is_for_folders = text.endswith(b"/")
    text = text[:-1] if is_for_folders else text
    is_for_names = b"/" not in text
    text = text[1:] if text.startswith(b"/") else text
    # git compares the part before the first wildcard separately, and then reads the rest as if it
    # started there: `a**/b` is `a`, and then `**/b`.
    plain = b"" if is_for_names else BEFORE_WILDCARDS.match(text)[0]  # type: ignore[index]
    parts = _parts(text[len(plain) :])
    if not text or parts is None:
        return None
    return _Rule(is_wanted, is_for_folders, is_for_names, plain, parts)


def _parts(pattern: bytes) -> Optional[List[Part]]:
    """A pattern with wildcards, part by part; None where nothing can match."""
    parts: List[Part] = []
    start = at = 0
    chunks = [b""]
    while True:
        token = TOKEN.match(pattern, at)
        if token is None and at < len(pattern):
            return None
        if token is None or token["slash"]:
            if re.fullmatch(rb"\*{2,}", pattern[start:at]):
                parts += [None] if token and token[0] == b"/" else [ANY_PART, None]
            else:
                parts.append(_part(chunks))
            if token is None:
                return parts
            chunks, start = [b""], token.end()
        at = token.end()
        if token["stars"]:
            chunks.append(b"")
        elif token["bracket"]:
            bracket = _bracket(pattern, at)
            if bracket is None:
                return None
            expression, at = bracket
            chunks[-1] += expression
        elif token["one"] or token["char"]:
            chunks[-1] += b"." if token["one"] else re.escape(token["char"][-1:])


def _part(chunks: Sequence[bytes]) -> Pattern[bytes]:
    """A part, given as regular expressions of a fixed length between stars."""
    expression = between_stars([chunk.decode("latin-1") for chunk in chunks])
    return re.compile(expression.encode("latin-1"), re.DOTALL)


def _fit(pattern: Sequence[Part], parts: Sequence[bytes]) -> bool:
    """Whether all parts match. Backtracks only to the last `**`, so that several take no longer."""
    at = here = 0
    again: Optional[Tuple[int, int]] = None
    while at < len(parts):
        wanted = pattern[here] if here < len(pattern) else None
        if here < len(pattern) and wanted is None:
            again = here + 1, at
            here += 1
        elif wanted is not None and wanted.fullmatch(parts[at]):
            here, at = here + 1, at + 1
        elif again is not None:
            again = again[0], again[1] + 1
            here, at = again
        else:
            return False
    return all(each is None for each in pattern[here:])


def _bracket(pattern: bytes, at: int) -> Optional[Tuple[bytes, int]]:
    """The bracket after `[` as a regular expression, and where the pattern continues; None where it
    is not closed or names an unknown class.
    """
    is_negated = pattern[at : at + 1] in (b"!", b"^")
    at += is_negated
    start, members = at, b""
    while at == start or pattern[at : at + 1] != b"]":
        found = MEMBER.match(pattern, at)
        if found is None or found["name"] not in (None, *CLASSES):
            return None
        at = found.end()
        if found["name"] is not None:
            members += CLASSES[found["name"]]
            continue
        low, high = found["low"] or found["char"], found["high"] or found["char"]
        members += re.escape(low[-1:])  # Also where the range is empty, such as in [z-a].
        if low[-1:] < high[-1:]:
            members += b"-" + re.escape(high[-1:])
    # The slash, which is in no part, keeps the set from being empty.
    return b"[" + (b"^" if is_negated else b"") + b"/" + members + b"]", at + 1
