"""How a phrase becomes an expression: words, [what may be left out], (one|of several), {values}.
Pure.

    (deploy|roll out) [app] {name} [version] {image} [(to|in) {namespace}]

Whatever a value is, it is one of the few shapes below. What people type is only ever held against
these expressions; nothing of it is evaluated, and no shape but that of free text holds braces,
quotes or blanks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Dict, Iterator, List, Mapping, Optional, Pattern, Sequence, Tuple

MOST_HEADS = 64
GLUE = "~"
"""A colon or an @ between two values, without blanks: `{name} ~ {image}`."""
# Words of phrases, which are nobody's name: `deploy cart to prod` does not mean a version called
# "to".
STOP_WORDS = (
    "to|in|into|on|at|of|for|from|the|a|an|with|as|because|by|and|or|not|is|please|me|my|who|what|why|when|now"
    "|version|tag|namespace|reason|size|confirm|last|lines"
)
_STOP = rf"(?!(?:{STOP_WORDS})(?![A-Za-z0-9_./-]))"
_WORD = r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?"

# Kubernetes' names (RFC 1123 subdomains), tags and digests (the distribution specification's
# grammar).
NAME = rf"{_STOP}(?:{_WORD}/)?{_WORD}"
NAMESPACE = rf"{_STOP}[A-Za-z0-9](?:[A-Za-z0-9-]{{0,61}}[A-Za-z0-9])?"
IMAGE = rf"{_STOP}(?:sha256:[0-9a-f]{{6,64}}|[A-Za-z0-9_][A-Za-z0-9_.+-]{{0,127}})"
REPOSITORY = rf"{_STOP}[A-Za-z0-9][A-Za-z0-9._:/-]{{0,254}}"
SIZE = rf"{_STOP}[A-Za-z][A-Za-z0-9-]{{0,31}}"
VERSION = r"\d[0-9A-Za-z.]{0,31}"
ENGINE = r"(?:postgres(?:ql)?|mysql|mariadb|pg)"
NUMBER = r"\d{1,6}"
WORD = rf"{_STOP}[A-Za-z0-9][A-Za-z0-9_.-]{{0,62}}"
APPROVAL = rf"{_STOP}[0-9a-f]{{7}}"
FULL = r"(?:fully|full|completely|to the end|all the way)"
KIND = r"(?:application|app|database|db|build|rollout)"
TEXT = r"[^\s{}](?:[^{}]{0,498}[^\s{}])?"

SHAPES: Mapping[str, str] = {
    "name": NAME,
    "namespace": NAMESPACE,
    "image": IMAGE,
    "repository": REPOSITORY,
    "size": SIZE,
    "version": VERSION,
    "engine": ENGINE,
    "storage": NUMBER,
    "replicas": NUMBER,
    "lines": NUMBER,
    "snapshot": WORD,
    "confirm": NAME,
    "kind": KIND,
    "full": FULL,
    "reason": TEXT,
    "approval": APPROVAL,
    "topic": TEXT,
}
"""Value -> its expression. The same shapes are the patterns of the parameters of the action that
reads commands.
"""


_Part = Tuple[str, str]  # ("word" | "value" | "optional" | "choice", what is inside)


@dataclass(frozen=True)
class Phrase:
    """One way to say a command."""

    text: str
    expression: Pattern[str]
    heads: Tuple[str, ...]
    """The words it can begin with, up to its first value, in small letters: for telling what was
    nearly said.
    """

    def read(self, said: str) -> Optional[Dict[str, str]]:
        """The values in what was said; None where it is something else."""
        match = self.expression.fullmatch(said)
        if match is None:
            return None
        return {name: value for name, value in match.groupdict().items() if value is not None}

    def say(self, values: Mapping[str, str]) -> str:
        """The phrase with these values, without what may be left out; the inverse of `read`."""
        return " ".join(_said(_parts(self.text), values))


def phrase(text: str) -> Phrase:
    """Make a phrase ready. ValueError for a value without a shape, or for unclosed brackets."""
    expression = re.compile(pattern_of(text, SHAPES), re.IGNORECASE)
    return Phrase(text, expression, tuple(dict.fromkeys(_heads(text))))


def _said(parts: Sequence[_Part], values: Mapping[str, str]) -> Iterator[str]:
    for kind, inside in parts:
        if kind == "word" and inside != GLUE:
            yield inside
        elif kind == "value" and values.get(inside):
            yield values[inside]
        elif kind == "choice" or (
            kind == "optional" and any(f"{{{name}}}" in inside for name in values)
        ):
            yield from _said(_parts(_alternatives(inside)[0]), values)


def pattern_of(text: str, shapes: Mapping[str, str]) -> str:
    """The expression of a phrase, with values of these shapes."""
    return _joined(_parts(text), shapes)


def _parts(text: str) -> List[_Part]:
    parts: List[_Part] = []
    position = 0
    while position < len(text):
        character = text[position]
        if character == " ":
            position += 1
        elif character in "[({":
            end = _closing(text, position)
            kind = {"[": "optional", "(": "choice", "{": "value"}[character]
            parts.append((kind, text[position + 1 : end]))
            position = end + 1
        else:
            end = position
            while end < len(text) and text[end] not in " [({":
                end += 1
            parts.append(("word", text[position:end]))
            position = end
    return parts


def _closing(text: str, start: int) -> int:
    closes = {"[": "]", "(": ")", "{": "}"}[text[start]]
    depth = 0
    for position in range(start, len(text)):
        if text[position] == text[start]:
            depth += 1
        elif text[position] == closes:
            depth -= 1
            if depth == 0:
                return position
    raise ValueError(f"the phrase {text!r} has a bracket that does not close")


def _alternatives(text: str) -> List[str]:
    found, depth, current = [], 0, ""
    for character in text:
        depth += (character in "[({") - (character in "])}")
        if character == "|" and depth == 0:
            found.append(current)
            current = ""
        else:
            current += character
    return [*found, current]


def _joined(parts: Sequence[_Part], shapes: Mapping[str, str], *, first: bool = True) -> str:
    """Each part carries the blank before it, except the first; an optional one takes its blank
    along.
    """
    found, begun, glued = "", False, False
    for kind, inside in parts:
        beginning = first and not begun
        if inside == GLUE:
            found, glued = f"{found}[:@]", True
            continue
        if kind == "optional":
            inner = _either(inside, shapes, first=beginning)
            # An optional part at the beginning has its blank behind it.
            found += rf"(?:\s+{inner})?" if begun else rf"(?:{inner}\s+)?"
            continue
        found += r"\s+" if begun and not glued else ""
        begun, glued = True, False
        if kind == "word":
            found += inside
        elif kind == "choice":
            found += _either(inside, shapes, first=beginning)
        elif inside not in shapes:
            raise ValueError(f"no value is called {inside!r}")
        else:
            found += f"(?P<{inside}>{shapes[inside]})"
    return found


def _either(inside: str, shapes: Mapping[str, str], *, first: bool) -> str:
    choices = [_joined(_parts(item), shapes, first=first) for item in _alternatives(inside)]
    return choices[0] if len(choices) == 1 else f"(?:{'|'.join(choices)})"


def _heads(text: str) -> List[str]:
    """Every beginning made of words alone. What is optional is tried both ways; values end it."""
    heads, whole = [""], True
    for kind, inside in _parts(text):
        if kind == "word":
            heads = [f"{head} {inside}" for head in heads]
        elif kind == "value" or "{" in inside:
            whole = False
        elif kind == "choice":
            heads = [f"{head} {each}" for head in heads for each in _alternatives(inside)]
        else:
            said = [each for item in _alternatives(inside) for each in _heads(item)]
            heads = [*heads, *(f"{head} {each}" for head in heads for each in said)]
        if not whole or len(heads) > MOST_HEADS:
            break
    return [" ".join(head.lower().split()) for head in heads if head.strip()]
