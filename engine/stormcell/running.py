"""What a runner is: the part that carries out one execution of an action that is not a chain or a
workflow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec

from stormcell.content.models import Action
from stormcell.statuses import ExecutionStatus

Stream = Literal["stdout", "stderr", "output"]
STARTED_BY = "started_by"
"""In an execution's context: the running execution that asked the API for it, and may wait for
it.
"""
NAMED_BY = "named_by"
"""In an execution's context: who had it run as another user, for whom there need be no account."""
OutputSink = Callable[[Stream, str], None]
"""Called with each line or chunk as it comes, from the event loop; for live output
(`/executions/ID/output`).
"""


def is_named(context: Any) -> bool:
    """Whether the user of an execution, or of one above it, was named by another."""
    while isinstance(context, Mapping):
        if NAMED_BY in context:
            return True
        context = context.get("parent")
    return False


class RunRequest(msgspec.Struct, frozen=True, kw_only=True):
    """All that a runner needs; it reads nothing else."""

    execution_id: str
    action: Action
    pack_path: Path
    parameters: dict[str, Any]
    """The action's own parameters: rendered, checked, in clear. Never log them."""
    runner_parameters: dict[str, Any]
    """The runner's (`timeout`, `env`, `cwd`, `cmd`, `log_level`, ...), with defaults filled in."""
    context: dict[str, Any]
    """StackStorm's action context: user, parent, trigger_instance, pack, ..."""
    config: dict[str, Any]
    """The pack's configuration, datastore references resolved, secrets in clear. Never log it."""
    timeout_seconds: float
    user: str = ""
    auth_token: str = ""
    """For the API; it ends with the execution. Never log it."""


class RunResult(msgspec.Struct, frozen=True, kw_only=True):
    """How it ended. `result` has the shape StackStorm's runner of the same name gives."""

    status: ExecutionStatus
    result: Any
    context: dict[str, Any] = {}
    """Keys to add to the execution's context."""


class Runner(Protocol):
    """Carries out executions; `run` is called concurrently."""

    async def run(self, request: RunRequest, output: OutputSink) -> RunResult:
        """Run to the end. Keeps the time limit itself and answers `timeout`. When the task is
        cancelled, the work is really stopped (process group killed) before CancelledError goes on.
        Raises nothing else."""

    async def close(self) -> None:
        """Stop everything. Safe to repeat."""
