"""The `base_images` section of the pack's configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping

from kubestorm.core.sections import invalid_setting, read_section


@dataclass(frozen=True)
class BaseImageSettings:
    concurrency: int = 2
    """Images that are built at a time because a base of theirs is new."""

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> BaseImageSettings:
        """Raises DefinitionError naming the key that is wrong."""
        settings = read_section(cls, config.get("base_images"), "base_images")
        if settings.concurrency < 1 or settings.concurrency != int(settings.concurrency):
            raise invalid_setting(
                "base_images.concurrency", "a whole number of 1 or more", settings.concurrency
            )
        return settings
