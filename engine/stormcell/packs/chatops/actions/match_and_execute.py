"""chatops.match_and_execute: run what a typed command means."""

from __future__ import annotations

import time

from engine_api import Api
from st2common.runners.base_action import Action

_UNFINISHED = ("requested", "scheduled", "running", "canceling")
_LOOK_SECONDS = 0.25


class MatchAndExecute(Action):
    """Asks the API and waits; pausing and pending runs are not waited for, as in StackStorm."""

    def run(self, text: str, source_channel: str | None = None, user: str | None = None) -> str:
        """Return the id of the execution."""
        api = Api()
        found = api.post("actionalias/match", {"command": text})
        started = api.post(
            "aliasexecution",
            {
                "name": found["actionalias"]["ref"],
                "format": found["representation"],
                "command": text,
                "user": user,
                "source_channel": source_channel,
            },
        )
        identity: str = started["execution"]["id"]
        while api.get(f"executions/{identity}?include_attributes=status")["status"] in _UNFINISHED:
            time.sleep(_LOOK_SECONDS)
        return identity
