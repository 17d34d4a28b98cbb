"""Which tags of a repository an Application follows, and which of two is the newer. Pure.

A push is an event, and events come late, twice and in any order: what decides is the comparison
here and never the order of arrival, so that an event of an older version does not bring it back.
"""

from __future__ import annotations

import datetime as dt
import functools
import re
from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterable, Mapping, Optional, Tuple, Union, cast

from semver import Version

from kubestorm.core import untrusted
from kubestorm.core.errors import DefinitionError
from kubestorm.core.image_names import TAG, is_attached
from kubestorm.core.versions import VersionRange, parse_range, parse_version

ORDERS = ("alphabetical", "numerical", "time")
MAX_PATTERN_LENGTH = 256
PATTERN_SECONDS = 0.05
"""For one comparison of a tag with a pattern; a good one takes microseconds."""
_BUILD = re.compile(r"(?P<branch>.+)[-._](?P<commit>[0-9a-f]{7,40}|[0-9a-f]{64})")
"""A branch's tag with the commit it was built from: 8 letters of it by our own builds, 7 or more by
git, or all. A number would also fit the branch `release-2` where `release` is followed.
"""


@dataclass(frozen=True)
class SemverRange:
    """The highest version of a range; tags that are no versions are not followed."""

    range: str
    prereleases: bool = False
    """Whether pre-releases count even where the range names none."""


@dataclass(frozen=True)
class Branch:
    """The newest tag, by time, that is the branch's name, or that and a commit (`main`,
    `main-1a2b3c4d`). `main-next-1a2b3c4d` is another branch's.
    """

    name: str
    """As it stands in tags (`building.tags.slug`)."""


@dataclass(frozen=True)
class Pattern:
    """The last tag, in an order, of those that match a regular expression as a whole."""

    regex: str
    order: str = "alphabetical"
    """`alphabetical` or `numerical` by the text of the group, or `time`."""
    group: Union[int, str] = 0
    """Number or name of the capture group that is compared; 0 is the whole tag."""


@dataclass(frozen=True)
class Tag:
    """One tag, wherever it points."""

    name: str


Follow = Union[SemverRange, Branch, Pattern, Tag]


@dataclass(frozen=True)
class Candidate:
    """A tag as it was seen at some time: when it was pushed, or else when the image was made."""

    tag: str
    digest: str
    time: Optional[dt.datetime] = None


def parse_follow(mapping: Mapping[str, Any], *, field: str = "spec.follow") -> Follow:
    """Read what a resource says. Exactly one of `semver`, `branch`, `pattern` and `tag` is given.

    Beside `semver`: `prereleases`. Beside `pattern`: `order`, and `group`, by default the first
    group of the pattern, or the whole tag where it has none. Raises DefinitionError naming the
    field.
    """
    if not isinstance(mapping, Mapping):
        raise DefinitionError(
            f"{field} must be a mapping with one of {', '.join(_PARSERS)}.", field=field
        )
    said = {key: value for key, value in mapping.items() if value is not None}
    kinds = [kind for kind in _PARSERS if kind in said]
    if len(kinds) != 1:
        found = f"found: {', '.join(kinds)}" if kinds else "found none"
        raise DefinitionError(
            f"{field} needs exactly one of {', '.join(_PARSERS)} ({found}).", field=field
        )
    kind = kinds[0]
    parse, beside = _PARSERS[kind]
    for key in said:
        if key != kind and key not in beside:
            known = ", ".join((kind, *beside))
            raise DefinitionError(
                f"{field}.{key} cannot be combined with {field}.{kind}; allowed: {known}.",
                field=f"{field}.{key}",
            )
    text = said[kind]
    if not isinstance(text, str) or not text.strip():
        raise DefinitionError(
            f"{field}.{kind} must be a non-empty string (found: {untrusted.shown(text)}).",
            field=f"{field}.{kind}",
        )
    return parse(said, field)


