"""Explain why something is not as it should be."""

from __future__ import annotations

from typing import Any, Tuple

from kubestorm.entrypoints.actions import run_with_services
from kubestorm.people.chat.why import why
from st2common.runners.base_action import Action


class ResourceWhy(Action):  # type: ignore[misc]
    """Parameters in, one library call, result out."""

    def run(self, namespace: str, name: str, kind: str = "") -> Tuple[bool, Any]:
        return run_with_services(lambda services: why(services, namespace, name, kind), self.config)
