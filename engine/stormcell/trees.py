"""All execution trees: the driver, with pausing and resuming, and with going on after a stop or a
crash.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from stormcell.catalog import WORKFLOW_RUNNERS
from stormcell.conducting import CancelRequested, PauseRequested, ResumeRequested
from stormcell.core import move
from stormcell.driving import Driver
from stormcell.errors import Error, InvalidInputError
from stormcell.runs import Batch, Run, error_result, has_begun, log_fields
from stormcell.statuses import TERMINAL, ExecutionStatus
from stormcell.store import Execution
from stormcell.store.executions import status_op

log = logging.getLogger(__name__)


class Trees(Driver):
    """All workflows and, through `Leaves`, all other executions."""

    def pause(self, execution_id: str) -> Execution:
        """Pause a workflow and the workflows below it. InvalidInputError for anything else."""
        run = self._workflow(execution_id, "pause")
        if run.execution.status is not ExecutionStatus.RUNNING:
            raise InvalidInputError(
                f'Unable to pause execution "{execution_id}" because it is {run.execution.status}, not running.'
            )
        batch = Batch()
        self._set_status(run.execution, ExecutionStatus.PAUSING, batch)
        self._advance(run, PauseRequested(), batch)
        below = [child.execution.id for child in self._below(run, ExecutionStatus.RUNNING)]
        batch.after.append(lambda: self._each_quietly(self.pause, below))
        self._commit(batch)
        return run.execution

    def resume(self, execution_id: str) -> Execution:
        """Resume a paused workflow and the paused workflows below it."""
        run = self._workflow(execution_id, "resume")
        if run.execution.status not in (ExecutionStatus.PAUSED, ExecutionStatus.PAUSING):
            raise InvalidInputError(
                f'Unable to resume execution "{execution_id}" because it is {run.execution.status}, not paused.'
            )
        batch, before = Batch(), run.execution.status
        self._set_status(run.execution, ExecutionStatus.RESUMING, batch)
        self._advance(run, ResumeRequested(), batch)
        if self.find(execution_id).status is ExecutionStatus.RESUMING:
            # It waits on: for an answer, or for a workflow below that resumes next and then says
            # so.
            self._set_status(run.execution, before, batch)
        below = [child.execution.id for child in self._below(run, ExecutionStatus.PAUSED)]
        batch.after.append(lambda: self._each_quietly(self.resume, below))
        self._commit(batch)
        return run.execution

    def _each_quietly(self, act: Callable[[str], Any], execution_ids: list[str]) -> None:
        for execution_id in execution_ids:
            try:
                act(execution_id)
            except Error as error:
                log.info(
                    "execution.unmoved", extra={"execution_id": execution_id, "reason": str(error)}
                )

    def _below(self, run: Run, status: ExecutionStatus) -> list[Run]:
        children = [self._run_of(child) for child in run.children.values()]
        return [
            child for child in children if child is not None and child.execution.status is status
        ]

    def _workflow(self, execution_id: str, verb: str) -> Run:
        execution = self.find(execution_id)
        if execution.runner_type not in WORKFLOW_RUNNERS:
            raise InvalidInputError(
                f'Unable to {verb} execution "{execution_id}": {execution.action_ref} is not a workflow.'
            )
        run = self._run_of(execution_id) if has_begun(execution) else None
        if run is None:
            raise InvalidInputError(
                f'Unable to {verb} execution "{execution_id}" because it is {execution.status}.'
            )
        return run

    # Recovery

    def recover(self) -> int:
        """Go on with everything that had not ended when the engine last stopped; return how many
        there were.
        """
        executions = self._core.store.executions
        restless = [
            status
            for status in ExecutionStatus
            if status not in TERMINAL | {ExecutionStatus.REQUESTED}
        ]
        found = executions.unfinished(restless)
        for execution in found:
            if execution.runner_type not in WORKFLOW_RUNNERS:
                self._recover_leaf(execution)
        for execution in found:
            if execution.runner_type in WORKFLOW_RUNNERS:
                self._recover_workflow(execution)
        self._core.store.writer.flush()
        waiting = executions.requested_runners()
        for runner_type in waiting.keys() - WORKFLOW_RUNNERS:
            self.leaves.resume_from_store(runner_type)
        for execution in executions.requested_children(sorted(WORKFLOW_RUNNERS)):
            self.start(execution)
        self.start_waiting_roots()
        return len(found) + sum(waiting.values())

    def _recover_leaf(self, execution: Execution) -> None:
        status = execution.status
        if status is ExecutionStatus.DELAYED:
            self._delay(execution)
        elif status is ExecutionStatus.CANCELING:
            batch = Batch()
            self._end(
                execution, ExecutionStatus.CANCELED, {"message": "Action canceled by user."}, batch
            )
            self._commit(batch)
        elif status is ExecutionStatus.PENDING:
            self._keep_time(execution)
        else:
            log.info("execution.rerun", extra=log_fields(execution))
            added = move(execution, ExecutionStatus.REQUESTED)
            self._core.store.writer.record([status_op(execution, log_added=added)])

    def _recover_workflow(self, execution: Execution) -> None:
        if execution.status is ExecutionStatus.DELAYED:
            self._delay(execution)
            return
        batch = Batch()
        try:
            run = self._run_of(execution.id)
        except Error as error:
            self._end(execution, ExecutionStatus.FAILED, error_result(str(error)), batch)
            self._commit(batch)
            return
        if run is None:
            return
        log.info("workflow.resumed", extra=log_fields(execution))
        if run.execution.status is not ExecutionStatus.PAUSED:
            self._gate.hold(run.execution)
        status = run.execution.status
        if status is ExecutionStatus.CANCELING:
            self._advance(run, CancelRequested(), batch)
            ids = list(run.children.values())
            batch.after.append(lambda: self._cancel_all(ids))
            if not run.children and not run.execution.is_finished:
                self._end(run.execution, ExecutionStatus.CANCELED, {}, batch)
        elif status is ExecutionStatus.RESUMING:
            self._advance(run, ResumeRequested(), batch)
        self._commit(batch)

    def stop(self) -> None:
        """Forget timers and workflows; the store has them."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
