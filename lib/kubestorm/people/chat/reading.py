"""From what was typed to a command and its values, or to the closest thing that could have been
meant. Pure.

Nothing in a text is executed or evaluated: it is cleaned, held against the phrases, and its values
have the shapes of `phrases`. What does not fit is answered with the usage of the closest command.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from dataclasses import dataclass, field
from typing import Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

from kubestorm.people.chat.commands import COMMANDS, Command
from kubestorm.people.chat.phrases import SHAPES

LONGEST_CHARACTERS = 1000
"""No command is longer; a longer message is not read at all."""
MOST_CLOSEST = 3
_CLOSE = 0.62
_QUOTES = str.maketrans({"“": '"', "”": '"', "‘": "'", "’": "'", "\u00a0": " ", "–": "-"})
_POLITE_BEFORE = re.compile(
    r"^(?:(?:please|pls|hey|hi|ok|okay|can you|could you|now)[,]?\s+)+", re.IGNORECASE
)
_POLITE_AFTER = re.compile(
    r"(?:[\s,]+(?:please|pls|now|thanks|thank you))*[\s?!.]*$", re.IGNORECASE
)
_PAIR = re.compile(r"""(?:^|\s+)([a-z_]{1,20})=("[^"]*"|'[^']*'|[^\s"']+)$""")


class _Pair(NamedTuple):
    """`name=value` at the end of a text, and how it was typed."""

    name: str
    value: str
    typed: str


@dataclass(frozen=True)
class Understood:
    """A command and the values said with it, by their names in `phrases.SHAPES`."""

    command: Command
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Incomplete:
    """It is clear which command is meant, but not all of what it needs was said, or a value has no
    such shape.
    """

    command: Command
    problem: str


@dataclass(frozen=True)
class Unknown:
    """No command. `closest` are what might have been meant; `corrected` is the text as it would
    have been read.
    """

    said: str
    closest: Tuple[Command, ...] = ()
    corrected: str = ""


@dataclass(frozen=True)
class Unreadable:
    """Not a command at all (empty, far too long); `problem` says so."""

    problem: str


Reading = Union[Understood, Incomplete, Unknown, Unreadable]


def clean(text: str) -> str:
    """The text on one line: no control or formatting characters, plain quotes, one blank between
    words.
    """
    kept = (
        " " if character.isspace() else character
        for character in text.translate(_QUOTES)
        if character.isspace() or unicodedata.category(character)[0] != "C"
    )
    return " ".join("".join(kept).split())


def read(text: str, options: Optional[Mapping[str, str]] = None) -> Reading:
    """Read a text. `options` are `key=value` pairs that a front end has parted off already.

    Pairs at the end that are no options of the command are text, as in `because of ?page=2 id=5`.
    """
    if len(text) > LONGEST_CHARACTERS:
        return Unreadable(
            f"That message has {len(text):,} characters; a command has at most "
            f"{LONGEST_CHARACTERS:,}. I did nothing."
        )
    said, pairs = _without_pairs(clean(text))
    if not _bare(said):
        return Unreadable("Say what you want: `kubestorm help` lists it.")
    pairs += [_Pair(name, value, _as_typed(name, value)) for name, value in (options or {}).items()]
    found = _read(said, pairs)
    if isinstance(found, Understood):
        return found
    known = _options_of(found.command) if isinstance(found, Incomplete) else SHAPES
    foreign = [index for index, pair in enumerate(pairs, 1) if pair.name not in known]
    if foreign:
        words = [said, *(pair.typed for pair in pairs[: foreign[-1]])]
        whole = _read(" ".join(words), pairs[foreign[-1] :])
        return whole if isinstance(whole, Understood) else found
    return found


def _as_typed(name: str, value: str) -> str:
    return f'{name}="{value}"' if " " in value else f"{name}={value}"


def _read(said: str, pairs: Sequence[_Pair]) -> Union[Understood, Incomplete, Unknown]:
    said = _bare(said)
    if said.lower() == "help" or said.lower().startswith("help "):
        said = f"kubestorm {said}"
    for command in COMMANDS:
        for phrase in command.phrases:
            values = phrase.read(said)
            if values is not None:
                return _completed(command, values, {pair.name: pair.value for pair in pairs})
    return _nearly(said)


