"""Takes a Dockerfile's text apart: instructions with their flags, words, and variables. Pure. What
the instructions mean is dockerfile.py's.

Source: how BuildKit reads (moby/buildkit, frontend/dockerfile/parser and shell/lex.go), which is a
rule of its own in many places; the tests hold it as tables of cases.

- An instruction is its line and those that follow while one ends in the escape character. Comments
  and blank lines between them are left out.
- A here-document is a *word* of RUN, COPY or ADD (also below ONBUILD) that begins with `<<`, or
  with digits and `<<`. Hence `"<<X"`, `$((1<<4))` and `<<<` are none. Its body ends with a line
  that is exactly its name; with `<<-` tabs in front of that do not count.
"""

from __future__ import annotations

import json
import re
from typing import Callable, Iterator, List, NamedTuple, Optional, Pattern, Sequence, Tuple

from kubestorm.core.errors import DefinitionError
from kubestorm.core.globs import between_stars
from kubestorm.core.untrusted import shown

ESCAPES = ("\\", "`")
DIRECTIVE = re.compile(r"#\s*(?P<name>[a-zA-Z][a-zA-Z0-9]*)\s*=\s*(?P<value>.+)\Z")
DIRECTIVES = ("syntax", "escape", "check")
WITH_DOCUMENTS = ("RUN", "COPY", "ADD")
DOCUMENT = re.compile(r"[0-9]*<<(?P<tabs>-?)[ \t\n\f\r]*(?P<name>(?:[^< \t\n\f\r][^<]*)?)\Z")
SPACE = re.compile(r"[ \t\v\f\r]+")
SPECIAL_VARIABLES = "@*#?-$!"
MAX_TEXT = 262144
"""Characters of a Dockerfile. What takes one apart is not made for more."""
MAX_EXPANDED = 1024
"""Characters of a text with its variables filled in; an image's name is shorter."""
MAX_DEPTH = 16
"""Of substitutions within substitutions."""

Lookup = Callable[[str], Optional[str]]
"""A variable's value by its name; None where it is not set."""


class Instruction(NamedTuple):
    """One instruction, without its here-documents."""

    line: int
    """Where it begins, counted from 1."""
    name: str
    """In capitals."""
    flags: Tuple[str, ...]
    """Such as `--from=build`."""
    rest: str

    def flag(self, name: str) -> List[str]:
        """The values of a flag, in their order."""
        start = f"--{name}="
        return [flag[len(start) :] for flag in self.flags if flag.startswith(start)]


class Parsed(NamedTuple):
    """A Dockerfile's instructions and its escape character."""

    instructions: Tuple[Instruction, ...]
    escape: str


def parse(text: str) -> Parsed:
    """Raises DefinitionError for what no builder can read, and for what is longer than MAX_TEXT."""
    if len(text) > MAX_TEXT:
        raise DefinitionError(f"The Dockerfile is longer than {MAX_TEXT} characters.")
    escape = ESCAPES[0]
    found: List[Instruction] = []
    text = text[1:] if text.startswith("\ufeff") else text
    lines = enumerate((line.rstrip("\r") for line in text.split("\n")), 1)
    in_directives = True
    for number, line in lines:
        directive = DIRECTIVE.match(line.strip()) if in_directives else None
        in_directives = directive is not None and directive["name"].lower() in DIRECTIVES
        if directive and directive["name"].lower() == "escape":
            escape = directive["value"]
            if escape not in ESCAPES:
                raise DefinitionError(f"Line {number}: the escape character must be \\ or `.")
        if _is_left_out(line):
            continue
        whole = _joined(line.lstrip(), lines, escape)
        found.append(_instruction(number, whole, escape))
        for name, ignores_tabs in _documents(whole, found[-1], escape):
            if not any(name == (each.lstrip("\t") if ignores_tabs else each) for _, each in lines):
                raise DefinitionError(
                    f"Line {number}: the here-document {name} has no end; it ends with a line that "
                    f"is exactly {name}."
                )
    return Parsed(tuple(found), escape)


def words(text: str, escape: str) -> List[str]:
    """Split at spaces; quotes and escapes stay in the words."""
    mark = re.escape(escape)
    double = rf'"(?:{mark}.|[^"])*(?:"|\Z)'
    return re.findall(rf"(?:{mark}.|{double}|'[^']*(?:'|\Z)|\S)+", text)


def expand(text: str, escape: str, lookup: Lookup) -> str:
    """Fill variables in and take quotes and escapes away, as a shell does. What is not set is
    empty. Raises DefinitionError for what is no substitution, and for what becomes too long.
    """
    return _Shell(text, escape, lookup).whole()


def _is_left_out(line: str) -> bool:
    return not line.strip() or line.lstrip().startswith("#")


