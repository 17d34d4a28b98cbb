"""What all parts of the engine share: the store, the present catalog, the stream, and the making of
executions.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from stormcell.catalog import Catalog, Schemas
from stormcell.content.models import Action
from stormcell.expressions.params import render_final_parameters
from stormcell.expressions.schemas import cast
from stormcell.ids import new_id
from stormcell.lookups import EngineLookups
from stormcell.metrics import Metrics
from stormcell.statuses import ExecutionStatus
from stormcell.store import Execution, Store
from stormcell.stream import EXECUTION_CREATED, EXECUTION_UPDATED, EventStream
from stormcell.times import now

SYSTEM_USER = "stanley"  # StackStorm's default system user


class Core:
    """One of each; `catalog` is replaced whole at a reload."""

    def __init__(
        self,
        store: Store,
        catalog: Catalog,
        lookups: EngineLookups,
        stream: EventStream,
        *,
        validate_output: bool = False,
    ) -> None:
        """`validate_output`: an action whose output does not fit its `output_schema` has failed."""
        self.store = store
        self.catalog = catalog
        self.lookups = lookups
        self.stream = stream
        self.metrics = Metrics()
        self.stopping = False
        self.execution_token: Callable[[str, str], str] = lambda execution_id, user: ""
        """(execution id, user) -> a token for the API that ends with the execution."""
        self.validate_output = validate_output

    def new_execution(
        self,
        action: Action,
        live: Mapping[str, Any],
        *,
        context: dict[str, Any],
        parent: Execution | None = None,
        task_key: str | None = None,
        due_at: float | None = None,
        execution_id: str | None = None,
        at: str | None = None,
    ) -> Execution:
        """Make an execution of checked live parameters; what is secret in them is sealed here.
        `at`: the instant of the request, by default now."""
        identity = execution_id or new_id()
        if parent is None and action.notify:
            context = {**context, "notify": action.notify}
        status = ExecutionStatus.REQUESTED if due_at is None else ExecutionStatus.DELAYED
        at = at or now()
        instance = context.get("trigger_instance") or {}
        rule = context.get("rule") or {}
        return Execution(
            id=identity,
            action_ref=action.ref,
            runner_type=self.catalog.runner_type(action).name,
            status=status,
            root=parent.root if parent else identity,
            parent=parent.id if parent else None,
            task_key=task_key,
            started_at=at,
            due_at=due_at,
            trigger_instance_id=instance.get("id"),
            rule_ref=rule.get("ref"),
            user=str(context.get("user") or SYSTEM_USER),
            parameters=self.store.sealer.seal_by_schema(self.catalog.schemas(action), dict(live)),
            context=context,
            log=f"{status} {at}\n",
        )

    def plain_parameters(self, action: Action, given: Mapping[str, Any]) -> dict[str, Any]:
        """Cast and check parameters that are values already (a task's): nothing in them is a
        template any more, so that what an outsider put into a result is never evaluated."""
        schemas = self.catalog.schemas(action)
        live = {name: cast(name, value, schemas.get(name) or {}) for name, value in given.items()}
        self.catalog.check_parameters(action, live)
        return live

    def final_parameters(
        self, action: Action, execution: Execution
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the action's own and its runner's parameters, complete and in clear. Never log
        them.
        """
        schemas = self.catalog.schemas(action)
        live = self.store.sealer.open(execution.parameters)
        final = render_final_parameters(
            schemas, live, action_context=execution.context, lookups=self.lookups
        )
        runner: Schemas = self.catalog.runner_type(action).runner_parameters
        own = {name: value for name, value in final.items() if name not in runner}
        return own, {name: value for name, value in final.items() if name in runner}

    def runner_parameter(self, execution: Execution, name: str) -> Any:
        """One plain parameter of an execution's runner: as given, or its default."""
        if name in execution.parameters:
            return execution.parameters[name]
        action = self.catalog.content.actions.get(execution.action_ref)
        return (self.catalog.schemas(action).get(name) or {}).get("default") if action else None

    def announce(self, execution: Execution, *, created: bool = False) -> None:
        """Tell the stream of a new or changed execution."""
        if self.stream.listener_count:
            snapshot = copy.copy(execution)
            self.stream.publish(
                EXECUTION_CREATED if created else EXECUTION_UPDATED, lambda: snapshot
            )


def move(execution: Execution, status: ExecutionStatus) -> str:
    """Set a status and return the line for the log."""
    line = f"{status} {now()}\n"
    execution.status = status
    execution.log += line
    return line
