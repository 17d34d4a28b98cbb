"""Read the descriptors again whose branch was pushed to."""

from __future__ import annotations

from typing import Any, List, Tuple

from kubestorm.actions import run_with_services
from kubestorm.descriptor.applying import refresh
from st2common.runners.base_action import Action


class DescriptorRefresh(Action):  # type: ignore[misc]
    """Parameters in, one library call, result out."""

    def run(self, urls: List[str], branch: str) -> Tuple[bool, Any]:
        return run_with_services(lambda services: refresh(services, urls, branch), self.config)
