"""chatops.match: which alias a typed command means."""

from __future__ import annotations

from typing import Any

from engine_api import Api
from st2common.runners.base_action import Action


class Match(Action):
    """Asks the API."""

    def run(self, text: str) -> dict[str, Any]:
        """Return the alias's name, pack and action, and the format that fits."""
        found = Api().post("actionalias/match", {"command": text})
        alias = {name: found["actionalias"][name] for name in ("name", "pack", "action_ref")}
        return {"alias": alias, "representation": found["representation"]}
