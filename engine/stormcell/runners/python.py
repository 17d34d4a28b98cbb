"""python-script: an Action class of the pack, run in a warm worker process.

Source of the result's shape: contrib/runners/python_runner/python_runner/python_runner.py of
StackStorm 3.9.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any, Final

from stormcell.content.models import Action, Pack
from stormcell.content.registry import Content
from stormcell.errors import TemporaryError
from stormcell.running import STARTED_BY, OutputSink, RunRequest, RunResult
from stormcell.statuses import ExecutionStatus
from stormcell.workers.pool import (
    OWN_INTERPRETER,
    Interpreter,
    Job,
    Outcome,
    Preload,
    WorkerPool,
    engine_packages,
    interpreter_for,
)
from stormcell.workers.ports import Services, answer

_INVALID_STATUS_EXIT_CODE: Final = 220
log = logging.getLogger(__name__)

FRESH_PROCESS_TAG: Final = "fresh_process"


class PythonRunner:
    """Runs Python actions. `pool` may be shared."""

    def __init__(
        self,
        *,
        pool: WorkerPool,
        virtualenvs: Path | None = None,
        services: Services | None = None,
        api_url: str = "",
    ) -> None:
        self._pool = pool
        self._virtualenvs = virtualenvs
        self._services = services
        self._api_url = api_url

    async def run(self, request: RunRequest, output: OutputSink) -> RunResult:
        interpreter = interpreter_for(request.action.pack, self._virtualenvs)
        job = self._job(request, interpreter)

        def on_line(stream: str, line: str) -> None:
            output("stdout" if stream == "stdout" else "stderr", line)

        async def ask(method: str, arguments: dict[str, Any]) -> Any:
            return await answer(self._services, method, arguments, user=request.user)

        timeout = request.timeout_seconds if request.timeout_seconds > 0 else None
        try:
            outcome = await self._pool.run(
                interpreter,
                job,
                ask=ask,
                on_line=on_line,
                timeout=timeout,
                is_waited_for=STARTED_BY in request.context,
            )
        except asyncio.CancelledError:
            raise
        except TemporaryError as error:
            return RunResult(
                status=ExecutionStatus.FAILED, result={"error": str(error), "traceback": ""}
            )
        if _was_killed(outcome):
            fields = {"execution_id": request.execution_id, "action_ref": request.action.ref}
            log.warning("worker.killed", extra={**fields, "signal": -outcome.exit_code})
        return _result(outcome, request.timeout_seconds)

    def preload(self, content: Content) -> None:
        """Have idle workers load the libraries of these packs' actions; those with the tag
        `fresh_process` apart.
        """
        files: dict[str, list[str]] = {}
        for action in content.actions.values():
            if (
                action.runner_type == "python-script"
                and action.enabled
                and not _wants_fresh_process(action)
            ):
                path = content.pack(action.pack).path / "actions" / action.entry_point
                files.setdefault(action.pack, []).append(str(path))
        packs = [
            _preload(content.pack(pack), found, self._virtualenvs) for pack, found in files.items()
        ]
        self._pool.preload([pack for pack in packs if pack is not None])

    async def close(self) -> None:
        await self._pool.close()

    def _job(self, request: RunRequest, interpreter: Interpreter) -> Job:
        action, root = request.action, request.pack_path
        given = request.runner_parameters.get("env") or {}
        env = {key: str(value) for key, value in given.items() if key.lower() != "pythonpath"}
        env |= action_environment(request, api_url=self._api_url)
        if self._api_url:
            env["ST2_API_URL"] = self._api_url
        if request.auth_token:
            env["ST2_AUTH_TOKEN"] = request.auth_token
        return Job(
            pack=action.pack,
            file=str(root / "actions" / action.entry_point),
            pack_paths=_pack_paths(root),
            path_first=_path_first(root, interpreter),
            path_last=engine_packages(interpreter),
            parameters=request.parameters,
            config=request.config,
            env=env,
            log_level=request.runner_parameters.get("log_level") or "DEBUG",
            reuse=not _wants_fresh_process(action),
        )


def _wants_fresh_process(action: Action) -> bool:
    return any(tag.get("name") == FRESH_PROCESS_TAG for tag in action.tags)


def _preload(pack: Pack, files: list[str], virtualenvs: Path | None) -> Preload | None:
    """None for a pack with an interpreter of its own: warm workers, made before anybody asks, have
    the engine's.
    """
    interpreter = interpreter_for(pack.ref, virtualenvs)
    if interpreter != OWN_INTERPRETER:
        return None
    return Preload(
        pack=pack.ref,
        files=sorted(files),
        pack_paths=_pack_paths(pack.path),
        path_first=_path_first(pack.path, interpreter),
        path_last=engine_packages(interpreter),
    )


def _pack_paths(root: Path) -> list[str]:
    return list(dict.fromkeys([str(root), str(root.resolve())]))


def action_environment(request: RunRequest, *, api_url: str) -> dict[str, str]:
    """Return the ST2_ACTION_ variables that StackStorm gives to actions."""
    env = {
        "ST2_ACTION_PACK_NAME": request.action.pack,
        "ST2_ACTION_EXECUTION_ID": request.execution_id,
        "ST2_ACTION_DEBUG": str(bool(request.runner_parameters.get("debug"))),
    }
    if api_url:
        env["ST2_ACTION_API_URL"] = api_url
    if request.auth_token:
        env["ST2_ACTION_AUTH_TOKEN"] = request.auth_token
    return env


def _path_first(root: Path, interpreter: Interpreter) -> list[str]:
    """The virtual environment's packages, then the pack's `actions/lib`; `actions/` itself comes
    last of all.
    """
    first: list[str] = []
    if interpreter.virtualenv:
        first += [
            str(path)
            for path in sorted(Path(interpreter.virtualenv).glob("lib/python3*/site-packages"))
        ]
    return [*first, str(root / "actions" / "lib")]


def _was_killed(outcome: Outcome) -> bool:
    return outcome.exit_code < 0 and not outcome.timed_out


def _result(outcome: Outcome, timeout_seconds: float) -> RunResult:
    if outcome.exit_code == _INVALID_STATUS_EXIT_CODE:
        return RunResult(
            status=ExecutionStatus.FAILED,
            result={"error": outcome.stderr, "traceback": "", "stdout": outcome.stdout},
        )
    result = {
        "result": outcome.result,
        "exit_code": outcome.exit_code,
        "stdout": outcome.stdout,
        "stderr": outcome.stderr,
    }
    if outcome.timed_out:
        result["error"] = f"Action failed to complete in {timeout_seconds:g} seconds"
        return RunResult(status=ExecutionStatus.TIMEOUT, result=result)
    if _was_killed(outcome):
        result["error"] = (
            f"The action's process was ended by signal {-outcome.exit_code}, from outside or by itself."
        )
    succeeded = outcome.exit_code == 0 and outcome.status is not False
    return RunResult(
        status=ExecutionStatus.SUCCEEDED if succeeded else ExecutionStatus.FAILED, result=result
    )
