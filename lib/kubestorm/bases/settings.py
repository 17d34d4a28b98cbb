"""The `base_images` section of the pack's configuration."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Mapping

from kubestorm.errors import DefinitionError


@dataclass(frozen=True)
class BaseImageSettings:
    concurrency: int = 2
    """Images that are built at a time because a base of theirs is new."""

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> BaseImageSettings:
        """Raises DefinitionError naming the key that is wrong."""
        section = {key: value for key, value in (config.get("base_images") or {}).items() if value is not None}
        unknown = sorted(set(section) - {item.name for item in fields(cls)})
        if unknown:
            raise DefinitionError(f"base_images has no setting {unknown[0]}.", field=f"base_images.{unknown[0]}")
        settings = cls(**section)
        if isinstance(settings.concurrency, bool) or not isinstance(settings.concurrency, int):
            raise DefinitionError("base_images.concurrency is a whole number.", field="base_images.concurrency")
        if settings.concurrency < 1:
            raise DefinitionError("base_images.concurrency is 1 or more.", field="base_images.concurrency")
        return settings
