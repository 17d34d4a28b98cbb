"""core.inject_trigger: make a trigger happen, as an event from outside would."""

from __future__ import annotations

from typing import Any

from st2common.runners.base_action import Action


class InjectTrigger(Action):
    """Dispatches one trigger."""

    def run(
        self,
        trigger: str | None = None,
        trigger_name: str | None = None,
        payload: dict[str, Any] | None = None,
        trace_tag: str | None = None,
    ) -> dict[str, Any]:
        """Return what was dispatched, once it is on disk."""
        if trigger and trigger_name:
            raise ValueError("Give trigger_name or trigger, not both.")
        ref = trigger_name or trigger
        if not ref:
            raise ValueError("Say which trigger: trigger_name is missing.")
        payload = payload or {}
        self.action_service.dispatch(ref, payload, trace_tag)
        return {"trigger": ref, "payload": payload}
