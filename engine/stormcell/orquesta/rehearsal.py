"""Play a workflow without an engine: a function stands in for every action, and the order of
results is chosen.

For authors who want to see which tasks run, and for tests. After each step the state goes through
JSON, as it does in the engine's database, so that a rehearsal also shows that nothing is lost
there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from stormcell.conducting import (
    Cancel,
    Conductor,
    Event,
    Finish,
    Lookups,
    Rerun,
    SetStatus,
    StartTask,
    Step,
    TaskFinished,
)
from stormcell.expressions.lookups import StaticLookups
from stormcell.statuses import ExecutionStatus

Act = Callable[[StartTask], tuple[ExecutionStatus, Any]]
"""Stands in for actions: what was asked -> how it ended, and its result."""


def succeed(task: StartTask) -> tuple[ExecutionStatus, Any]:
    """Every action succeeds and returns its parameters."""
    return ExecutionStatus.SUCCEEDED, task.parameters


@dataclass
class Rehearsal:
    """One run. `open` are the children that have not ended, in the order they were asked for."""

    conductor: Conductor
    lookups: Lookups = field(default_factory=StaticLookups)
    state: dict[str, Any] = field(default_factory=dict)
    started: list[StartTask] = field(default_factory=list)
    open: dict[str, StartTask] = field(default_factory=dict)
    statuses: list[ExecutionStatus] = field(default_factory=list)
    finished: Finish | None = None
    canceled_keys: list[str] = field(default_factory=list)

    def begin(
        self, inputs: dict[str, Any] | None = None, rerun: Rerun | None = None, **context: Any
    ) -> Rehearsal:
        about = {
            "execution_id": "e1",
            "user": "stanley",
            "pack": "test",
            "action": "test.workflow",
            **context,
        }
        self.take(
            self.conductor.begin(
                inputs=inputs or {}, context=about, lookups=self.lookups, rerun=rerun
            )
        )
        return self

    def take(self, step: Step) -> None:
        """Apply a step: write the changes, remember the decisions."""
        for key, value in msgspec.json.decode(msgspec.json.encode(step.changes)).items():
            if value is None:
                self.state.pop(key, None)
            else:
                self.state[key] = value
        for decision in step.decisions:
            if isinstance(decision, StartTask):
                self.started.append(decision)
                self.open[decision.key] = decision
            elif isinstance(decision, SetStatus):
                self.statuses.append(decision.status)
            elif isinstance(decision, Cancel):
                self.canceled_keys.extend(decision.keys or self.open)
            else:
                self.finished = decision

    def hear(self, event: Event) -> None:
        self.take(self.conductor.advance(self.state, event, lookups=self.lookups))

    def end(
        self, key: str, status: ExecutionStatus = ExecutionStatus.SUCCEEDED, result: Any = None
    ) -> None:
        """A child ends."""
        self.open.pop(key)
        self.hear(TaskFinished(key=key, status=status, result=result, execution_id=f"x-{key}"))

    def end_task(
        self, name: str, status: ExecutionStatus = ExecutionStatus.SUCCEEDED, result: Any = None
    ) -> None:
        """The first open child of a task ends."""
        self.end(next(key for key, task in self.open.items() if task.task == name), status, result)

    def run(
        self, act: Act = succeed, choose: Callable[[Sequence[str]], str] = lambda keys: keys[0]
    ) -> Rehearsal:
        """Let children end, in the order `choose` picks, until none is open or the run is over."""
        while self.open and self.finished is None:
            key = choose(list(self.open))
            status, result = act(self.open[key])
            self.end(key, status, result)
        return self

    @property
    def order(self) -> list[str]:
        """The names of the tasks in the order they were started."""
        return [task.task for task in self.started]
