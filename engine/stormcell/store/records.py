"""The rows as values. What is secret in them is sealed (`stormcell.store.sealing`), so any of them
may be printed.
"""

from __future__ import annotations

from typing import Any

import msgspec

from stormcell.statuses import TERMINAL, ExecutionStatus, TriggerInstanceStatus


class TriggerInstance(msgspec.Struct, kw_only=True):
    """One occurrence of a trigger."""

    id: str
    trigger_ref: str
    status: TriggerInstanceStatus
    occurred_at: str
    payload: Any
    trace: str = ""


class Enforcement(msgspec.Struct, kw_only=True, frozen=True):
    """The record that a rule fired, or why it could not."""

    id: str
    trigger_instance_id: str
    rule_ref: str
    execution_id: str | None
    failure_reason: str | None
    enforced_at: str


class Execution(msgspec.Struct, kw_only=True):
    """One run of an action. `parent`, `root` and `task_key` place it in its tree (a root names
    itself).
    """

    id: str
    action_ref: str
    runner_type: str
    status: ExecutionStatus
    root: str
    started_at: str
    parameters: dict[str, Any]
    context: dict[str, Any]
    parent: str | None = None
    task_key: str | None = None
    ended_at: str | None = None
    due_at: float | None = None
    """Unix seconds before which a delayed execution does not start."""
    trigger_instance_id: str | None = None
    rule_ref: str | None = None
    user: str = ""
    result: Any = None
    log: str = ""
    """A line `<status> <instant>` for each change."""

    @property
    def is_finished(self) -> bool:
        return self.status in TERMINAL

    def log_entries(self) -> list[dict[str, str]]:
        pairs = (line.split(" ", 1) for line in self.log.splitlines())
        return [{"timestamp": instant, "status": status} for status, instant in pairs]


class KeyValue(msgspec.Struct, kw_only=True, frozen=True):
    """One entry of the datastore; `value` of a secret one is sealed until asked for."""

    scope: str
    user: str
    name: str
    value: str
    secret: bool
    expires_at: float | None
