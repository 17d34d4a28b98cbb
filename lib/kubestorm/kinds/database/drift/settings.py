"""The `drift` section of the pack's configuration."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Mapping

from kubestorm.core.errors import DefinitionError


@dataclass(frozen=True)
class DriftSettings:
    """How often everything is compared."""

    interval_seconds: float = 900.0
    """Between two looks; a look lists all instances, keys and secrets of the cluster. 0 turns the
    timer off.
    """

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> DriftSettings:
        """Raises DefinitionError naming the key that is wrong."""
        section = {
            key: value for key, value in (config.get("drift") or {}).items() if value is not None
        }
        known = [item.name for item in fields(cls)]
        for key, value in section.items():
            if key not in known:
                raise DefinitionError(
                    f"the pack configuration has no setting drift.{key}", field=f"drift.{key}"
                )
            if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
                raise DefinitionError(
                    f"drift.{key} must be a number of 0 or more", field=f"drift.{key}"
                )
        return cls(**section)
