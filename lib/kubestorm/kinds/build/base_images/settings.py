"""The `base_images` section of the pack's configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping

from kubestorm.core.sections import build, wrong


@dataclass(frozen=True)
class BaseImageSettings:
    concurrency: int = 2
    """Images that are built at a time because a base of theirs is new."""

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> BaseImageSettings:
        """Raises DefinitionError naming the key that is wrong."""
        settings = build(cls, config.get("base_images"), "base_images")
        if settings.concurrency < 1 or settings.concurrency != int(settings.concurrency):
            raise wrong(
                "base_images.concurrency", "a whole number of 1 or more", settings.concurrency
            )
        return settings
