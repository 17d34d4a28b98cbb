"""List the tags of a repository of images."""

from __future__ import annotations

from typing import Any, Tuple

from kubestorm.entrypoints.actions import run_with_services
from kubestorm.kinds.application.commands import list_tags
from st2common.runners.base_action import Action


class RegistryTags(Action):  # type: ignore[misc]
    """Parameters in, one library call, result out."""

    def run(self, repository: str, most: int = 50) -> Tuple[bool, Any]:
        return run_with_services(
            lambda services: list_tags(services, repository, most), self.config
        )
