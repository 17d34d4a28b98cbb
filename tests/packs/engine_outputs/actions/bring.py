"""Brings what it is given."""

from __future__ import annotations

from typing import Any

from st2common.runners.base_action import Action


class Bring(Action):
    """Returns its parameter."""

    def run(self, output: dict[str, Any]) -> dict[str, Any]:
        return output