def matches(follow: Follow, tag: str) -> bool:
    """Whether a tag is one of those that are followed; what is attached to images never is. A
    pattern that takes too long on it does not match.
    """
    return _rank(follow, tag) is not None


def is_newer(follow: Follow, candidate: Candidate, current: Optional[Candidate]) -> bool:
    """Whether a candidate is to take the place of what is current.

    Where both rank alike (one tag that moved, or an order by time) the later one is newer, also
    where it is the same image pushed again: what is late is judged by the last push. Of two at one
    instant, or where a time is unknown, it is the candidate. What
    is not followed any more gives way to anything that is.
    """
    rank = _rank(follow, candidate.tag)
    if rank is None:
        return False
    current_rank = None if current is None else _rank(follow, current.tag)
    if current is None or current_rank is None:
        return True
    if rank != current_rank:
        return bool(rank > current_rank)
    is_same = (candidate.tag, candidate.digest) == (current.tag, current.digest)
    if candidate.time is None or current.time is None:
        return not is_same
    return candidate.time > current.time or (candidate.time == current.time and not is_same)


def needs_time(follow: Follow) -> bool:
    """Whether candidates can only be told apart by their time."""
    return isinstance(follow, Branch) or (isinstance(follow, Pattern) and follow.order == "time")


def newest(follow: Follow, candidates: Iterable[Candidate]) -> Optional[Candidate]:
    """The one of several that is to run; those that are not followed are passed over."""
    found: Optional[Candidate] = None
    for candidate in candidates:
        if is_newer(follow, candidate, found):
            found = candidate
    return found


def narrowed(follow: Follow, tags: Iterable[str]) -> Tuple[str, ...]:
    """The tags that `newest` could choose: all that rank highest, one unless only time tells them
    apart.
    """
    ranked = [
        (rank, tag) for rank, tag in ((_rank(follow, tag), tag) for tag in tags) if rank is not None
    ]
    if not ranked:
        return ()
    highest = max(rank for rank, _ in ranked)
    return tuple(tag for rank, tag in ranked if rank == highest)


def _rank(follow: Follow, tag: str) -> Any:
    """What a tag is compared by, None where it is not followed. Ranks of one Follow can be
    compared.
    """
    if is_attached(tag):
        return None
    if isinstance(follow, Tag):
        return 0 if tag == follow.name else None
    if isinstance(follow, Branch):
        return 0 if _is_of_branch(follow.name, tag) else None
    if isinstance(follow, SemverRange):
        return _version_in(follow, tag)
    return _rank_by_pattern(follow, tag)


def _version_in(follow: SemverRange, tag: str) -> Optional[Version]:
    version = parse_version(tag)
    return version if version is not None and _range(follow).admits(version) else None


@functools.lru_cache(maxsize=1024)
def _range(follow: SemverRange) -> VersionRange:
    return parse_range(follow.range, prereleases=follow.prereleases)


def _is_of_branch(name: str, tag: str) -> bool:
    built = _BUILD.fullmatch(tag)
    return tag == name or (built is not None and built["branch"] == name)


def _rank_by_pattern(follow: Pattern, tag: str) -> Any:
    try:
        match = untrusted.compile_pattern(follow.regex).fullmatch(tag, timeout=PATTERN_SECONDS)
    except TimeoutError:
        return None
    if match is None:
        return None
    if follow.order == "time":
        return 0
    text = match.group(follow.group)
    if text is None:
        return None
    if follow.order == "alphabetical":
        return text
    return untrusted.digits(text)


def _parse_semver(said: Mapping[str, Any], field: str) -> Follow:
    prereleases = said.get("prereleases", False)
    if not isinstance(prereleases, bool):
        raise DefinitionError(
            f"{field}.prereleases must be true or false (found: {untrusted.shown(prereleases)}).",
            field=f"{field}.prereleases",
        )
    try:
        parse_range(said["semver"], prereleases=prereleases)
    except DefinitionError as error:
        raise DefinitionError(f"{field}.semver: {error}.", field=f"{field}.semver") from error
    return SemverRange(said["semver"].strip(), prereleases)


