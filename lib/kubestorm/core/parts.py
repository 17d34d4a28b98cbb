"""The parts of the pack that an installation uses, and the kinds of ours that belong to each. Pure.

The setting `parts` names them. Where it is not there the sensors serve every kind that rules ask
for, and `in_use` judges by the sections of the configuration what there is to serve.
"""

from __future__ import annotations

from typing import Any, Dict, Mapping, Optional, Tuple

from kubestorm.core.errors import DefinitionError
from kubestorm.core.sections import section_values

DATABASES, APPLICATIONS, BUILDS = "databases", "applications", "builds"
ANNOUNCEMENTS = "announcements"

KINDS: Dict[str, Tuple[str, ...]] = {
    DATABASES: ("databases",),
    APPLICATIONS: ("applications", "rollouts"),
    BUILDS: ("imagebuilds",),
    ANNOUNCEMENTS: (),
}
SECTIONS: Dict[str, Tuple[str, ...]] = {
    DATABASES: ("aws", "database"),
    APPLICATIONS: ("application", "rollout"),
    BUILDS: ("base_images", "build", "descriptor"),
    ANNOUNCEMENTS: ("announcements", "slack"),
}
"""A part is in use where one of these sections says something."""

Config = Mapping[str, Any]


def named(config: Config) -> Optional[Tuple[str, ...]]:
    """What `parts` says, None where it says nothing. Raises DefinitionError."""
    found = config.get("parts")
    if not found:
        return None
    if not isinstance(found, (list, tuple)) or any(one not in KINDS for one in found):
        raise DefinitionError(
            f"parts is {found!r}; it is a list of {', '.join(KINDS)}.", field="parts"
        )
    return tuple(part for part in KINDS if part in found)


def in_use(config: Config) -> Tuple[str, ...]:
    """The parts that are used: those of `parts`, or else those that a section belongs to. Raises
    DefinitionError.
    """
    return named(config) or tuple(
        part
        for part, sections in SECTIONS.items()
        if any(section_values(config.get(section), section) for section in sections)
    )


def serves(config: Config, part: str) -> bool:
    """Whether the sensors are to do a part's work: unless `parts` leaves it out. Raises
    DefinitionError.
    """
    return part in (named(config) or KINDS)


def left_out(config: Config) -> Tuple[str, ...]:
    """The kinds of ours, by their plural, that `parts` leaves out. Raises DefinitionError."""
    return tuple(
        plural for part, plurals in KINDS.items() if not serves(config, part) for plural in plurals
    )