def _joined(line: str, lines: Iterator[Tuple[int, str]], escape: str) -> str:
    """An instruction's first line and those of `lines` that belong to it, as one."""
    mark = re.escape(escape)
    goes_on = re.compile(rf"(^|[^{mark}]){mark}[ \t]*\Z")
    parts = [goes_on.sub(r"\1", line)]
    while goes_on.search(line):
        line = next((each for _, each in lines if not _is_left_out(each)), "")
        parts.append(goes_on.sub(r"\1", line))
    return "".join(parts)


def _instruction(line: int, text: str, escape: str) -> Instruction:
    name, *rest = SPACE.split(text.strip(), 1)
    flags, after = _flags(rest[0] if rest else "", escape)
    return Instruction(line, name.upper(), tuple(flags), after)


def _flags(text: str, escape: str) -> Tuple[List[str], str]:
    """The words in front that begin with `--`, without quotes and escapes, and what follows."""
    flags: List[str] = []
    text = text.strip()
    while text.startswith("--"):
        word, quote, at = "", "", 0
        while at < len(text) and (quote or not text[at].isspace()):
            char, at = text[at], at + 1
            if quote and char == quote:
                quote = ""
            elif not quote and char in "'\"":
                quote = char
            elif char == escape:
                word, at = word + text[at : at + 1], at + 1
            else:
                word += char
        text = text[at:].strip()
        if word == "--":
            break
        flags.append(word)
    return flags, text


def _documents(text: str, instruction: Instruction, escape: str) -> Iterator[Tuple[str, bool]]:
    """The here-documents that an instruction begins: name, and whether tabs before it do not
    count.
    """
    if instruction.name == "ONBUILD":
        instruction = _instruction(instruction.line, instruction.rest, escape)
    if instruction.name not in WITH_DOCUMENTS or "<<" not in text or _is_list(instruction.rest):
        return
    try:
        # The escape character of here-documents is always a backslash.
        found = _Shell(text, ESCAPES[0], is_raw=True).words()
    except DefinitionError:
        return  # An odd quote: the shell may know what it means, but BuildKit sees no documents.
    for each in map(DOCUMENT.match, found):
        names = _Shell(each["name"], ESCAPES[0]).words() if each else []
        if each and len(names) == 1:
            yield names[0], bool(each["tabs"])


def _is_list(text: str) -> bool:
    """Whether it is the JSON form, `["a", "b"]`, rather than the shell's."""
    try:
        return text.startswith("[") and isinstance(json.loads(text), list)
    except (ValueError, RecursionError):
        return False


