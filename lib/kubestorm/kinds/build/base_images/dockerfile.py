"""Finds the base images of a Dockerfile: FROM (with ARG), COPY --from and RUN --mount=from. Pure;
syntax.py parses the text.

What variables and stage names mean follows the Dockerfile reference ("FROM", "ARG: Scope",
"Automatic platform ARGs in the global scope", "COPY --from") and BuildKit: an ARG before the first
FROM is available in FROM alone, a build argument replaces only a declared ARG or a platform ARG, an
ARG without a value is empty, and `--from` takes no variable.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from kubestorm.core import untrusted
from kubestorm.core.errors import DefinitionError
from kubestorm.kinds.build.base_images.names import read_name
from kubestorm.kinds.build.base_images.syntax import (
    SPACE,
    Instruction,
    Parsed,
    expand,
    parse,
    words,
)

SCRATCH = "scratch"
DEFAULT_PLATFORM = "linux/amd64"
# As containerd writes them (platforms/database.go).
ARCHITECTURES = {"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "i386": "386"}
VARIANTS = {("amd64", "v1"): "", ("arm64", "v8"): "", ("arm", ""): "v7"}
NODE_DECIDES = (
    "set platforms in the ImageBuild, or kubernetes.io/arch in build.cluster.node_selector, as "
    "otherwise the node decides"
)

Values = Mapping[str, Optional[str]]
"""Variables by name; None where only the builder knows the value."""


@dataclass(frozen=True)
class Bases:
    """A Dockerfile's base images, each once, in the order of appearance."""

    images: Tuple[str, ...] = ()
    """Image names as written, variables filled in; without `scratch` and the file's own stages."""
    unknown: Tuple[str, ...] = ()
    """A sentence for each instruction whose image cannot be determined, with its line and
    variable.
    """


class _Use(NamedTuple):
    """An image or stage that an instruction names."""

    name: str
    """Empty where it cannot be determined."""
    problem: str
    """The sentence where it names neither an image nor a stage."""
    takes_number: bool = False
    """Whether a number is a stage's index."""


@dataclass
class _Stage:
    number: int
    name: str
    uses: List[_Use]


def find_bases(
    text: str,
    arguments: Optional[Mapping[str, str]] = None,
    target: str = "",
    *,
    platforms: Sequence[str] = (),
    builder_platform: str = DEFAULT_PLATFORM,
) -> Bases:
    """Parse a Dockerfile with these build arguments, up to the stage `target` (empty: the last),
    for all `platforms` together (the builder's own where there are none). `builder_platform` is
    empty where it is unknown.

    Stages that the target does not need are left out. Raises DefinitionError where the Dockerfile
    is invalid, has no FROM, or no such stage.
    """
    parsed = parse(text)
    images: Dict[str, None] = {}
    unknown: Dict[str, None] = {}
    for platform in platforms or (builder_platform,):
        values = _automatic(platform, builder_platform, target or _last_name(parsed))
        stages = _stages(parsed, values, arguments or {})
        for stage in _needed(stages, target):
            for use in stage.uses:
                if use.name == SCRATCH or _find(stages[: stage.number], use) is not None:
                    continue
                if read_name(use.name) is not None:
                    images[use.name] = None
                else:
                    unknown[use.problem] = None
    return Bases(tuple(images), tuple(unknown))


def _automatic(platform: str, builder_platform: str, target: str) -> Dict[str, Optional[str]]:
    """The predefined ARGs."""
    values: Dict[str, Optional[str]] = {"TARGETSTAGE": target or "default"}
    for prefix, each in (("BUILD", builder_platform), ("TARGET", platform)):
        system, architecture, variant = [*each.split("/"), "", ""][:3]
        architecture = ARCHITECTURES.get(architecture, architecture)
        variant = VARIANTS.get((architecture, variant), variant)
        names = {
            "PLATFORM": "/".join(filter(None, (system, architecture, variant))),
            "OS": system,
            "OSVERSION": "",
            "ARCH": architecture,
            "VARIANT": variant,
        }
        values.update({prefix + name: value if each else None for name, value in names.items()})
    return values


