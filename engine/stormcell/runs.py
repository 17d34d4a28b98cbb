"""What driving moves: a workflow under way, a transaction in the making, and the executions that
come of both.

Nothing here starts or commits anything; `stormcell.driving` decides when.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from stormcell.conducting import Conductor, StartTask, TaskRefused
from stormcell.core import Core
from stormcell.errors import CastError, Error, NotFoundError
from stormcell.notifying import notify_of_task
from stormcell.outputs import output_fault, sealed_output
from stormcell.policies import retry_of
from stormcell.statuses import ExecutionStatus
from stormcell.store import Execution
from stormcell.store.writing import Op
from stormcell.times import now

_CONTEXT_KEYS = {"action-chain": "chain", "orquesta": "orquesta"}


class Run:
    """A workflow under way. `children` maps the keys of unfinished children to their ids; `steps`
    counts those that are written."""

    __slots__ = ("children", "conductor", "execution", "secrets", "state", "steps")

    def __init__(
        self,
        execution: Execution,
        conductor: Conductor,
        state: dict[str, Any],
        steps: int,
        secrets: set[str],
    ) -> None:
        self.execution = execution
        self.conductor = conductor
        self.state = state
        self.steps = steps
        self.secrets = secrets
        self.children: dict[str, str] = {}


class Batch:
    """One transaction in the making, and what is done once it is on disk."""

    def __init__(self) -> None:
        self.ops: list[Op] = []
        self.after: list[Callable[[], Any]] = []


def child_of(core: Core, run: Run, task: StartTask) -> Execution | TaskRefused:
    """The execution of a workflow's task, or why there can be none."""
    parent = run.execution
    try:
        action = core.catalog.runnable_action(task.action)
        live = core.plain_parameters(action, task.parameters)
    except NotFoundError as error:
        return TaskRefused(key=task.key, message=str(error), at=now(), unknown_action=True)
    except Error as error:
        is_uncast = isinstance(error, CastError)
        return TaskRefused(key=task.key, message=str(error), at=now(), is_uncast=is_uncast)
    context: dict[str, Any] = {
        "user": parent.user,
        "pack": action.pack,
        _CONTEXT_KEYS[parent.runner_type]: task.context,
        "parent": {"execution_id": parent.id, **parent.context},
    }
    if parent.runner_type == "orquesta":
        # Source: `request_next_tasks` of st2common/services/workflows.py; chains pass neither on.
        said = {key: parent.context.get(key) for key in ("api_user", "source_channel")}
        context.update({key: value for key, value in said.items() if value})
    option = "notify" if parent.runner_type == "orquesta" else "skip_notify"
    notify = notify_of_task(
        parent.runner_type,
        task.task,
        action=action,
        own=task.notify,
        of_workflow=parent.context.get("notify"),
        options={option: core.runner_parameter(parent, option)},
    )
    if notify:
        context["notify"] = notify
    child = core.new_execution(
        action,
        live,
        context=core.store.sealer.seal_known(context, run.secrets),
        parent=parent,
        task_key=task.key,
        due_at=time.time() + task.delay_seconds if task.delay_seconds > 0 else None,
    )
    child.parameters = core.store.sealer.seal_known(child.parameters, run.secrets)
    return child


def retried(core: Core, execution: Execution) -> Execution | None:
    """A new execution for one that ended, where a policy says that it is run again."""
    retry = retry_of(execution, core.catalog.policies_of(execution.action_ref))
    action = core.catalog.content.actions.get(execution.action_ref)
    if retry is None or action is None or not action.enabled:
        return None
    return core.new_execution(
        action,
        core.store.sealer.open(execution.parameters),
        context=retry.context,
        due_at=time.time() + retry.delay_seconds if retry.delay_seconds > 0 else None,
    )


def sealed_result(core: Core, run: Run | None, execution: Execution, result: Any) -> Any:
    """Seal what the output schema marks as secret, and every secret of the run that shows in the
    result.
    """
    sealer = core.store.sealer
    action = core.catalog.content.actions.get(execution.action_ref)
    if action is not None:
        result = sealed_output(sealer, action, core.catalog.runner_type(action), result)
    return sealer.seal_known(
        result, run.secrets if run else sealer.secrets_in(execution.parameters)
    )


def output_fault_of(
    core: Core, execution: Execution, status: ExecutionStatus, result: Any
) -> dict[str, Any] | None:
    """What an execution that succeeded ends with instead, where outputs are checked and its own
    does not fit.
    """
    action = core.catalog.content.actions.get(execution.action_ref)
    if not core.validate_output or status is not ExecutionStatus.SUCCEEDED or action is None:
        return None
    return output_fault(action, core.catalog.runner_type(action), result)


def has_begun(execution: Execution) -> bool:
    return execution.status not in (ExecutionStatus.REQUESTED, ExecutionStatus.DELAYED)


def error_result(message: str) -> dict[str, str]:
    return {"error": message, "traceback": ""}


def trace_of(execution: Execution) -> str:
    """The trace tag of the event that a tree came from; a child's context holds its parent's."""
    context: Any = execution.context
    while isinstance(context, Mapping):
        trace = context.get("trace_context")
        if isinstance(trace, Mapping) and trace.get("trace_tag"):
            return str(trace["trace_tag"])
        context = context.get("parent")
    return ""


def log_fields(execution: Execution) -> dict[str, str]:
    return {
        "execution_id": execution.id,
        "action_ref": execution.action_ref,
        "root": execution.root,
    }
