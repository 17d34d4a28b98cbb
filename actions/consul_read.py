"""Read a tree of keys."""

from __future__ import annotations

from typing import Any, Tuple

from kubestorm.entrypoints.actions import run_with_services
from st2common.runners.base_action import Action


class ConsulRead(Action):  # type: ignore[misc]
    """Parameters in, one library call, result out."""

    def run(self, prefix: str) -> Tuple[bool, Any]:
        return run_with_services(lambda services: services.consul.show_tree(prefix), self.config)