def _stages(parsed: Parsed, automatic: Values, given: Mapping[str, str]) -> List[_Stage]:
    stages: List[_Stage] = []
    values: Dict[str, Optional[str]] = {
        name: given.get(name, value) for name, value in automatic.items()
    }
    for each in parsed.instructions:
        if each.name == "FROM":
            image, name = _from(each)
            stages.append(_Stage(len(stages), name, [_base(each, image, parsed.escape, values)]))
        elif each.name == "ARG" and not stages:
            for word in words(each.rest, parsed.escape):
                name, has_default, default = word.partition("=")
                if name in given:
                    values[name] = given[name]
                elif has_default:
                    values[name] = _fill(default, parsed.escape, values).text
        elif stages and each.name in ("COPY", "RUN"):
            stages[-1].uses += [_source(each, image) for image in _sources(each)]
    if not stages:
        raise DefinitionError("The Dockerfile has no FROM.")
    return stages


def _from(instruction: Instruction) -> Tuple[str, str]:
    """The image as written, and the stage's name, or empty."""
    parts = SPACE.split(instruction.rest)
    if len(parts) == 3 and parts[1].upper() == "AS":
        return parts[0], parts[2]
    if len(parts) == 1 and parts[0]:
        return parts[0], ""
    raise DefinitionError(
        f"Invalid FROM {instruction.rest!r}; must be FROM image, or FROM image AS name."
    )


def _last_name(parsed: Parsed) -> str:
    names = [_from(each)[1] for each in parsed.instructions if each.name == "FROM"]
    return names[-1].lower() if names else ""


def _base(instruction: Instruction, image: str, escape: str, values: Values) -> _Use:
    shown = f"FROM {image} (line {instruction.line})"
    filled = _fill(image, escape, values)
    if filled.text is None:
        names = " and ".join(filled.undecided)
        return _Use("", f"{shown} depends on {names}: {NODE_DECIDES}.")
    why = f"; {' and '.join(filled.unset)} has no value" if filled.unset else ""
    return _Use(filled.text, f"{shown} becomes {filled.text!r}, which is not an image name{why}.")


class _Filled(NamedTuple):
    """A text with its variables filled in."""

    text: Optional[str]
    """None where a variable is undecided."""
    unset: Tuple[str, ...]
    """Variables without a value, or with an empty one."""
    undecided: Tuple[str, ...]
    """Variables whose value only the builder knows."""


def _fill(text: str, escape: str, values: Values) -> _Filled:
    used: List[str] = []

    def look_up(name: str) -> Optional[str]:
        used.append(name)
        value = values.get(name)
        return "undecided" if value is None and name in values else value

    filled = expand(text, escape, look_up)
    names = dict.fromkeys(used)
    undecided = tuple(name for name in names if name in values and values[name] is None)
    unset = tuple(name for name in names if not values.get(name))
    return _Filled(None if undecided else filled, unset, undecided)


def _sources(instruction: Instruction) -> List[str]:
    """What COPY copies from, or RUN mounts."""
    if instruction.name == "COPY":
        return instruction.flag("from")
    found: List[str] = []
    for mount in instruction.flag("mount"):
        try:
            fields = [field.partition("=") for field in next(csv.reader([mount]), [])]
        except csv.Error as error:
            raise DefinitionError(
                f"Invalid --mount in line {instruction.line}: {error}."
            ) from error
        found += [value for key, _, value in fields if key.lower() == "from"]
    return found


def _source(instruction: Instruction, image: str) -> _Use:
    flag = "--from" if instruction.name == "COPY" else "--mount=from"
    shown = f"{instruction.name} {flag}={image} (line {instruction.line})"
    if "$" in image:
        return _Use("", f"{shown} has a variable, which works in FROM only: FROM {image} AS name.")
    return _Use(image, f"{shown} names neither a stage nor an image.", takes_number=True)


def _find(stages: Sequence[_Stage], use: _Use) -> Optional[_Stage]:
    """The stage of that name (without case) or number."""
    for stage in reversed(stages):
        if stage.name and stage.name.lower() == use.name.lower():
            return stage
    number = untrusted.digits(use.name) if use.takes_number else None
    return stages[number] if number is not None and number < len(stages) else None


def _needed(stages: Sequence[_Stage], target: str) -> List[_Stage]:
    """The target and all stages that it needs, in the order of the file."""
    last = _find(stages, _Use(target, "", takes_number=True)) if target else stages[-1]
    if last is None:
        names = ", ".join(stage.name for stage in stages if stage.name) or "none with a name"
        raise DefinitionError(f"The Dockerfile has no stage {target!r}; there are: {names}.")
    needed = {last.number}
    open_stages = [last]
    while open_stages:
        stage = open_stages.pop()
        for use in stage.uses:
            used = _find(stages[: stage.number], use)
            if used is not None and used.number not in needed:
                needed.add(used.number)
                open_stages.append(used)
    return [stage for stage in stages if stage.number in needed]
