"""Runs executions that are not workflows: a bounded queue and a bounded number at once for each
runner.

The queue holds a window of what is requested; the rest waits in the store and is read when the
window runs empty, so that a storm of events takes disk and not memory.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections import deque
from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from stormcell.content.models import Action
from stormcell.core import Core, move
from stormcell.errors import Error
from stormcell.metrics import Metrics
from stormcell.runners.registry import Runners
from stormcell.running import STARTED_BY, RunRequest, RunResult, Stream
from stormcell.statuses import ExecutionStatus
from stormcell.store import Execution
from stormcell.store.executions import output_op, status_op
from stormcell.stream import EXECUTION_OUTPUT
from stormcell.times import now

log = logging.getLogger(__name__)

_WINDOW = 1_000  # executions held in memory per runner while they wait
_DEFAULT_TIMEOUT_SECONDS = 600.0
_SHORT_OF_ALL = 100
_WITH_ENVIRONMENT = frozenset({"python-script", "local-shell-cmd", "local-shell-script"})
CONCURRENCY: Mapping[str, int] = {"noop": 500, "announcement": 500, "inquirer": 500}
"""Executions at once per runner; StackStorm's action runner has 60 slots for all. Others get
`_SHORT_OF_ALL`.
"""


class Outcome(Protocol):
    """Who decides what may run, and where the end of an execution is reported."""

    def admit(self, execution: Execution) -> bool:
        """Whether a requested execution may run now; asked again, the answer stays yes."""

    def ended(self, execution: Execution, result: RunResult) -> None:
        """Take the outcome; secrets in it are still in clear."""


class _Lane:
    """The queue and the slots of one runner."""

    def __init__(self, name: str, slots: int, metrics: Metrics) -> None:
        self.name = name
        self.slots = slots
        self.waiting: deque[Execution] = deque()
        self.running: dict[str, asyncio.Task[None]] = {}
        self.more_in_store = False
        metrics.queued.labels(name).set_function(lambda: len(self.waiting))
        metrics.running.labels(name).set_function(lambda: len(self.running))


class Leaves:
    """Starts executions as slots come free and reports how they ended."""

    def __init__(
        self, core: Core, runners: Runners, outcome: Outcome, concurrency: Mapping[str, int]
    ) -> None:
        self._core = core
        self._runners = runners
        self._outcome = outcome
        self._concurrency = {**CONCURRENCY, **concurrency}
        self._lanes: dict[str, _Lane] = {}
        self._known: dict[str, Execution] = {}
        self._canceled: set[str] = set()

    def enqueue(self, execution: Execution) -> None:
        """Run an execution that is committed as requested. Twice is once."""
        if execution.id in self._known:
            return
        lane = self._lane(execution.runner_type)
        if STARTED_BY in execution.context:
            # The run that asked for it may wait for it: it takes no place of theirs, or as many
            # waiting runs as there are places would wait for ever.
            waited_for = self._lane(execution.runner_type, waited_for=True)
            lane = waited_for if len(waited_for.waiting) < _WINDOW else lane
        if lane.more_in_store or len(lane.waiting) >= _WINDOW:
            lane.more_in_store = True
            return
        self._known[execution.id] = execution
        lane.waiting.append(execution)
        self._pump(lane)

    def resume_from_store(self, runner_type: str) -> None:
        """Start what waits in the store for this runner."""
        lane = self._lane(runner_type)
        lane.more_in_store = True
        self._pump(lane)

    def active(self, execution_id: str) -> Execution | None:
        """An execution that waits in the window or runs."""
        return self._known.get(execution_id)

    def withdraw(self, execution_id: str) -> Execution | None:
        """Take a waiting execution out of the queue; None where it runs already or is not here."""
        execution = self._known.get(execution_id)
        if execution is None:
            return None
        for lane in self._lanes.values():
            if execution in lane.waiting:
                lane.waiting.remove(execution)
                del self._known[execution_id]
                return execution
        return None

    def cancel(self, execution_id: str) -> bool:
        """Stop a running execution; its end is reported as canceled."""
        lanes = self._lanes.values()
        task = next(
            (lane.running[execution_id] for lane in lanes if execution_id in lane.running), None
        )
        if task is None:
            return False
        self._canceled.add(execution_id)
        task.cancel()
        return True

    async def stop(self, *, grace_seconds: float) -> None:
        """Start nothing more, give what runs this long, then stop it. What was stopped stays
        `running` in the store: the next start runs it again."""
        tasks = [task for lane in self._lanes.values() for task in lane.running.values()]
        if tasks and grace_seconds > 0:
            await asyncio.wait(tasks, timeout=grace_seconds)
        left = [task for task in tasks if not task.done()]
        for task in left:
            task.cancel()
        if left:
            log.warning("executions.interrupted", extra={"count": len(left)})
            await asyncio.wait(left)

    def _lane(self, runner_type: str, *, waited_for: bool = False) -> _Lane:
        name = f"{runner_type}, waited for" if waited_for else runner_type
        lane = self._lanes.get(name)
        if lane is None:
            slots = self._concurrency.get(runner_type, _SHORT_OF_ALL)
            lane = self._lanes[name] = _Lane(name, slots, self._core.metrics)
        return lane

    def _pump(self, lane: _Lane) -> None:
        while not self._core.stopping and len(lane.running) < lane.slots:
            if not lane.waiting and not self._refill(lane):
                break
            execution = lane.waiting.popleft()
            task = asyncio.get_running_loop().create_task(
                self._run(execution, lane), name=f"execution-{execution.id}"
            )
            lane.running[execution.id] = task

    def _refill(self, lane: _Lane) -> bool:
        """Read the next window of what waits in the store."""
        while lane.more_in_store:
            self._core.store.writer.flush()
            found = self._core.store.executions.requested(
                lane.name, limit=_WINDOW, excluding=lane.running
            )
            unknown = [execution for execution in found if execution.id not in self._known]
            lane.more_in_store = len(found) == _WINDOW
            fresh = [execution for execution in unknown if self._outcome.admit(execution)]
            lane.waiting.extend(fresh)
            self._known.update((execution.id, execution) for execution in fresh)
            if fresh:
                return True
            if not unknown:
                break
        return False

    async def _run(self, execution: Execution, lane: _Lane) -> None:
        try:
            result = await self._perform(execution)
        except asyncio.CancelledError:
            if execution.id not in self._canceled:
                return  # the engine stops: the row stays `running` and is run again
            result = RunResult(
                status=ExecutionStatus.CANCELED, result={"message": "Action canceled by user."}
            )
        except Error as error:
            result = _failure(str(error))
        except Exception as error:
            log.exception("execution.broken", extra=_fields(execution))
            result = _failure(f"{type(error).__name__}: {error}", trace=traceback.format_exc(5))
        finally:
            lane.running.pop(execution.id, None)
            self._known.pop(execution.id, None)
            self._canceled.discard(execution.id)
        try:
            self._outcome.ended(execution, result)
        finally:
            self._pump(lane)

    async def _perform(self, execution: Execution) -> RunResult:
        writer = self._core.store.writer
        added = move(execution, ExecutionStatus.SCHEDULED) + move(
            execution, ExecutionStatus.RUNNING
        )
        # Not waited for: after a crash a requested and a running execution are treated alike.
        writer.record([status_op(execution, log_added=added)])
        self._core.announce(execution)
        log.info("execution.started", extra=_fields(execution))
        action = self._core.catalog.content.action(execution.action_ref)
        runner = self._runners.get(execution.runner_type)
        request = self._request(execution, action)
        secrets = self._secrets(execution, action, request)
        shown = secrets | {request.auth_token} if request.auth_token else secrets
        result = await runner.run(request, self._sink(execution, shown))
        if request.auth_token:
            result = msgspec.structs.replace(
                result, result=_without(result.result, request.auth_token)
            )
        # What was given is looked for where the result is kept; what came of defaults is known here
        # alone.
        return msgspec.structs.replace(
            result, result=self._core.store.sealer.seal_known(result.result, secrets)
        )

    def _secrets(self, execution: Execution, action: Action, request: RunRequest) -> set[str]:
        """The texts in this run's parameters that are secret: as they were given, and as defaults
        were rendered.
        """
        sealer, schemas = self._core.store.sealer, self._core.catalog.schemas(action)
        rendered = {
            name: value
            for name, value in {**request.parameters, **request.runner_parameters}.items()
            if name not in execution.parameters and value != schemas.get(name, {}).get("default")
        }
        return sealer.secrets_in([execution.parameters, sealer.seal_by_schema(schemas, rendered)])

    def _request(self, execution: Execution, action: Action) -> RunRequest:
        own, runner = self._core.final_parameters(action, execution)
        return RunRequest(
            execution_id=execution.id,
            action=action,
            pack_path=self._core.catalog.content.pack(action.pack).path,
            parameters=own,
            runner_parameters=runner,
            context=execution.context,
            config=self._core.lookups.pack_config(action.pack),
            timeout_seconds=float(runner.get("timeout") or _DEFAULT_TIMEOUT_SECONDS),
            user=execution.user,
            auth_token=self._core.execution_token(execution.id, execution.user)
            if execution.runner_type in _WITH_ENVIRONMENT
            else "",
        )

    def _sink(self, execution: Execution, secrets: set[str]) -> Any:
        def write(stream: Stream, text: str) -> None:
            for secret in secrets:
                text = text.replace(secret, "********")
            at = now()
            self._core.store.writer.record([output_op(execution.id, stream, at, text)])
            self._core.stream.publish(
                EXECUTION_OUTPUT,
                lambda: {
                    "execution_id": execution.id,
                    "action_ref": execution.action_ref,
                    "runner_ref": execution.runner_type,
                    "timestamp": at,
                    "output_type": stream,
                    "data": text,
                },
            )

        return write


def _without(value: Any, secret: str) -> Any:
    """A value with a text in it masked wherever it shows."""
    if isinstance(value, str):
        return value.replace(secret, "********")
    if isinstance(value, dict):
        return {_without(key, secret): _without(item, secret) for key, item in value.items()}
    if isinstance(value, list):
        return [_without(item, secret) for item in value]
    return value


def _failure(message: str, *, trace: str = "") -> RunResult:
    return RunResult(status=ExecutionStatus.FAILED, result={"error": message, "traceback": trace})


def _fields(execution: Execution) -> dict[str, str]:
    return {
        "execution_id": execution.id,
        "action_ref": execution.action_ref,
        "root": execution.root,
    }
