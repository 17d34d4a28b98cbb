"""A trigger dispatched from an action, on StackStorm and on stormcell.

A sensor's service has `dispatch`; an action's has none in StackStorm, where its own
`core.inject_trigger` goes by the API with the execution's token. The same way is taken here.
"""

from __future__ import annotations

from typing import Any, Callable, Mapping

Dispatch = Callable[[str, Mapping[str, Any]], object]


def dispatcher(action_service: Any) -> Dispatch:
    """What dispatches a trigger for this execution. Safe to repeat only as far as the rules'
    actions are.
    """

    def dispatch(trigger: str, payload: Mapping[str, Any]) -> None:
        direct = getattr(action_service, "dispatch", None)
        if direct is not None:
            direct(trigger, dict(payload))
            return
        client = action_service.datastore_service.get_api_client()
        client.webhooks.post_generic_webhook(trigger=trigger, payload=dict(payload))

    return dispatch
