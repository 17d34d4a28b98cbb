"""The small part of HashiCorp's configuration language that Vault policies and Consul ACL rules are
written in, or its JSON form.

Blocks with labels, assignments, strings, numbers, booleans, lists and objects; no expressions and
no interpolation. A whole HCL 2 grammar (python-hcl2) would bring a parser generator for that, and
it refuses what HCL 1 allows in policies.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

_TOKEN = re.compile(
    r"""(?P<space>\s+|\#[^\n]*|//[^\n]*|/\*.*?\*/)
      | (?P<heredoc><<-?(?P<mark>\w+)\n(?P<text>.*?)\n[ \t]*(?P=mark))
      | (?P<string>"(?:\\.|[^"\\\n])*")
      | (?P<number>-?\d+(?:\.\d+)?(?![\w.]))
      | (?P<word>[A-Za-z_][\w.-]*)
      | (?P<mark_sign>[{}\[\]=:,])""",
    re.VERBOSE | re.DOTALL,
)


class HclError(ValueError):
    """The text is not what it should be; the message names the line."""


@dataclass
class Block:
    """`kind "label" { ... }`: its attributes by name, and the blocks within."""

    kind: str
    labels: tuple[str, ...] = ()
    attributes: dict[str, Any] = field(default_factory=dict)
    blocks: list[Block] = field(default_factory=list)


def parse(text: str) -> Block:
    """Read HCL or JSON into one unnamed block. Raises HclError."""
    if text.lstrip().startswith("{"):
        return _from_json(text)
    return _Parser(text).body(Block(""), closed=False)


def _from_json(text: str) -> Block:
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise HclError(f"line {error.lineno}: {error.msg}") from error
    root = Block("")
    for kind, value in document.items():
        entries = value if isinstance(value, list) else [value]
        labelled = [pair for entry in entries if isinstance(entry, dict) for pair in entry.items()]
        if labelled and all(isinstance(body, dict) for _, body in labelled):
            root.blocks += [Block(kind, (label,), dict(body)) for label, body in labelled]
        else:
            root.attributes[kind] = value
    return root


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens = list(_tokenize(text))
        self._at = 0

    def body(self, block: Block, *, closed: bool) -> Block:
        while True:
            kind, value, line = self._next()
            if kind == "end" and not closed:
                return block
            if value == "}" and kind == "sign" and closed:
                return block
            if kind == "sign" and value == ",":
                continue
            if kind not in ("word", "string"):
                raise HclError(f"line {line}: expected a name, found {value or 'the end'}")
            self._statement(block, str(value))

    def _statement(self, block: Block, name: str) -> None:
        labels: list[str] = []
        while True:
            kind, value, line = self._next()
            if kind == "sign" and value in "=:" and not labels:
                block.attributes[name] = self._value()
                return
            if kind == "sign" and value == "{":
                block.blocks.append(self.body(Block(name, tuple(labels)), closed=True))
                return
            if kind not in ("string", "word"):
                raise HclError(
                    f"line {line}: expected = or {{ after {name}, found {value or 'the end'}"
                )
            labels.append(str(value))

    def _value(self) -> Any:
        kind, value, line = self._next()
        if kind in ("string", "number"):
            return value
        if kind == "word" and value in ("true", "false", "null"):
            return {"true": True, "false": False, "null": None}[str(value)]
        if kind == "sign" and value == "[":
            return self._list()
        if kind == "sign" and value == "{":
            return self.body(Block(""), closed=True).attributes
        raise HclError(f"line {line}: expected a value, found {value or 'the end'}")

    def _list(self) -> list[Any]:
        values: list[Any] = []
        while True:
            kind, value, line = self._next()
            if kind == "sign" and value == "]":
                return values
            if kind == "sign" and value == ",":
                continue
            if kind == "end":
                raise HclError(f"line {line}: the list is not closed")
            self._at -= 1
            values.append(self._value())

    def _next(self) -> tuple[str, Any, int]:
        token = self._tokens[self._at]
        if token[0] != "end":
            self._at += 1
        return token


def _tokenize(text: str) -> list[tuple[str, Any, int]]:
    tokens: list[tuple[str, Any, int]] = []
    position, line = 0, 1
    while position < len(text):
        match = _TOKEN.match(text, position)
        if not match:
            raise HclError(f"line {line}: unexpected character {text[position]!r}")
        piece = match.group()
        if match["heredoc"] is not None:
            tokens.append(("string", match["text"], line))
        elif match["string"] is not None:
            tokens.append(("string", _unquote(piece, line), line))
        elif match["number"] is not None:
            tokens.append(("number", float(piece) if "." in piece else int(piece), line))
        elif match["word"] is not None:
            tokens.append(("word", piece, line))
        elif match["mark_sign"] is not None:
            tokens.append(("sign", piece, line))
        line += piece.count("\n")
        position = match.end()
    return [*tokens, ("end", "", line)]


def _unquote(piece: str, line: int) -> str:
    try:
        return str(json.loads(piece))
    except json.JSONDecodeError:
        raise HclError(f"line {line}: the string has an escape that is not known") from None
