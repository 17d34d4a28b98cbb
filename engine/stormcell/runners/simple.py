"""The runners that start nothing: noop, inquirer, announcement.

Source: contrib/runners/{noop,inquirer,announcement}_runner of StackStorm 3.9.
"""

from __future__ import annotations

from typing import Any, Protocol

from stormcell.content.runner_types import RUNNER_TYPES
from stormcell.running import OutputSink, RunRequest, RunResult
from stormcell.statuses import ExecutionStatus


class Announce(Protocol):
    """Sends an announcement to everybody on the stream."""

    async def __call__(self, route: str, payload: dict[str, Any]) -> None:
        """`route` names the event: `announcement__ROUTE`."""


class _Immediate:
    async def close(self) -> None:
        """Nothing is open."""


class NoopRunner(_Immediate):
    """Succeeds."""

    async def run(self, request: RunRequest, output: OutputSink) -> RunResult:
        result = {"failed": False, "succeeded": True, "return_code": 0}
        return RunResult(status=ExecutionStatus.SUCCEEDED, result=result)


class InquirerRunner(_Immediate):
    """Leaves the execution pending; the engine raises the trigger, keeps the time and takes the
    answer.
    """

    async def run(self, request: RunRequest, output: OutputSink) -> RunResult:
        given = RUNNER_TYPES["inquirer"].defaults() | request.runner_parameters
        result = {key: given[key] for key in ("schema", "roles", "users", "route", "ttl")}
        return RunResult(status=ExecutionStatus.PENDING, result=result)


class AnnouncementRunner(_Immediate):
    """Hands the action's parameters to the stream."""

    def __init__(self, announce: Announce | None = None) -> None:
        self._announce = announce

    async def run(self, request: RunRequest, output: OutputSink) -> RunResult:
        if not request.runner_parameters.get("experimental"):
            message = f"Experimental flag is missing for action {request.action.ref}"
            return RunResult(
                status=ExecutionStatus.FAILED, result={"error": message, "traceback": ""}
            )
        route = request.runner_parameters.get("route") or "general"
        if self._announce is not None:
            await self._announce(route, request.parameters)
        return RunResult(
            status=ExecutionStatus.SUCCEEDED,
            result={"output": request.parameters, **request.parameters},
        )
