"""Request builds of images whose base is new."""

from __future__ import annotations

from typing import Any, Tuple

from kubestorm.core.image_names import ImageName
from kubestorm.entrypoints.actions import run_with_services
from kubestorm.kinds.build.base_images.rebuild_check import check
from st2common.runners.base_action import Action


class BaseImagesCheck(Action):  # type: ignore[misc]
    """Parameters in, one library call, result out."""

    def run(self, registry: str = "", repository: str = "") -> Tuple[bool, Any]:
        pushed = ImageName(registry, repository) if repository else None
        return run_with_services(lambda services: check(services, pushed), self.config)