def _parse_branch(said: Mapping[str, Any], field: str) -> Follow:
    name, where = said["branch"], f"{field}.branch"
    _check_tag(name, where, "a branch as it stands in tags")
    if name[-1] in "-.":
        raise DefinitionError(
            f"{where} is one branch, and none ends in {name[-1]} in a tag (found: "
            f"{untrusted.shown(name)}); for "
            f"those of several branches, use {field}.pattern with order: time.",
            field=where,
        )
    return Branch(name)


def _parse_tag(said: Mapping[str, Any], field: str) -> Follow:
    _check_tag(said["tag"], f"{field}.tag", "one tag")
    return Tag(said["tag"])


def _check_tag(text: str, field: str, what: str) -> None:
    if is_attached(text):
        raise DefinitionError(
            f"{field} must be the tag of an image, not of a signature or attestation (found: "
            f"{untrusted.shown(text)}).",
            field=field,
        )
    if not TAG.fullmatch(text):
        raise DefinitionError(
            f"{field} must be {what}: up to 128 letters, digits, _, . and -, not starting with "
            f". or - "
            f"(found: {untrusted.shown(text)}).",
            field=field,
        )


def _parse_pattern(said: Mapping[str, Any], field: str) -> Follow:
    text, order = said["pattern"], said.get("order", "alphabetical")
    if order not in ORDERS:
        raise DefinitionError(
            f"{field}.order must be one of {', '.join(ORDERS)} (found: {untrusted.shown(order)}).",
            field=f"{field}.order",
        )
    if len(text) > MAX_PATTERN_LENGTH:
        raise DefinitionError(
            f"{field}.pattern must have at most {MAX_PATTERN_LENGTH} characters (found: "
            f"{len(text)}).",
            field=f"{field}.pattern",
        )
    try:
        compiled = untrusted.compile_pattern(text)
    except DefinitionError as error:
        raise DefinitionError(
            f"{field}.pattern: not a regular expression: {error}.", field=f"{field}.pattern"
        ) from error
    _check_pace(compiled, text, f"{field}.pattern")
    return Pattern(text, order, _group(compiled, said.get("group"), f"{field}.group"))


def _group(compiled: Any, group: Any, field: str) -> Union[int, str]:
    if group is None:
        return 1 if compiled.groups else 0
    number = untrusted.digits(group)
    group = group if number is None else number
    is_known = (
        group in compiled.groupindex
        if isinstance(group, str)
        else isinstance(group, int)
        and (not isinstance(group, bool) and 0 <= group <= compiled.groups)
    )
    if not is_known:
        names = ", ".join(compiled.groupindex)
        raise DefinitionError(
            f"{field} must be the number of a group of the pattern, 0 to {compiled.groups}"
            f"{f', or one of {names}' if names else ''} (found: {untrusted.shown(group)}).",
            field=field,
        )
    return cast("Union[int, str]", group)


def _check_pace(compiled: Any, text: str, field: str) -> None:
    """Refuse what backtracks for ever. A few tags made of the pattern's own letters show the usual
    cases.
    """
    letters = sorted({*"a0A", *(letter for letter in text if TAG.fullmatch(letter))})
    try:
        for letter in letters:
            compiled.fullmatch(letter * 127 + "!", timeout=PATTERN_SECONDS)
    except TimeoutError as error:
        raise DefinitionError(
            f"{field} takes too long on some tags: repeat no group whose parts fit the same "
            "letters, as in (a|aa)+.",
            field=field,
        ) from error


_PARSERS: Dict[str, Tuple[Callable[[Mapping[str, Any], str], Follow], Tuple[str, ...]]] = {
    "semver": (_parse_semver, ("prereleases",)),
    "branch": (_parse_branch, ()),
    "pattern": (_parse_pattern, ("order", "group")),
    "tag": (_parse_tag, ()),
}
