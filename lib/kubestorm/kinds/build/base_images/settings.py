"""The `base_images` section of the pack's configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping

from kubestorm.core.sections import read_section, setting


@dataclass(frozen=True)
class BaseImageSettings:
    """How images are rebuilt because a base image of theirs is new."""

    concurrency: int = setting(2, least=1)
    """Images that are built at a time because a base of theirs is new."""

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> BaseImageSettings:
        """Raises DefinitionError naming the key that is wrong."""
        return read_section(cls, config.get("base_images"), "base_images")
