"""The `drift` section of the pack's configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping

from kubestorm.core.sections import read_section


@dataclass(frozen=True)
class DriftSettings:
    """How often what Databases ask for is compared with what exists."""

    interval_seconds: float = 900.0
    """Between two looks; a look lists all instances, keys and secrets of the cluster. 0 turns the
    timer off.
    """

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> DriftSettings:
        """Raises DefinitionError naming the key that is wrong."""
        return read_section(cls, config.get("drift"), "drift")
