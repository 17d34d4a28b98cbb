"""Requests and answers as values, and JSON that cannot hurt. Pure."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, Mapping

from kubestorm.core.errors import DefinitionError

MAX_DEPTH = 32
"""Nested arrays and objects; the deepest webhook known here (GitHub's) has 8."""
MAX_DIGITS = 32
"""Of a whole number; Python below 3.11 takes quadratic time for long ones."""
_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*"|([\[{])|([\]}])')


@dataclass(frozen=True)
class Request:
    """What came in. Header names are in small letters; a header that came twice is joined with a
    comma.
    """

    method: str
    path: str
    """Without the query, as it was sent."""
    query: str
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    """The bytes that signatures are made over."""
    remote: str = ""
    """Address of the peer, which may be a proxy."""

    @property
    def content_type(self) -> str:
        """The media type alone, in small letters; empty where none was sent."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def json(self) -> Any:
        """The body as JSON, within bounds of depth and of numbers. Raises DefinitionError for what
        is none.
        """
        return parse_json(self.body)


@dataclass(frozen=True)
class Answer:
    """The response. `outcome` is what is counted; by default it follows from the status."""

    status: int
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)
    outcome: str = ""

    @classmethod
    def text(cls, status: int, sentence: str, *, outcome: str = "", **headers: str) -> Answer:
        """A sentence for a person who reads a webhook's log; underscores in names of headers become
        hyphens.
        """
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return cls(status, f"{sentence}\n".encode(), headers=named, outcome=outcome)

    @classmethod
    def json(cls, status: int, document: Any, *, outcome: str = "") -> Answer:
        return cls(status, json.dumps(document).encode(), "application/json", outcome=outcome)


def parse_json(body: bytes) -> Any:
    """UTF-8 JSON with at most MAX_DEPTH levels, MAX_DIGITS digits, and no NaN. Raises
    DefinitionError.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DefinitionError("The body is not UTF-8.") from error
    check_depth(text)
    try:
        return _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        raise DefinitionError("The body must be JSON.") from error


def check_depth(text: str) -> None:
    """Raises DefinitionError for JSON that is nested deeper than MAX_DEPTH; before it is parsed, as
    parsers recurse.
    """
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return
    depth = 0
    for match in _BRACKETS.finditer(text):
        if match[1]:
            depth += 1
            if depth > MAX_DEPTH:
                raise DefinitionError(f"The body is nested deeper than {MAX_DEPTH} levels.")
        elif match[2]:
            depth -= 1


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError("too many digits")
    return int(text)


def _constant(text: str) -> float:
    raise ValueError(f"{text} is no JSON")


_DECODER = json.JSONDecoder(parse_int=_integer, parse_constant=_constant)
