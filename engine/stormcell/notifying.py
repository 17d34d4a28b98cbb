"""What the end of an execution tells others: the generic action trigger, and notifications that
were asked for.

Source of behaviour and of the payloads: st2actions/notifier/notifier.py of StackStorm 3.9. What is
secret is masked in all of it, as a trigger instance is kept and shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from stormcell.content.models import Action
from stormcell.core import Core
from stormcell.errors import Error
from stormcell.expressions.datastore import datastore_context
from stormcell.expressions.jinja import render_values
from stormcell.reacting import Reactor
from stormcell.statuses import FAILURES, ExecutionStatus
from stormcell.store import Execution
from stormcell.store.sealing import mask
from stormcell.times import now, parse_instant

ACTION_TRIGGER = "core.st2.generic.actiontrigger"
NOTIFY_TRIGGER = "core.st2.generic.notifytrigger"

_SECTIONS = (("on-complete", "completed."), ("on-success", "succeeded."), ("on-failure", "failed."))
_encode = msgspec.json.Encoder(enc_hook=str).encode


class Notifier:
    """Makes the events; the driver dispatches them."""

    def __init__(self, core: Core, reactor: Reactor) -> None:
        self._core = core
        self._reactor = reactor

    def events_of_end(self, execution: Execution) -> Iterator[tuple[str, dict[str, Any]]]:
        """Trigger and payload of each event; none where no rule asks for it."""
        notify = execution.context.get("notify")
        if notify and self._reactor.is_wanted(NOTIFY_TRIGGER):
            yield from self._notifications(execution, notify)
        if self._reactor.is_wanted(ACTION_TRIGGER):
            yield ACTION_TRIGGER, action_payload(execution)

    def _notifications(
        self, execution: Execution, notify: Mapping[str, Any]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        for section, suffix in _SECTIONS:
            asked = notify.get(section)
            if not asked or not _applies(section, execution.status):
                continue
            routes = asked.get("routes") or asked.get("channels") or []
            if not routes:
                continue
            message = asked.get("message") or f"Action {execution.action_ref} {suffix}"
            payload = {
                "message": self._rendered(execution, {"message": message})["message"],
                "data": {
                    **self._rendered(execution, asked.get("data") or {}),
                    "result": _encode(mask(execution.result)).decode(),
                },
                "execution_id": execution.id,
                "status": execution.status.value,
                "start_timestamp": execution.started_at,
                "end_timestamp": execution.ended_at or now(),
                "action_ref": execution.action_ref,
                "runner_ref": execution.runner_type,
            }
            for route in routes:
                yield NOTIFY_TRIGGER, {**payload, "route": route, "channel": route}

    def _rendered(self, execution: Execution, values: dict[str, Any]) -> dict[str, Any]:
        """Values with their expressions evaluated; as they are where one fails, as in StackStorm."""
        context = {
            "st2kv": datastore_context(self._core.lookups, execution.user),
            "action_parameters": mask(execution.parameters),
            "action_context": mask(execution.context),
            "action_results": mask(execution.result),
        }
        try:
            return render_values(values, context)
        except Error:
            return values


def _applies(section: str, status: ExecutionStatus) -> bool:
    if section == "on-success":
        return status is ExecutionStatus.SUCCEEDED
    return section == "on-complete" or status in FAILURES


def action_payload(execution: Execution) -> dict[str, Any]:
    return {
        "execution_id": execution.id,
        "status": execution.status.value,
        "start_timestamp": str(parse_instant(execution.started_at)),
        "action_name": execution.action_ref,
        "action_ref": execution.action_ref,
        "runner_ref": execution.runner_type,
        "parameters": mask(execution.parameters),
        "result": mask(execution.result),
    }


def notify_of_task(
    runner_type: str,
    task: str,
    *,
    action: Action,
    own: Mapping[str, Any] | None,
    of_workflow: Mapping[str, Any] | None,
    options: Mapping[str, Any],
) -> Mapping[str, Any] | None:
    """Who is notified of a task's end: None for nobody.

    The action's own `notify` wins, then (in a chain) the task's, then the workflow's. `options` are
    the workflow's runner parameters: a chain leaves out the tasks in `skip_notify`, an Orquesta
    workflow takes those in `notify` only. Source: `_is_notify_skipped` of
    st2common/services/action.py and the two runners.
    """
    if runner_type == "orquesta":
        if not of_workflow or task not in (options.get("notify") or []):
            return None
        return action.notify or of_workflow
    if task in (options.get("skip_notify") or []):
        return None
    return action.notify or own or of_workflow
