"""Reads which images a Dockerfile stands on: FROM (with ARG), COPY --from, ADD --from and RUN
--mount=from. Pure.

Instructions are told apart by dockerfile-parse; what variables and stage names mean follows the
Dockerfile reference ("FROM", "ARG: Scope", "COPY --from"): an ARG before the first FROM is to be
used in FROM alone, a build argument replaces only what an ARG declares, and `--from` takes no
variable.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

from kubestorm.errors import DefinitionError

SCRATCH = "scratch"
# $NAME, ${NAME}, ${NAME:-default}, ${NAME:+alternative}
VARIABLE = re.compile(r"\$(?:(?P<plain>\w+)|\{(?P<name>\w+)(?::(?P<how>[-+])(?P<other>[^}]*))?\})")
FROM = re.compile(r"^(?:--\w+=\S+\s+)*(?P<image>\S+)(?:\s+[Aa][Ss]\s+(?P<stage>\S+))?\s*$")
COPY_FROM = re.compile(r"(?:^|\s)--from=(?P<image>\S+)")
MOUNT_FROM = re.compile(r"(?:^|\s)--mount=\S*?\bfrom=(?P<image>[^,\s]+)")
ARGUMENT = re.compile(r"(?P<name>\w+)(?:=(?P<value>\"[^\"]*\"|'[^']*'|\S*))?")
HERE_DOCUMENT = re.compile(r"<<-?\s*[\"']?(?P<end>\w+)[\"']?")


@dataclass(frozen=True)
class Stands:
    """What a Dockerfile stands on, each once, in the order of appearance."""

    images: Tuple[str, ...] = ()
    """Image names as written, variables filled in; without `scratch` and without the file's own
    stages.
    """
    unknown: Tuple[str, ...] = ()
    """Names whose variable has no value."""


@dataclass
class _Stage:
    name: str
    number: int
    uses: List[str]
    """Image names and stages, as written."""


def stands_on(text: str, arguments: Optional[Mapping[str, str]] = None, target: str = "") -> Stands:
    """Read a Dockerfile's text with the build arguments given, up to the stage `target` (the last
    if empty).

    Stages that the target does not need do not count. Raises DefinitionError where it has no FROM
    or no such stage.
    """
    stages = _stages(text, arguments or {})
    if not stages:
        raise DefinitionError(
            "The Dockerfile has no FROM; its first instruction is FROM (or ARG before it)."
        )
    images: Dict[str, None] = {}
    unknown: Dict[str, None] = {}
    for stage in _needed(stages, target):
        for name in stage.uses:
            if "$" in name:
                unknown[name] = None
            elif name != SCRATCH and _find(stages[: stage.number], name) is None:
                images[name] = None
    return Stands(tuple(images), tuple(unknown))


def _stages(text: str, given: Mapping[str, str]) -> List[_Stage]:
    stages: List[_Stage] = []
    values: Dict[str, str] = {}
    for instruction, value in _instructions(text):
        if instruction == "ARG" and not stages:
            for name, default in _declared(value):
                chosen = given.get(name, default)
                if chosen is not None:
                    values[name] = _expanded(chosen, values)
        elif instruction == "FROM":
            found = FROM.match(value)
            if not found:
                raise DefinitionError(
                    f"The Dockerfile says FROM {value!r}; it is FROM image, or FROM image AS name."
                )
            stages.append(
                _Stage(found["stage"] or "", len(stages), [_expanded(found["image"], values)])
            )
        elif stages and instruction in ("COPY", "ADD"):
            stages[-1].uses += [each["image"] for each in COPY_FROM.finditer(value)]
        elif stages and instruction == "RUN":
            stages[-1].uses += [each["image"] for each in MOUNT_FROM.finditer(value)]
    return stages


def _instructions(text: str) -> Iterator[Tuple[str, str]]:
    # Imported here: only what reads Dockerfiles needs it.
    from dockerfile_parse import DockerfileParser

    parser = DockerfileParser(fileobj=io.BytesIO())
    parser.content = _without_here_documents(text)
    for item in parser.structure:
        if item["instruction"] != "COMMENT":
            yield item["instruction"], item["value"]


def _without_here_documents(text: str) -> str:
    """Leave their bodies out, which dockerfile-parse would take for instructions."""
    kept: List[str] = []
    ends: List[str] = []
    for line in text.splitlines():
        if ends:
            if line.strip() == ends[0]:
                ends.pop(0)
            continue
        kept.append(line)
        if re.match(r"\s*(RUN|COPY|ADD)\b", line, re.IGNORECASE):
            ends = [found["end"] for found in HERE_DOCUMENT.finditer(line)]
    return "\n".join(kept) + "\n"


def _declared(value: str) -> Iterator[Tuple[str, Optional[str]]]:
    for found in ARGUMENT.finditer(value):
        default = found["value"]
        yield found["name"], None if default is None else default.strip("\"'")


def _expanded(text: str, values: Mapping[str, str]) -> str:
    """Fill variables in; one without a value stays as it is written."""

    def fill(found: re.Match[str]) -> str:
        value = values.get(found["plain"] or found["name"], "")
        if found["how"] == "-":
            return value or found["other"]
        if found["how"] == "+":
            return found["other"] if value else ""
        return value or found[0]

    return VARIABLE.sub(fill, text)


def _find(stages: Sequence[_Stage], name: str) -> Optional[_Stage]:
    """The stage of a name or a number; names count whatever their case."""
    for stage in reversed(stages):
        if stage.name and stage.name.lower() == name.lower():
            return stage
    return stages[int(name)] if name.isdigit() and int(name) < len(stages) else None


def _needed(stages: Sequence[_Stage], target: str) -> List[_Stage]:
    """The target and every stage that it copies from or begins with, in the order of the file."""
    last = _find(stages, target) if target else stages[-1]
    if last is None:
        names = ", ".join(stage.name for stage in stages if stage.name) or "none with a name"
        raise DefinitionError(f"The Dockerfile has no stage {target!r}; there are: {names}.")
    needed = {last.number}
    open_stages = [last]
    while open_stages:
        stage = open_stages.pop()
        for name in stage.uses:
            used = _find(stages[: stage.number], name)
            if used is not None and used.number not in needed:
                needed.add(used.number)
                open_stages.append(used)
    return [stage for stage in stages if stage.number in needed]
