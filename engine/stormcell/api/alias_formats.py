"""What a person typed, held against the formats of action aliases: which one it is, and what its
parameters are.

Pure functions. Source of behaviour: st2common/models/utils/action_alias_utils.py and
st2common/util/actionalias_matching.py of StackStorm 3.9. A format is a regular expression in which
`{{ name }}` stands for a value and `{{ name=default }}` for one that may be left out; it is
anchored where its author did not; the last parameter takes the rest; `key=value` pairs at the end
of a command are parameters beside those of the format.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

import msgspec

from stormcell.content.models import ActionAlias
from stormcell.errors import InvalidInputError
from stormcell.expressions.budget import EXPRESSION_SECONDS, Scope

LONGEST_COMMAND_CHARACTERS = 4096
"""Formats are expressions of their authors, and their cost grows with a power of the command's
length.
"""

_VALUE = r"""(?:""|''|"(?P<{0}d>.+?)"|'(?P<{0}s>.+?)'|(?P<{0}o>\{{.+?\}})|(?P<{0}w>{1}))"""
_PLACE = re.compile(
    r"(?P<space>\s*)\{\{\s*(?P<name>\S+?)\s*(?P<default>=\s*"
    + _VALUE.format("v", ".+?")
    + r"\s*)?\}\}",
    re.DOTALL,
)
_PAIR = re.compile(r"\s*(?P<key>[^\s=]+)\s*=" + _VALUE.format("v", r"\S+") + r"(?=\s|$)", re.DOTALL)
_TAKEN = r"""["']?(?P<%s>(?:(?<=').+?(?=')|(?<=").+?(?=")|\{.+?\}|.+?))["']?"""
_VALUE_GROUPS = ("vd", "vs", "vo", "vw")


class Representation(msgspec.Struct, frozen=True, kw_only=True):
    """One way to say what an alias offers."""

    alias: ActionAlias
    display: str
    text: str
    match_multiple: bool = False


class Format(msgspec.Struct, frozen=True, kw_only=True):
    """A format made ready; `defaults` of the parameters that may be left out."""

    text: str
    expression: re.Pattern[str]
    defaults: dict[str, str]


def representations(alias: ActionAlias) -> list[Representation]:
    """What can be typed for an alias. A format that only has a `display` is help and nothing to
    type.
    """
    found: list[Representation] = []
    for given in alias.formats:
        form = given if isinstance(given, dict) else {"display": given, "representation": given}
        texts = form.get("representation") or []
        for text in [texts] if isinstance(texts, str) else texts:
            found.append(
                Representation(
                    alias=alias,
                    display=form.get("display") or "",
                    text=text,
                    match_multiple=bool(form.get("match_multiple")),
                )
            )
    return found


def displays(alias: ActionAlias) -> list[str]:
    """The lines of help of an alias."""
    found = (given.get("display") if isinstance(given, dict) else given for given in alias.formats)
    return [text for text in found if text]


def matching(command: str, aliases: Iterable[ActionAlias]) -> Representation:
    """Return the one representation a command fits: of those for a single match, and failing that
    of the others.

    InvalidInputError where none or several fit, in StackStorm's words, or where it is too long to
    be held against any.
    """
    _short_enough(command)
    with Scope(EXPRESSION_SECONDS):
        return _matching(command, aliases)


def _matching(command: str, aliases: Iterable[ActionAlias]) -> Representation:
    known = [item for alias in aliases if alias.enabled for item in representations(alias)]
    for multiple, word in ((False, ""), (True, " (multi)")):
        fitting = [
            item for item in known if item.match_multiple is multiple and _fits(item.text, command)
        ]
        if len(fitting) > 1:
            raise InvalidInputError(f"Command '{command}' matched more than 1{word} pattern")
        if fitting:
            return fitting[0]
    raise InvalidInputError(f"Command '{command}' matched no patterns")


def parameters_of(text: str, command: str, *, match_multiple: bool = False) -> list[dict[str, str]]:
    """Return the parameters a command has by a format: one set, or as many as it matches.
    InvalidInputError.
    """
    with Scope(EXPRESSION_SECONDS):
        return _parameters_of(text, command, match_multiple)


def _parameters_of(text: str, command: str, match_multiple: bool) -> list[dict[str, str]]:
    form = compiled(text)
    rest, pairs = _without_pairs(_short_enough(command))
    stream = f" {rest} "
    matches: Iterator[re.Match[str] | None]
    matches = (
        iter(form.expression.finditer(stream))
        if match_multiple
        else iter([form.expression.search(stream)])
    )
    found = [_values(form, match, command, pairs) for match in matches]
    if not found:
        raise _mismatch(command, text)
    if text and not rest.strip() and not any(any(values.values()) for values in found):
        raise InvalidInputError("No value supplied and no default value found.")
    return found


@lru_cache(maxsize=1024)
def compiled(text: str) -> Format:
    """Make a format ready. InvalidInputError where it is no regular expression."""
    defaults: dict[str, str] = {}

    def place(match: re.Match[str]) -> str:
        taken = match["space"] + _TAKEN % match["name"]
        if match["default"] is None:
            return taken
        defaults[match["name"]] = _value(match)
        return f"(?:{taken})?"

    body = _PLACE.sub(place, text)
    starts, ends = _anchors(text)
    try:
        expression = re.compile(
            ("" if starts else r"^\s*") + body + ("" if ends else r"\s*$"), re.DOTALL
        )
    except (re.error, OverflowError) as error:
        raise InvalidInputError(
            f'The format "{text}" is not a regular expression: {error}.'
        ) from error
    return Format(text=text, expression=expression, defaults=defaults)


def _fits(text: str, command: str) -> bool:
    try:
        return bool(_parameters_of(text, command, False))
    except InvalidInputError:
        return False


def _values(
    form: Format, match: re.Match[str] | None, command: str, pairs: dict[str, str]
) -> dict[str, Any]:
    if match is None:
        raise _mismatch(command, form.text)
    values = {name: value for name, value in match.groupdict().items() if value is not None}
    return {**form.defaults, **values, **pairs}


def _mismatch(command: str, text: str) -> InvalidInputError:
    return InvalidInputError(f'Command "{command}" doesn\'t match format string "{text}"')


def _short_enough(command: str) -> str:
    if len(command) > LONGEST_COMMAND_CHARACTERS:
        raise InvalidInputError(
            f"The command is longer than {LONGEST_COMMAND_CHARACTERS} characters. Say less."
        )
    return command


def _without_pairs(command: str) -> tuple[str, dict[str, str]]:
    """Part off the `key=value` pairs that end a command: from the first place after which there is
    nothing else.

    One expression for all pairs backtracks without end on hostile text; a step for each pair does
    not.
    """
    starts = [0] if command[:1] != " " else []
    starts += [match.start() for match in re.finditer(r"(?<!\s)\s", command)]
    for start in starts:
        pairs: dict[str, str] = {}
        position = start
        while match := _PAIR.match(command, position):
            pairs[match["key"]] = _value(match)
            position = match.end()
        if pairs and not command[position:].strip():
            return command[:start], pairs
    return command, {}


def _value(match: re.Match[str]) -> str:
    return next((match[group] for group in _VALUE_GROUPS if match[group] is not None), "")


def _anchors(text: str) -> tuple[bool, bool]:
    """Whether an expression says itself where it begins and ends; anchors in brackets or after a
    backslash are none.
    """
    bare = re.sub(r"\{\{.*?\}\}", "", text, flags=re.DOTALL)
    bare = re.sub(r"\\[^AZ]", "", bare)
    bare = re.sub(r"\[\^?\]?[^\]]*\]", "", bare)
    return ("^" in bare or r"\A" in bare), ("$" in bare or r"\Z" in bare)
