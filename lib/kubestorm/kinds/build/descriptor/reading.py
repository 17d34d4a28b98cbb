"""Parses JSON with comments, and finds the line of every value. Pure."""

from __future__ import annotations

import json
import re
from typing import Any, Dict, List, Mapping, NamedTuple, Sequence, Tuple, Union

import yaml

from kubestorm.core.errors import DefinitionError

MAX_CHARACTERS = 256 * 1024
# A string, or a comment: `// …`, `# …` to the end of the line, or `/* … */`.
TOKEN = re.compile(r'"(?:[^"\\\n]|\\.)*"|(?P<comment>//[^\n]*|#[^\n]*|/\*.*?\*/)', re.DOTALL)

Path = Tuple[Union[str, int], ...]


class Problem(NamedTuple):
    """A problem: the line (from 1; 0 for the whole document), the path in the document, and a
    sentence.
    """

    line: int
    path: str
    message: str

    def __str__(self) -> str:
        where = f"line {self.line}: " if self.line else ""
        return f"{where}{self.path + ': ' if self.path else ''}{self.message}"


class DescriptorError(DefinitionError):
    """An invalid descriptor. `problems` has all that was found, by line."""

    def __init__(self, file: str, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(problems))
        super().__init__(
            f"{file} is invalid. " + " ".join(f"{problem}." for problem in self.problems),
            field=file,
        )


class Document(NamedTuple):
    """A parsed document."""

    value: Any
    lines: Mapping[Path, int]
    """Path of a value -> its line, counted from 1."""

    def line_of(self, path: Sequence[Union[str, int]]) -> int:
        """The line of a value, or of the nearest parent that exists."""
        parts = tuple(path)
        while parts and parts not in self.lines:
            parts = parts[:-1]
        return self.lines.get(parts, 1)


def read(text: str, file: str = "default.json") -> Document:
    """Parse a document. Raises DescriptorError with the line where it is not valid JSON."""
    if len(text) > MAX_CHARACTERS:
        message = f"must have at most {MAX_CHARACTERS} characters, has {len(text)}"
        raise DescriptorError(file, [Problem(0, "", message)])
    plain = without_comments(text[1:] if text.startswith("\ufeff") else text)
    duplicates: List[str] = []

    def unique(pairs: Sequence[Tuple[str, Any]]) -> Dict[str, Any]:
        names = [name for name, _value in pairs]
        duplicates.extend(name for name in dict.fromkeys(names) if names.count(name) > 1)
        return dict(pairs)

    try:
        value = json.loads(plain, object_pairs_hook=unique, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        hint = (
            "; a comma before a closing bracket is not allowed"
            if _has_trailing_comma(plain, error.pos)
            else ""
        )
        raise DescriptorError(
            file, [Problem(error.lineno, "", f"invalid JSON: {error.msg}{hint}")]
        ) from error
    except (RecursionError, ValueError) as error:
        raise DescriptorError(file, [Problem(0, "", "invalid JSON")]) from error
    document = Document(value, _lines(plain))
    if duplicates:
        problems = [
            Problem(_last_line(plain, name), "", f"duplicate key {name!r}") for name in duplicates
        ]
        raise DescriptorError(file, problems)
    return document


def without_comments(text: str) -> str:
    """Replace comments with spaces; other characters keep their line and column."""

    def blank(found: re.Match[str]) -> str:
        return re.sub(r"[^\n]", " ", found[0]) if found["comment"] else found[0]

    return TOKEN.sub(blank, text)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not valid JSON")


def _has_trailing_comma(text: str, position: int) -> bool:
    return bool(re.search(r",\s*$", text[:position])) and text[position : position + 1] in (
        "]",
        "}",
    )


def _last_line(text: str, name: str) -> int:
    return text.count("\n", 0, text.rfind(json.dumps(name))) + 1


def _lines(text: str) -> Dict[Path, int]:
    """JSON is YAML except for tabs, and PyYAML's nodes have their line."""
    lines: Dict[Path, int] = {}
    try:
        root = yaml.compose(text.replace("\t", " "), Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        return lines
    open_nodes: List[Tuple[Path, Any]] = [((), root)]
    while open_nodes:
        path, node = open_nodes.pop()
        lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                lines[(*path, key.value)] = key.start_mark.line + 1
                open_nodes.append(((*path, key.value), value))
        elif isinstance(node, yaml.SequenceNode):
            open_nodes += [((*path, index), item) for index, item in enumerate(node.value)]
    return lines