class _Shell:
    """BuildKit's small shell: one pass over a text. Without `lookup` variables stay as they are
    written; with `is_raw` quotes and escapes do.
    """

    def __init__(
        self, text: str, escape: str, lookup: Optional[Lookup] = None, *, is_raw: bool = False
    ) -> None:
        self._text, self._at = text, 0
        self._escape, self._lookup, self._is_raw = escape, lookup, is_raw
        self._words: List[str] = []
        self._word = ""
        self._depth = 0

    def whole(self) -> str:
        """All of it as one word."""
        return self._until("", keeps_escapes=self._is_raw)

    def words(self) -> List[str]:
        """Split at spaces that no quotes hold together."""
        self.whole()
        self._add(" ")
        return self._words

    def _until(self, stop: str, *, keeps_escapes: bool) -> str:
        """Read up to a character, which is taken too; to the end if it is empty."""
        out = ""
        while self._at < len(self._text):
            char = self._next()
            is_plain = False
            if char == stop:
                return out
            if char == "$":
                piece, is_plain = self._variable(), True
            elif char == "'":
                piece = self._single_quoted()
            elif char == '"':
                piece = self._double_quoted(keeps_escapes=keeps_escapes)
            elif char == "<":
                piece = char + self._document_mark()
            elif char == self._escape:
                piece = (char if keeps_escapes else "") + self._next()
            else:
                piece, is_plain = char, True
            out += piece
            if self._lookup is not None and len(out) > MAX_EXPANDED:
                raise DefinitionError(
                    f"{shown(self._text)} becomes longer than {MAX_EXPANDED} characters."
                )
            self._add(piece, is_plain=is_plain)
        if stop:
            raise DefinitionError(f"{shown(self._text)} has no closing {stop}.")
        return out

    def _add(self, piece: str, *, is_plain: bool = True) -> None:
        """Add to the present word; spaces in what is plain end it."""
        for char in piece:
            if not is_plain or not char.isspace():
                self._word += char
            elif self._word:
                self._words.append(self._word)
                self._word = ""

    def _next(self) -> str:
        char = self._peek()
        self._at += 1
        return char

    def _peek(self) -> str:
        """The next character; empty at the end."""
        return self._text[self._at : self._at + 1]

    def _take(self, pattern: str) -> str:
        found = re.compile(pattern).match(self._text, self._at)
        taken = found[0] if found else ""
        self._at += len(taken)
        return taken

    def _document_mark(self) -> str:
        """After `<`: a second one, and the spaces that may part it from its name."""
        return self._take(r"<[ \t\r]*")

    def _single_quoted(self) -> str:
        inside = self._take(r"[^']*")
        if not self._next():
            raise DefinitionError(f"{shown(self._text)} has no closing single quote.")
        return f"'{inside}'" if self._is_raw else inside

    def _double_quoted(self, *, keeps_escapes: bool) -> str:
        out = ""
        while self._at < len(self._text):
            char = self._next()
            if char == '"':
                return f'"{out}"' if self._is_raw else out
            if char == "$":
                char = self._variable()
            elif char == self._escape:
                if keeps_escapes:
                    out += char
                if self._peek() in ('"', "$", self._escape):
                    char = self._next()
            out += char
        raise DefinitionError(f"{shown(self._text)} has no closing double quote.")

    def _variable(self) -> str:
        """After `$`: a variable's value, or what is put in its place."""
        if self._peek() != "{":
            name = self._name()
            return self._value(name, f"${name}") or "" if name else "$"
        self._next()
        if self._peek() in ("", "{", "}", ":") or self._depth == MAX_DEPTH:
            raise self._no_substitution()
        self._depth += 1
        value = self._in_braces()
        self._depth -= 1
        return value

    def _in_braces(self) -> str:
        name = self._name()
        how = self._next()
        if how == "}":
            return self._value(name, f"${{{name}}}") or ""
        if how == "/":
            return self._replaced(name)
        is_empty_unset = how == ":"
        if is_empty_unset:
            how = self._next()
        if not how or how not in ("-+?" if is_empty_unset else "-+?#%"):
            raise self._no_substitution()
        other = self._until("}", keeps_escapes=how in "#%")
        self._word = ""  # BuildKit's quirk: a word begins anew after a nested one.
        written = f"${{{name}{':' if is_empty_unset else ''}{how}{other}}}"
        value = self._value(name, written)
        if value == written and self._lookup is None:
            return written
        if how in "#%":
            return _trimmed(value or "", other, how)
        is_unset = value is None or (is_empty_unset and not value)
        if how == "?" and is_unset:
            raise DefinitionError(f"{name}: {other or 'it has no value'}")
        if how == "+":
            return "" if is_unset else other
        return other if is_unset else value or ""

    def _replaced(self, name: str) -> str:
        """`${name/pattern/text}`, or with `//` wherever it fits."""
        is_everywhere = bool(self._take("/"))
        pattern = self._until("/", keeps_escapes=True)
        other = self._until("}", keeps_escapes=True)
        self._word = ""
        written = f"${{{name}/{pattern}/{other}}}"
        value = self._value(name, written)
        if value is None or self._lookup is None:
            return value or ""
        glob = _glob(_tokens(pattern), is_longest=True)
        return glob.sub(lambda _: other, value, 0 if is_everywhere else 1)

    def _value(self, name: str, written: str) -> Optional[str]:
        return written if self._lookup is None else self._lookup(name)

    def _name(self) -> str:
        return self._take(rf"\d+|[{re.escape(SPECIAL_VARIABLES)}]|\w*")

    def _no_substitution(self) -> DefinitionError:
        return DefinitionError(f"{shown(self._text)} has a substitution that is not known.")


def _trimmed(value: str, pattern: str, end: str) -> str:
    """Without what fits the pattern in front (`#`) or behind (`%`): the shortest that fits, or with
    the sign doubled the longest.
    """
    is_longest = pattern.startswith(end)
    tokens = _tokens(pattern[1:] if is_longest else pattern)
    if end == "%":
        value, tokens = value[::-1], tokens[::-1]
    found = _glob(tokens, is_longest=is_longest).match(value)
    rest = value[found.end() :] if found else value
    return rest[::-1] if end == "%" else rest


def _tokens(pattern: str) -> List[str]:
    """`*`, `?` and what stands for itself; a backslash takes their meaning away."""
    return re.findall(r"\\.|.", pattern)


def _glob(tokens: Sequence[str], *, is_longest: bool) -> Pattern[str]:
    """As a regular expression that fits as much or as little as can be."""
    chunks = [""]
    for each in tokens:
        if each == "*":
            chunks.append("")
        else:
            chunks[-1] += "." if each == "?" else re.escape(each[-1])
    return re.compile(between_stars(chunks, is_longest=is_longest))
