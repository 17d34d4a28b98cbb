"""What a conductor is: the pure core that decides what a chain or a workflow does next.

The engine owns effects (it starts executions, keeps time, writes SQLite) and a conductor owns
decisions. Both action-chains (`stormcell.chains`) and Orquesta workflows (`stormcell.orquesta`)
speak this one small language:

    step = conductor.begin(...)                 # the run is asked for
    step = conductor.advance(state, event)      # something happened to it

`state` is a mapping of text keys to JSON values. A step does not return a whole new state but the
keys that changed (`changes`; a value of None removes the key), so that what is written per step
does not grow with the workflow. The engine commits `changes` together with the executions that the
decisions ask for, in one transaction, and only then acts. After a crash it reads the keys back and
goes on: `advance(load(...), event)` must continue identically.
"""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from stormcell.statuses import ExecutionStatus

State = dict[str, Any]


class StartTask(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Run an action as a child execution."""

    key: str
    """Unique within the run and stable over a replay: what `TaskFinished` names (task, route, item,
    attempt).
    """
    task: str
    """The task's name, as its author wrote it."""
    action: str
    """The action's full ref."""
    parameters: dict[str, Any]
    """Rendered; not yet checked against the action's parameters."""
    delay_seconds: float = 0.0
    context: dict[str, Any] = {}
    """Goes into the child's context under the runner's name (`chain` or `orquesta`), as StackStorm
    does.
    """
    notify: dict[str, Any] | None = None


class Cancel(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Cancel what runs under these keys (empty: all of it)."""

    keys: tuple[str, ...] = ()


class SetStatus(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The run itself moves on (pausing, paused, running); not to a terminal status."""

    status: ExecutionStatus


class Finish(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The run has ended."""

    status: ExecutionStatus
    result: dict[str, Any]
    """What StackStorm stores as the execution's result."""


Decision = StartTask | Cancel | SetStatus | Finish


class TaskFinished(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A child execution reached a terminal status."""

    key: str
    status: ExecutionStatus
    result: Any
    execution_id: str = ""
    started_at: str = ""
    ended_at: str = ""


class TaskRefused(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A child could not be made: no such action, or parameters that do not fit. Treated as a failed
    task.
    """

    key: str
    message: str
    at: str = ""
    """When, as an instant of StackStorm's form."""
    unknown_action: bool = False
    """No such action: StackStorm's chains end there, without their `on-failure`."""
    is_uncast: bool = False
    """A parameter is not of its type: StackStorm's chains end there, too."""


class TaskPaused(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A child waits: an inquiry (`pending`) or a paused sub-workflow (`paused`)."""

    key: str
    status: ExecutionStatus


class TaskResumed(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A child that had paused runs again (a sub-workflow whose inquiry was answered)."""

    key: str


class PauseRequested(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Somebody asked to pause: start nothing new, be paused once nothing runs."""


class ResumeRequested(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Somebody asked to resume."""


class CancelRequested(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Somebody asked to cancel: be canceled once nothing runs."""


Event = (
    TaskFinished
    | TaskRefused
    | TaskPaused
    | TaskResumed
    | PauseRequested
    | ResumeRequested
    | CancelRequested
)


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to an event: what to write, and what to do."""

    changes: dict[str, Any] = {}
    decisions: tuple[Decision, ...] = ()


class Lookups(Protocol):
    """What expressions may read that is not in the state. Implementations must not block."""

    def datastore(self, name: str, *, scope: str, decrypt: bool = False, user: str = "") -> Any:
        """Return the value of a key (`scope` is `system` or `user`); raise NotFoundError where
        there is none.
        """

    def pack_config(self, pack: str) -> dict[str, Any]:
        """Return a pack's configuration with defaults, datastore references resolved."""


class Rerun(msgspec.Struct, frozen=True, kw_only=True):
    """A re-run that keeps the finished part of an earlier run."""

    state: State
    tasks: tuple[str, ...]
    """Names of the tasks to start from; empty: the ones that failed."""
    reset: tuple[str, ...] = ()
    """Names of `with items` tasks whose finished items run again too."""


class Conductor(Protocol):
    """Decides for one definition. Holds no state of a run; one instance serves all runs of the
    definition.
    """

    def begin(
        self,
        *,
        inputs: dict[str, Any],
        context: dict[str, Any],
        lookups: Lookups,
        rerun: Rerun | None = None,
    ) -> Step:
        """Start a run. `inputs` are the rendered parameters, `context` is StackStorm's action
        context (`execution_id`, `user`, `parent`, `pack`, ...). An error in the definition is a
        `Finish` with status failed."""

    def advance(self, state: State, event: Event, *, lookups: Lookups) -> Step:
        """Answer an event. Does not change `state`. An event for an unknown or finished key changes
        nothing.
        """
