"""The engine: takes events in, matches rules, starts and steers executions; everything else hangs on it.

An event is matched before it is committed and committed, with the executions it leads to, in one transaction; a
dispatch returns after that. So whatever is acknowledged is on disk together with its consequences.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping
from typing import Any

from stormcell.catalog import Catalog, Trigger
from stormcell.configs import Configs
from stormcell.content.models import Rule
from stormcell.core import SYSTEM_USER, Core
from stormcell.errors import ConflictError, Error, InvalidInputError, NotFoundError, TemporaryError
from stormcell.expressions.params import render_live_parameters
from stormcell.ids import new_id
from stormcell.lookups import EngineLookups
from stormcell.rules.enforcing import render_action_parameters
from stormcell.runners.registry import Runners
from stormcell.running import RunResult
from stormcell.statuses import ExecutionStatus, TriggerInstanceStatus
from stormcell.store import Enforcement, Execution, Store, TriggerInstance
from stormcell.store.events import insert_enforcement_op, insert_instance_op, instance_status_op
from stormcell.store.executions import insert_op
from stormcell.store.writing import Op
from stormcell.stream import EventStream
from stormcell.times import now
from stormcell.trees import Trees

log = logging.getLogger(__name__)

_HOUSEKEEPING_SECONDS = 60.0


class Engine:
    """Use it from one event loop. `start` after making it, `stop` before the loop ends."""

    def __init__(
        self,
        store: Store,
        catalog: Catalog,
        lookups: EngineLookups,
        runners: Runners,
        *,
        configs: Configs,
        stream: EventStream | None = None,
        concurrency: Mapping[str, int] | None = None,
    ) -> None:
        self.core = Core(store, catalog, lookups, stream or EventStream())
        self.trees = Trees(self.core, runners, concurrency or {})
        self.configs = configs
        self._runners = runners
        self._housekeeper: asyncio.Task[None] | None = None

    @property
    def store(self) -> Store:
        return self.core.store

    @property
    def catalog(self) -> Catalog:
        return self.core.catalog

    async def start(self) -> None:
        """Go on with what an earlier process left, then be ready."""
        for instance in self.store.events.unfinished_instances():
            await self._process_again(instance)
        recovered = self.trees.recover()
        if recovered:
            log.info("engine.recovered", extra={"executions": recovered})
        self._housekeeper = asyncio.create_task(self._keep_house(), name="housekeeping")

    async def stop(self, *, grace_seconds: float = 10.0) -> None:
        """Take nothing more, let what runs finish for a while, and write down what there is."""
        self.core.stopping = True
        if self._housekeeper is not None:
            self._housekeeper.cancel()
        await self.trees.leaves.stop(grace_seconds=grace_seconds)
        await self._runners.close()
        self.trees.stop()
        self.core.stream.close()
        self.store.writer.flush()

    # Events

    async def dispatch(
        self, trigger: str | Mapping[str, Any], payload: Any, *, trace: str = ""
    ) -> TriggerInstance | None:
        """Take an event in; returns when it is on disk with all it leads to.

        `trigger` is a ref or `{type, parameters}`. None where there is no such trigger (a type with parameters that no
        rule asks for). NotFoundError for an unknown name, InvalidInputError for a payload that does not fit,
        TemporaryError where it could not be written: nothing happened then, and it may be sent again.
        """
        taken = self._take_in(trigger, payload, trace)
        if taken is None:
            return None
        instance, ops, executions = taken
        await self.store.writer.submit(ops)
        self._went_through(instance, executions)
        return instance

    async def dispatch_many(self, events: Iterable[tuple[str | Mapping[str, Any], Any, str]]) -> None:
        """Take in what came together, (trigger, payload, trace) each, in one transaction: all or, where that cannot be
        written (TemporaryError), none. What does not fit is dropped with a warning, as in StackStorm."""
        batch: list[tuple[TriggerInstance, list[Execution]]] = []
        ops: list[Op] = []
        for trigger, payload, trace in events:
            try:
                taken = self._take_in(trigger, payload, trace)
            except (InvalidInputError, NotFoundError) as error:
                log.warning("trigger.dropped", extra={"trigger": str(trigger), "reason": str(error)})
                continue
            if taken is not None:
                batch.append((taken[0], taken[2]))
                ops += taken[1]
        if ops:
            await self.store.writer.submit(ops)
        for instance, executions in batch:
            self._went_through(instance, executions)

    def _take_in(
        self, trigger: str | Mapping[str, Any], payload: Any, trace: str
    ) -> tuple[TriggerInstance, list[Op], list[Execution]] | None:
        if self.core.stopping:
            raise TemporaryError("stormcell is stopping; send the event again in a moment.", retry_after_seconds=1.0)
        found = self.catalog.resolve_trigger(trigger)
        if found is None:
            log.debug("trigger.unwanted", extra={"trigger": str(trigger)})
            return None
        self.catalog.check_payload(found.type, payload)
        instance = TriggerInstance(
            id=new_id(),
            trigger_ref=found.ref,
            status=TriggerInstanceStatus.PROCESSED,
            occurred_at=now(),
            payload=payload,
            trace=trace,
        )
        ops, executions = self._consequences(found, instance)
        return instance, [insert_instance_op(instance), *ops], executions

    def reload(self, catalog: Catalog) -> None:
        """Go on with other content. What runs keeps the conductor it began with."""
        self.core.catalog = catalog

    async def _process_again(self, instance: TriggerInstance) -> None:
        try:
            found = self.catalog.resolve_trigger(instance.trigger_ref)
        except NotFoundError:
            found = None
        if found is None:
            instance.status = TriggerInstanceStatus.PROCESSING_FAILED
            ops, executions = list[Op](), list[Execution]()
        else:
            instance.status = TriggerInstanceStatus.PROCESSED
            ops, executions = self._consequences(found, instance)
        await self.store.writer.submit([instance_status_op(instance.id, instance.status), *ops])
        self._went_through(instance, executions)

    def _went_through(self, instance: TriggerInstance, executions: list[Execution]) -> None:
        self.core.metrics.trigger_instances.labels(instance.status.value).inc()
        for execution in executions:
            self.core.announce(execution, created=True)
            self.trees.start(execution)

    def _consequences(self, trigger: Trigger, instance: TriggerInstance) -> tuple[list[Op], list[Execution]]:
        """What an instance leads to: rows to write with it, and executions to start then."""
        try:
            result = self.catalog.rule_index.match(
                trigger.type, trigger.parameters, instance.payload, self.core.lookups
            )
        except Exception:
            # The event is kept and said to have failed; the next one must not suffer for it.
            log.exception("trigger_instance.failed", extra={"trigger_instance_id": instance.id})
            instance.status = TriggerInstanceStatus.PROCESSING_FAILED
            return [], []
        ops: list[Op] = []
        executions: list[Execution] = []
        for failure in result.failures:
            ops.append(self._failed_enforcement(failure.rule, instance, failure.reason))
        for rule in result.matched:
            try:
                execution = self._enforce(rule, instance)
            except Error as error:
                ops.append(self._failed_enforcement(rule, instance, str(error)))
                continue
            ops.append(insert_op(execution))
            ops.append(_enforcement_op(rule, instance, execution.id, None))
            executions.append(execution)
            self.core.metrics.rules_matched.inc()
            log.info(
                "rule.matched",
                extra={"rule_ref": rule.ref, "trigger_instance_id": instance.id, "execution_id": execution.id},
            )
        return ops, executions

    def _enforce(self, rule: Rule, instance: TriggerInstance) -> Execution:
        action = self.catalog.content.action(rule.action.ref)
        context: dict[str, Any] = {
            "trigger_instance": {"id": instance.id, "name": None},
            "rule": {"id": rule.ref, "name": rule.name, "ref": rule.ref},
            "user": SYSTEM_USER,
            "pack": action.pack,
        }
        if instance.trace:
            context["trace_context"] = {"trace_tag": instance.trace}
        live = render_action_parameters(
            rule,
            instance.payload,
            schemas=self.catalog.schemas(action),
            action_context=context,
            lookups=self.core.lookups,
        )
        self.catalog.check_parameters(action, live)
        return self.core.new_execution(action, live, context=context)

    def _failed_enforcement(self, rule: Rule, instance: TriggerInstance, reason: str) -> Op:
        self.core.metrics.enforcements_failed.inc()
        log.warning("rule.failed", extra={"rule_ref": rule.ref, "trigger_instance_id": instance.id, "reason": reason})
        return _enforcement_op(rule, instance, None, reason)

    # Executions

    async def request(
        self,
        action_ref: str,
        parameters: Mapping[str, Any],
        *,
        user: str = SYSTEM_USER,
        context: Mapping[str, Any] | None = None,
        delay_seconds: float = 0.0,
    ) -> Execution:
        """Ask for a run of an action; returns when that is on disk. InvalidInputError where parameters do not fit."""
        if self.core.stopping:
            raise TemporaryError("stormcell is stopping; ask again in a moment.", retry_after_seconds=1.0)
        action = self.catalog.content.actions.get(action_ref)
        if action is None:
            raise InvalidInputError(f'Action "{action_ref}" cannot be found.')
        if not action.enabled:
            raise InvalidInputError(f'Unable to execute. Action "{action_ref}" is disabled.')
        full: dict[str, Any] = {**(context or {}), "user": user, "pack": action.pack}
        live = render_live_parameters(
            self.catalog.schemas(action), parameters, action_context=full, lookups=self.core.lookups
        )
        self.catalog.check_parameters(action, live)
        due_at = time.time() + delay_seconds if delay_seconds > 0 else None
        execution = self.core.new_execution(action, live, context=full, due_at=due_at)
        await self.store.writer.submit([insert_op(execution)])
        self.core.announce(execution, created=True)
        self.trees.start(execution)
        return execution

    async def rerun(
        self,
        execution_id: str,
        parameters: Mapping[str, Any],
        *,
        user: str,
        tasks: list[str],
        reset: list[str],
        merge: bool = True,
        delay_seconds: float = 0.0,
    ) -> Execution:
        """Run an action again with the parameters of an earlier run, changed as asked; a workflow from some tasks."""
        earlier = self.trees.find(execution_id)
        if set(reset) - set(tasks):
            raise InvalidInputError("List of tasks to reset does not match the tasks to rerun.")
        if tasks and earlier.runner_type != "orquesta":
            raise InvalidInputError("Task option is only supported for Orquesta workflows.")
        again: dict[str, Any] = {"ref": execution_id}
        if tasks:
            again["tasks"] = tasks
        if reset:
            again["reset"] = reset
        given = self.store.sealer.open(earlier.parameters) if merge else {}
        return await self.request(
            earlier.action_ref,
            {**given, **parameters},
            user=user,
            context={"re-run": again},
            delay_seconds=delay_seconds,
        )

    def respond(self, execution_id: str, response: Any) -> Execution:
        """Answer an inquiry. ConflictError where it does not wait any more."""
        execution = self.trees.find(execution_id)
        if execution.status is not ExecutionStatus.PENDING:
            raise ConflictError(f"Inquiry {execution_id} has already been responded to or has timed out.")
        result = dict(self.store.sealer.open(execution.result) or {})
        result["response"] = response
        self.trees.ended(execution, RunResult(status=ExecutionStatus.SUCCEEDED, result=result))
        return execution

    async def _keep_house(self) -> None:
        while True:
            await asyncio.sleep(_HOUSEKEEPING_SECONDS)
            await self.store.writer.record([self.store.datastore.expire_op()])
            self.core.metrics.write_failures.set(self.store.writer.failures)


def _enforcement_op(rule: Rule, instance: TriggerInstance, execution_id: str | None, reason: str | None) -> Op:
    return insert_enforcement_op(
        Enforcement(
            id=new_id(),
            trigger_instance_id=instance.id,
            rule_ref=rule.ref,
            execution_id=execution_id,
            failure_reason=reason,
            enforced_at=instance.occurred_at,
        )
    )
