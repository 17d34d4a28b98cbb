"""Version ranges as npm and Cargo users write them, over the versions of the `semver` package.
Pure.

A range is one or more alternatives (`||`) of comparators that must all hold (separated by spaces or
commas): `^1.2`, `~1.2`, `>=1 <2`, `1.x`, `1.2 - 1.4`. A version without operator and with all three
numbers is that version; with fewer, any that begins so. Pre-releases count only where the range
asks: by naming one of the same three numbers, as in npm, or with `prereleases`. Source: the
"Ranges" part of node-semver's README. Why not a library: docs/decisions/0080.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import List, Optional, Sequence, Tuple

from semver import Version

from kubestorm.core.errors import DefinitionError

MAX_RANGE_LENGTH = 256
_NUMBER = r"(?:0|[1-9][0-9]{0,14}|[xX*])"
_PARTIAL = re.compile(
    rf"[vV=]?(?P<major>{_NUMBER})(?:\.(?P<minor>{_NUMBER})(?:\.(?P<patch>{_NUMBER})"
    r"(?:-(?P<pre>[0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?)?)?"
)
_SIMPLE = re.compile(
    rf"(?P<op>\^|~>?|>=|<=|>|<|=)?\s*(?P<partial>{_PARTIAL.pattern})(?:$|\s*(?P<comma>,)\s*|\s+)"
)
_HYPHEN = re.compile(r"\s*(?P<low>\S+)\s+-\s+(?P<high>\S+)\s*")


@dataclass(frozen=True)
class Comparator:
    """One bound: `operator` is one of =, >, >=, <, <=."""

    operator: str
    bound: Version

    def holds(self, version: Version) -> bool:
        found = version.compare(self.bound)
        return {
            "=": found == 0,
            ">": found > 0,
            ">=": found >= 0,
            "<": found < 0,
            "<=": found <= 0,
        }[self.operator]


Alternative = Tuple[Comparator, ...]


@dataclass(frozen=True)
class VersionRange:
    """A parsed range."""

    alternatives: Tuple[Alternative, ...]
    prereleases: bool = False

    def admits(self, version: Version) -> bool:
        """Whether a version lies in the range."""
        return any(
            all(each.holds(version) for each in one) and self._admits_prerelease(one, version)
            for one in self.alternatives
        )

    def _admits_prerelease(self, alternative: Alternative, version: Version) -> bool:
        if not version.prerelease:
            return True
        if any(
            each.bound.prerelease and _numbers(each.bound) == _numbers(version)
            for each in alternative
        ):
            return True
        # "<2.0.0" is said to keep version 2 out, and so its pre-releases.
        below = any(
            each.operator == "<" and _numbers(each.bound) == _numbers(version)
            for each in alternative
        )
        return self.prereleases and not below


def parse_version(tag: str) -> Optional[Version]:
    """A tag as a version: three numbers, with or without a leading v; None for any other.

    `1.2` is none, because registries use such tags as names that move. A tag cannot hold the `+` of
    build metadata, so that `_`, which Helm writes in its place, is read as one.
    """
    text = tag[1:] if tag[:1] in ("v", "V") else tag
    head, underscore, rest = text.partition("_")
    if underscore and "+" not in head:
        text = f"{head}+{rest}"
    try:
        return Version.parse(text)
    except ValueError:
        return None


def parse_range(text: str, *, prereleases: bool = False) -> VersionRange:
    """DefinitionError for what is no range; its text has no field, as the caller knows it."""
    if len(text) > MAX_RANGE_LENGTH:
        raise DefinitionError(f"a version range has at most {MAX_RANGE_LENGTH} characters")
    return VersionRange(
        tuple(_alternative(part, prereleases) for part in text.split("||")), prereleases
    )


def _alternative(text: str, prereleases: bool) -> Alternative:
    hyphen = _HYPHEN.fullmatch(text)
    if hyphen:
        low, high = _parts(hyphen["low"], text), _parts(hyphen["high"], text)
        return (*_comparators(">=", low, prereleases), *_comparators("<=", high, prereleases))
    found: List[Comparator] = []
    rest = text.strip()
    while rest:
        match = _SIMPLE.match(rest)
        if not match:
            raise _no_range(text)
        operator = {None: "=", "~>": "~"}.get(match["op"], match["op"])
        found.extend(_comparators(operator, _parts(match["partial"], text), prereleases))
        rest = rest[match.end() :]
        if match["comma"] and not rest:
            raise _no_range(text)
    return tuple(found) or _comparators("=", _Partial((), None), prereleases)


@dataclass(frozen=True)
class _Partial:
    """The numbers that were written, up to the first wildcard."""

    numbers: Tuple[int, ...]
    prerelease: Optional[str]

    def low(self, prereleases: bool) -> Version:
        """The lowest version that begins so."""
        if len(self.numbers) == 3:
            return _version(self.numbers, self.prerelease)
        return _version(self.numbers, "0" if prereleases else None)

    def after(self, kept: int) -> Version:
        """The lowest version above all that share the first `kept` numbers. Its pre-releases are
        above them too.
        """
        numbers = [*self.numbers, 0, 0, 0][:kept]
        numbers[-1] += 1
        return _version(numbers)


def _comparators(operator: str, partial: _Partial, prereleases: bool) -> Alternative:
    low, written = partial.low(prereleases), len(partial.numbers)
    if written == 0:
        nothing = operator in ("<", ">")
        return (
            (Comparator("<", Version(0, 0, 0, prerelease="0")),)
            if nothing
            else (Comparator(">=", low),)
        )
    if operator == "^":
        leading = next(
            (place for place, number in enumerate(partial.numbers) if number), written - 1
        )
        return Comparator(">=", low), Comparator("<", partial.after(leading + 1))
    if operator == "~":
        return Comparator(">=", low), Comparator("<", partial.after(min(written, 2)))
    if written == 3:
        return (Comparator(operator, low),)
    above = partial.after(written)
    if operator == "=":
        return Comparator(">=", low), Comparator("<", above)
    if operator == ">":
        return (Comparator(">=", above.replace(prerelease="0") if prereleases else above),)
    if operator == "<=":
        return (Comparator("<", above),)
    return (Comparator(operator, low),)


def _parts(text: str, where: str) -> _Partial:
    match = _PARTIAL.fullmatch(text)
    if not match:
        raise _no_range(where)
    numbers: List[int] = []
    for name in ("major", "minor", "patch"):
        if match[name] is None or match[name] in "xX*":
            break
        numbers.append(int(match[name]))
    prerelease = match["pre"] if len(numbers) == 3 else None
    partial = _Partial(tuple(numbers), prerelease)
    if not Version.is_valid(str(partial.low(prereleases=False))):  # such as 1.2.3-01
        raise _no_range(where)
    return partial


def _version(numbers: Sequence[int], prerelease: Optional[str] = None) -> Version:
    major, minor, patch = [*numbers, 0, 0, 0][:3]
    return Version(major, minor, patch, prerelease)


def _numbers(version: Version) -> Tuple[int, int, int]:
    return version.major, version.minor, version.patch


def _no_range(text: str) -> DefinitionError:
    return DefinitionError(
        f"{text.strip()!r} is not a version range; examples: ^1.2, ~1.2, 1.x, >=1.2 <2 or "
        "1.2.3, several "
        "joined by ||"
    )