def _bare(said: str) -> str:
    return _POLITE_AFTER.sub("", _POLITE_BEFORE.sub("", said))


def check_pair(name: str, value: str) -> str:
    """What is wrong with a `key=value`, or nothing."""
    shape = SHAPES.get(name)
    if shape is None:
        return f"I know no option `{name}`."
    return "" if re.fullmatch(shape, value, re.IGNORECASE) else f"`{name}` cannot be what you gave."


def _completed(
    command: Command, values: Mapping[str, str], pairs: Mapping[str, str]
) -> Union[Understood, Incomplete]:
    allowed = _options_of(command)
    for name, value in pairs.items():
        if name not in allowed:
            offered = ", ".join(sorted(allowed)) or "none"
            return Incomplete(
                command, f"`{command.name}` has no option `{name}`; it has {offered}."
            )
        problem = check_pair(name, value)
        if problem:
            return Incomplete(command, problem)
    merged = {**values, **pairs}
    missing = [name for name in command.required if not merged.get(name)]
    if missing:
        return Incomplete(command, f"I need the {' and the '.join(missing)}.")
    return Understood(command, _normal(merged))


def _options_of(command: Command) -> List[str]:
    return sorted({name for phrase in command.phrases for name in phrase.expression.groupindex})


def _normal(values: Mapping[str, str]) -> Dict[str, str]:
    """Names in small letters, as Kubernetes has them; `namespace/name` parted; engines by their
    full names.
    """
    found = {name: value.strip() for name, value in values.items()}
    for name in ("name", "namespace", "confirm", "engine", "kind", "size"):
        if name in found:
            found[name] = found[name].lower()
    if "/" in found.get("name", ""):
        namespace, _, found["name"] = found["name"].partition("/")
        found.setdefault("namespace", namespace)
    found.update({"engine": "postgres"} if found.get("engine") in ("pg", "postgresql") else {})
    return found


def _without_pairs(text: str) -> Tuple[str, List[_Pair]]:
    """The text before the pairs at its end, and these in order."""
    pairs: List[_Pair] = []
    while True:
        match = _PAIR.search(text)
        if match is None:
            return text, pairs[::-1]
        pairs.append(_Pair(match[1], match[2].strip("\"'"), match[0].strip()))
        text = text[: match.start()].rstrip()


def _nearly(said: str) -> Union[Incomplete, Unknown]:
    words = said.lower().split()
    whole = _longest_head(words)
    if whole is not None:
        return Incomplete(whole, "That command is incomplete.")
    ranked = _ranked(words)
    commands = tuple(dict.fromkeys(command for _ratio, command, _head in ranked))[:MOST_CLOSEST]
    for _ratio, _command, head in ranked[:5]:
        corrected = " ".join([head, *said.split()[len(head.split()) :]])
        for command in COMMANDS:
            if any(phrase.read(corrected) is not None for phrase in command.phrases):
                return Unknown(
                    said, (command, *(each for each in commands if each is not command)), corrected
                )
    return Unknown(said, commands)


def _longest_head(words: Sequence[str]) -> Optional[Command]:
    best, length = None, 0
    for command in COMMANDS:
        for phrase in command.phrases:
            for head in phrase.heads:
                parts = head.split()
                if len(parts) > length and list(words[: len(parts)]) == parts:
                    best, length = command, len(parts)
    return best


def _ranked(words: Sequence[str]) -> List[Tuple[float, Command, str]]:
    """Beginnings of commands by how much the words begin like them, the closest first."""
    found: List[Tuple[float, Command, str]] = []
    for command in COMMANDS:
        best = (0.0, "")
        for head in {head for phrase in command.phrases for head in phrase.heads}:
            count = len(head.split())
            ratio = difflib.SequenceMatcher(None, " ".join(words[:count]), head).ratio()
            best = max(best, (ratio, head))
        if best[0] >= _CLOSE:
            found.append((best[0], command, best[1]))
    return sorted(found, key=lambda item: -item[0])
