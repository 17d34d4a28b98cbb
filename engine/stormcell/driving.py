"""Drives execution trees: starts what is requested, takes in what ended, and asks conductors what
follows.

One event moves a tree by one transaction: the end of a child, the workflow's changed state and the
next children are committed together, and only then acted upon. So a crash leaves either all of a
step or nothing of it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Mapping
from functools import partial
from typing import Any

from stormcell.catalog import WORKFLOW_RUNNERS
from stormcell.conducting import (
    Cancel,
    CancelRequested,
    Event,
    Finish,
    Rerun,
    SetStatus,
    StartTask,
    Step,
    TaskFinished,
    TaskPaused,
    TaskRefused,
    TaskResumed,
)
from stormcell.content.models import Action
from stormcell.core import Core, move
from stormcell.errors import ConflictError, Error, InvalidInputError, NotFoundError
from stormcell.expressions.budget import STEP_SECONDS, Scope
from stormcell.leaves import Leaves
from stormcell.notifying import Notifier
from stormcell.policies import Gate
from stormcell.reacting import Reactor, Taken
from stormcell.runners.registry import Runners
from stormcell.running import RunResult
from stormcell.runs import (
    Batch,
    Run,
    child_of,
    error_result,
    has_begun,
    log_fields,
    output_fault_of,
    retried,
    sealed_result,
    trace_of,
)
from stormcell.statuses import TERMINAL, ExecutionStatus
from stormcell.store import Execution
from stormcell.store.encoding import encoded
from stormcell.store.executions import apply_changes, insert_op, outcome_op, status_op, step_op
from stormcell.times import elapsed_seconds, now, parse_instant

log = logging.getLogger(__name__)

_ROOTS_AT_ONCE = 200
"""Workflows that run and that nobody waits for. Sub-workflows are not counted, for their parents
hold a place; neither are those that are paused or wait for an answer."""
UNKEPT = "The result cannot be kept: it is nested too deeply or has text that is not valid Unicode."
INQUIRY_TRIGGER = "core.st2.generic.inquiry"


class Driver:
    """Starts, moves on and cancels; `Trees` adds what people ask of a workflow, and recovery."""

    def __init__(
        self, core: Core, reactor: Reactor, runners: Runners, concurrency: Mapping[str, int]
    ) -> None:
        self._core = core
        self._reactor = reactor
        self._notifier = Notifier(core, reactor)
        self._gate = Gate(
            lambda ref: core.catalog.policies_of(ref),
            lambda execution: core.store.sealer.open(execution.parameters),
        )
        self.leaves = Leaves(core, runners, self, concurrency)
        self._runs: dict[str, Run] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._active_roots: set[str] = set()
        self._more_roots = False
        self._ended: dict[str, asyncio.Event] = {}

    # Starting

    def start(self, execution: Execution) -> None:
        """Go on with an execution that is committed as requested or delayed."""
        if self._core.stopping:
            return
        if execution.status is ExecutionStatus.DELAYED:
            self._delay(execution)
        elif not self.admit(execution):
            return
        elif execution.runner_type not in WORKFLOW_RUNNERS:
            self.leaves.enqueue(execution)
        elif execution.parent is None and len(self._active_roots) >= _ROOTS_AT_ONCE:
            self._more_roots = True
        else:
            self._begin(execution)

    def admit(self, execution: Execution) -> bool:
        """Whether the concurrency policies let a requested execution run now. One that they hold
        back is delayed or, where a policy says so, canceled."""
        refusal = self._gate.ask(execution)
        if refusal is None:
            return True
        policy, batch = refusal.policy.ref, Batch()
        if refusal.is_final:
            log.info(
                "execution.canceled_by_policy", extra={**log_fields(execution), "policy": policy}
            )
            message = f"Canceled by policy {policy}: {refusal.threshold} executions run already."
            self._end(execution, ExecutionStatus.CANCELED, {"message": message}, batch)
        elif execution.status is not ExecutionStatus.DELAYED:
            log.info("execution.delayed", extra={**log_fields(execution), "policy": policy})
            batch.ops.append(
                status_op(execution, log_added=move(execution, ExecutionStatus.DELAYED))
            )
            batch.after.append(lambda: self._core.announce(execution))
        self._commit(batch)
        return False

    def ask_policies_again(self) -> None:
        """Have everything that policies delayed ask once more, by the present ones."""
        for execution in self._gate.dissolve():
            self._due(execution)

    def _release(self, execution: Execution, batch: Batch) -> None:
        freed = self._gate.release(execution.id)
        if freed:
            batch.after.extend(partial(self._due, one) for one in freed)

    def start_waiting_roots(self) -> None:
        """Begin workflows that wait in the store for a place."""
        self._more_roots = False
        self._core.store.writer.flush()
        for runner_type in sorted(WORKFLOW_RUNNERS):
            room = max(0, _ROOTS_AT_ONCE - len(self._active_roots))
            found = self._core.store.executions.requested(
                runner_type, limit=room + 1, excluding=self._runs
            )
            for execution in found:
                self.start(execution)

    def _delay(self, execution: Execution) -> None:
        wait = max(0.0, (execution.due_at or 0.0) - time.time())
        loop = asyncio.get_running_loop()
        self._timers[execution.id] = loop.call_later(wait, self._due, execution)

    def _due(self, execution: Execution) -> None:
        self._timers.pop(execution.id, None)
        execution.due_at = None
        batch = Batch()
        batch.ops.append(status_op(execution, log_added=move(execution, ExecutionStatus.REQUESTED)))
        batch.after.append(lambda: self.start(execution))
        self._commit(batch)

    def _begin(self, execution: Execution) -> None:
        if execution.id in self._runs:
            return
        if execution.parent is None:
            self._active_roots.add(execution.id)
        batch = Batch()
        added = move(execution, ExecutionStatus.SCHEDULED) + move(
            execution, ExecutionStatus.RUNNING
        )
        batch.ops.append(status_op(execution, log_added=added))
        batch.after.append(lambda: self._core.announce(execution))
        log.info("execution.started", extra=log_fields(execution))
        try:
            action = self._core.catalog.content.action(execution.action_ref)
            run = self._new_run(execution, action, {})
            step = self._first_step(run, action)
        except Error as error:
            self._end(execution, ExecutionStatus.FAILED, error_result(str(error)), batch)
        except Exception as error:
            log.exception("workflow.broken", extra=log_fields(execution))
            self._end(
                execution,
                ExecutionStatus.FAILED,
                error_result(f"{type(error).__name__}: {error}"),
                batch,
            )
        else:
            self._runs[execution.id] = run
            self._apply(run, step, batch)
        self._commit(batch)

    def _new_run(
        self, execution: Execution, action: Action, state: dict[str, Any], steps: int = 0
    ) -> Run:
        conductor = self._core.catalog.conductor(action)
        secrets = self._core.store.sealer.secrets_in([execution.parameters, execution.context])
        return Run(execution, conductor, state, steps, secrets)

    def _first_step(self, run: Run, action: Action) -> Step:
        execution = run.execution
        own, runner = self._core.final_parameters(action, execution)
        context = {**execution.context, "execution_id": execution.id}
        if execution.runner_type == "orquesta":
            context["action"] = execution.action_ref
        if execution.runner_type == "action-chain":
            context["runner_parameters"] = runner
        rerun = self._rerun(execution.context.get("re-run"))
        with Scope(STEP_SECONDS):
            return run.conductor.begin(
                inputs=own, context=context, lookups=self._core.lookups, rerun=rerun
            )

    def _rerun(self, asked: Mapping[str, Any] | None) -> Rerun | None:
        if not asked or "tasks" not in asked:
            return None
        state, _ = self._core.store.executions.state(str(asked["ref"]))
        return Rerun(
            state=state, tasks=tuple(asked["tasks"]), reset=tuple(asked.get("reset") or ())
        )

    # Moving on

    def ended(self, execution: Execution, result: RunResult) -> None:
        """Take the outcome of a leaf (the port `Outcome`)."""
        batch = Batch()
        if result.context:
            execution.context = {**execution.context, **result.context}
        if result.status is ExecutionStatus.PENDING:
            self._wait_for_answer(execution, result.result, batch)
        else:
            self._end(execution, result.status, result.result, batch)
        self._commit(batch)

    def _wait_for_answer(self, execution: Execution, result: Any, batch: Batch) -> None:
        execution.result = self._seal_result(execution, result)
        kept = encoded(execution.result, "The question")
        added = move(execution, ExecutionStatus.PENDING)
        batch.ops.append(outcome_op(execution, kept, log_added=added))
        batch.after.append(lambda: self._core.announce(execution))
        batch.after.append(lambda: self._keep_time(execution))
        if self._reactor.is_wanted(INQUIRY_TRIGGER):
            route = result.get("route") if isinstance(result, dict) else ""
            self._emit(
                INQUIRY_TRIGGER, {"id": execution.id, "route": str(route or "")}, execution, batch
            )
        self._release(execution, batch)
        parent = self._run_of(execution.parent)
        if parent is not None:
            self._advance(
                parent, TaskPaused(key=execution.task_key or "", status=execution.status), batch
            )

    def _keep_time(self, execution: Execution) -> None:
        """Let an inquiry time out once its time to live, in minutes since it was asked, has passed."""
        ttl = execution.result.get("ttl") if isinstance(execution.result, dict) else None
        if self._core.stopping or not isinstance(ttl, int) or ttl <= 0:
            return
        wait = parse_instant(execution.started_at).timestamp() + ttl * 60 - time.time()
        loop = asyncio.get_running_loop()
        self._timers[execution.id] = loop.call_later(max(0.0, wait), self._expire, execution)

    def _expire(self, execution: Execution) -> None:
        log.info("inquiry.expired", extra=log_fields(execution))
        self.ended(execution, RunResult(status=ExecutionStatus.TIMEOUT, result=execution.result))

    def _emit(
        self, trigger: str, payload: dict[str, Any], execution: Execution, batch: Batch
    ) -> None:
        """Dispatch a trigger of our own, in the transaction of what it tells of."""
        try:
            taken = self._reactor.take_in(trigger, payload, trace_of(execution))
        except Error as error:
            log.warning("trigger.dropped", extra={"trigger": trigger, "reason": str(error)})
            return
        if taken is not None:
            batch.ops.extend(taken.ops)
            batch.after.append(lambda: self.react(taken))

    def react(self, *events: Taken) -> None:
        """Go on with events that are committed: start what they lead to."""
        metrics = self._core.metrics
        for status, count in Counter(taken.instance.status.value for taken in events).items():
            metrics.trigger_instances.labels(status).inc(count)
        metrics.rules_matched.inc(sum(len(taken.executions) for taken in events))
        for taken in events:
            for execution in taken.executions:
                self._core.announce(execution, created=True)
                self.start(execution)

    def _end(
        self, execution: Execution, status: ExecutionStatus, result: Any, batch: Batch
    ) -> None:
        """Bring an execution to its end and its parent, in the same transaction, one step further."""
        if execution.is_finished:
            return
        timer = self._timers.pop(execution.id, None)
        if timer is not None:
            timer.cancel()
        status, execution.result, kept = self._outcome(execution, status, result)
        added = move(execution, status)
        execution.ended_at = now()
        batch.ops.append(outcome_op(execution, kept, log_added=added))
        batch.after.append(lambda: self._after_end(execution))
        self._runs.pop(execution.id, None)
        self._release(execution, batch)
        for trigger, payload in self._notifier.events_of_end(execution):
            self._emit(trigger, payload, execution, batch)
        self._retry(execution, batch)
        parent = self._run_of(execution.parent)
        if parent is None:
            return
        key = execution.task_key or ""
        parent.children.pop(key, None)
        sealer = self._core.store.sealer
        parent.secrets |= sealer.secrets_in([execution.parameters, execution.result])
        event = TaskFinished(
            key=key,
            status=status,
            result=sealer.open(execution.result),
            execution_id=execution.id,
            started_at=execution.started_at,
            ended_at=execution.ended_at,
        )
        self._advance(parent, event, batch)

    def _outcome(
        self, execution: Execution, status: ExecutionStatus, result: Any
    ) -> tuple[ExecutionStatus, Any, bytes | None]:
        """Status and sealed result as they are kept: failed, where the result does not fit or
        cannot be kept. Nothing has changed before that is known."""
        try:
            fault = output_fault_of(self._core, execution, status, result)
            if fault is not None:
                status, result = ExecutionStatus.FAILED, fault
            sealed = self._seal_result(execution, result)
            kept = None if sealed is None else encoded(sealed, "The result")
        except (InvalidInputError, RecursionError, UnicodeEncodeError) as error:
            message = str(error) if isinstance(error, InvalidInputError) else UNKEPT
            log.warning("result.refused", extra={**log_fields(execution), "reason": message})
            status, sealed = ExecutionStatus.FAILED, error_result(message)
            kept = encoded(sealed, "The result")
        return status, sealed, kept

    def _retry(self, execution: Execution, batch: Batch) -> None:
        again = retried(self._core, execution)
        if again is not None:
            log.info("execution.retried", extra={**log_fields(execution), "retried_as": again.id})
            batch.ops.append(insert_op(again))
            batch.after.append(lambda: self.begin(again))

    def _seal_result(self, execution: Execution, result: Any) -> Any:
        return sealed_result(self._core, self._runs.get(execution.id), execution, result)

    def _after_end(self, execution: Execution) -> None:
        seconds = elapsed_seconds(execution.started_at, execution.ended_at or execution.started_at)
        log.info(
            "execution.ended",
            extra={**log_fields(execution), "status": execution.status, "seconds": seconds},
        )
        self._core.metrics.ended(execution.status, execution.runner_type, seconds)
        self._core.announce(execution)
        waiter = self._ended.pop(execution.id, None)
        if waiter is not None:
            waiter.set()
        self._leave_place(execution)

    def _leave_place(self, execution: Execution) -> None:
        self._active_roots.discard(execution.id)
        if self._more_roots and len(self._active_roots) < _ROOTS_AT_ONCE:
            self.start_waiting_roots()

    def _advance(self, run: Run, event: Event, batch: Batch) -> None:
        self._apply(run, self._decide(run, event), batch)

    def _decide(self, run: Run, event: Event) -> Step:
        try:
            with Scope(STEP_SECONDS):
                return run.conductor.advance(run.state, event, lookups=self._core.lookups)
        except Exception as error:
            log.exception("workflow.broken", extra=log_fields(run.execution))
            return _broken(f"{type(error).__name__}: {error}")

    def _apply(self, run: Run, step: Step, batch: Batch) -> None:
        """Carry out a step. A child that cannot be made is answered at once, within the same
        transaction: one refusal after the other, each on the state that the one before it left.
        """
        refusals: deque[TaskRefused] = deque()
        while True:
            if step.changes:
                try:
                    op = step_op(self._core.store.sealer, run.execution.id, run.steps, step.changes)
                except InvalidInputError as error:
                    step = _broken(str(error))
                else:
                    batch.ops.append(op)
                    apply_changes(run.state, step.changes)
                    run.steps += 1
            for decision in step.decisions:
                refused = self._carry_out(run, decision, batch)
                if refused is not None:
                    refusals.append(refused)
            if not refusals:
                return
            step = self._decide(run, refusals.popleft())

    def _carry_out(self, run: Run, decision: Any, batch: Batch) -> TaskRefused | None:
        if isinstance(decision, StartTask):
            return self._start_child(run, decision, batch)
        if isinstance(decision, Cancel):
            ids = [
                id_
                for key, id_ in run.children.items()
                if not decision.keys or key in decision.keys
            ]
            batch.after.append(lambda: self._cancel_all(ids))
        elif isinstance(decision, SetStatus):
            self._set_status(run.execution, decision.status, batch)
        elif isinstance(decision, Finish):
            self._end(run.execution, decision.status, decision.result, batch)
        return None

    def _start_child(self, run: Run, task: StartTask, batch: Batch) -> TaskRefused | None:
        child = child_of(self._core, run, task)
        if isinstance(child, TaskRefused):
            return child
        try:
            op = insert_op(child)
        except InvalidInputError as error:
            return TaskRefused(key=task.key, message=str(error), at=now())
        run.children[task.key] = child.id
        batch.ops.append(op)
        batch.after.append(lambda: self.begin(child))
        return None

    def begin(self, execution: Execution) -> None:
        """Go on with a new execution that is committed."""
        self._core.announce(execution, created=True)
        self.start(execution)

    def _set_status(self, execution: Execution, status: ExecutionStatus, batch: Batch) -> None:
        if execution.status is status or execution.is_finished:
            return
        before = execution.status
        batch.ops.append(status_op(execution, log_added=move(execution, status)))
        batch.after.append(lambda: self._core.announce(execution))
        if status not in (ExecutionStatus.PAUSED, ExecutionStatus.RUNNING):
            return
        if status is ExecutionStatus.PAUSED:
            self._release(execution, batch)
            batch.after.append(lambda: self._leave_place(execution))
        else:
            self._gate.hold(execution)
            if execution.parent is None:
                self._active_roots.add(execution.id)
        parent = self._run_of(execution.parent)
        if parent is None:
            return
        key = execution.task_key or ""
        if status is ExecutionStatus.PAUSED:
            self._advance(parent, TaskPaused(key=key, status=status), batch)
        elif before in (ExecutionStatus.PAUSED, ExecutionStatus.RESUMING):
            self._advance(parent, TaskResumed(key=key), batch)

    def _commit(self, batch: Batch) -> None:
        """Write a batch, for as long as it takes, then act on it."""

        def act(written: asyncio.Future[None]) -> None:
            if not written.cancelled() and (error := written.exception()) is not None:
                log.error("store.fact_lost", extra={"error": str(error)})
            for effect in batch.after:
                try:
                    effect()
                except Exception:
                    # What else follows must not suffer for it.
                    log.exception("effect.failed")

        self._core.store.writer.record(batch.ops).add_done_callback(act)

    def _run_of(self, execution_id: str | None) -> Run | None:
        """The workflow under way with this id, read back from the store where it is not in memory."""
        if execution_id is None:
            return None
        return self._runs.get(execution_id) or self._load(execution_id)

    def _load(self, execution_id: str) -> Run | None:
        store = self._core.store
        store.writer.flush()
        execution = store.executions.get(execution_id)
        if (
            execution is None
            or execution.is_finished
            or execution.runner_type not in WORKFLOW_RUNNERS
        ):
            return None
        action = self._core.catalog.content.action(execution.action_ref)
        run = self._new_run(execution, action, *store.executions.state(execution_id))
        for child in store.executions.children(execution_id):
            run.secrets |= store.sealer.secrets_in([child.parameters, child.result])
            if not child.is_finished:
                run.children[child.task_key or ""] = child.id
        self._runs[execution_id] = run
        if execution.parent is None and execution.status is not ExecutionStatus.PAUSED:
            self._active_roots.add(execution_id)
        return run

    # What people ask for

    def find(self, execution_id: str) -> Execution:
        """The execution as it stands. NotFoundError where there is none."""
        run = self._runs.get(execution_id)
        found = run.execution if run else self.leaves.active(execution_id)
        if found is None:
            self._core.store.writer.flush()
            found = self._core.store.executions.get(execution_id)
        if found is None:
            raise NotFoundError(f'Execution "{execution_id}" cannot be found.')
        return found

    async def wait(self, execution_id: str) -> Execution:
        """Return the execution once it has ended."""
        execution = self.find(execution_id)
        if execution.status not in TERMINAL:
            await self._ended.setdefault(execution_id, asyncio.Event()).wait()
            execution = self.find(execution_id)
        return execution

    def cancel(self, execution_id: str) -> Execution:
        """Cancel an execution and everything below it. ConflictError where it has ended."""
        execution = self.find(execution_id)
        if execution.is_finished:
            raise ConflictError("Action is already in completed state.")
        batch = Batch()
        run = self._runs.get(execution_id)
        if run is None and execution.runner_type in WORKFLOW_RUNNERS and has_begun(execution):
            run = self._load(execution_id)
        if run is not None:
            self._set_status(run.execution, ExecutionStatus.CANCELING, batch)
            self._advance(run, CancelRequested(), batch)
            if not run.execution.is_finished and not run.children:
                self._end(run.execution, ExecutionStatus.CANCELED, {}, batch)
            execution = run.execution
        elif (
            self.leaves.active(execution_id) is not None
            and self.leaves.withdraw(execution_id) is None
        ):
            self._set_status(execution, ExecutionStatus.CANCELING, batch)
            batch.after.append(lambda: self.leaves.cancel(execution_id))
        else:
            self._end(
                execution, ExecutionStatus.CANCELED, {"message": "Action canceled by user."}, batch
            )
        self._commit(batch)
        return execution

    def _cancel_all(self, execution_ids: list[str]) -> None:
        for execution_id in execution_ids:
            try:
                self.cancel(execution_id)
            except ConflictError:
                continue  # it ended in the meantime: what was wanted


def _broken(message: str) -> Step:
    """The step of a workflow that cannot go on."""
    finish = Finish(status=ExecutionStatus.FAILED, result=error_result(message))
    return Step(decisions=(Cancel(), finish))
