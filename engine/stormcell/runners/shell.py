"""local-shell-cmd and local-shell-script: a command, or an executable file of the pack.

Source: contrib/runners/local_runner and st2common/models/system/action.py of StackStorm 3.9. One
difference is meant: StackStorm runs commands as its system user `stanley` through sudo; here they
run as the user that the engine runs as.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shlex
import stat
import subprocess
from pathlib import Path
from typing import Any, Final

from stormcell.runners.python import action_environment
from stormcell.running import OutputSink, RunRequest, RunResult
from stormcell.statuses import ExecutionStatus
from stormcell.workers.processes import ChildProcess, LineSplitter

_TIMEOUT_EXIT_CODE: Final = -9
_STATUSES: Final = {
    0: ExecutionStatus.SUCCEEDED,
    -9: ExecutionStatus.TIMEOUT,
    -15: ExecutionStatus.ABANDONED,
}


class LocalShellRunner:
    """Runs shell commands and scripts."""

    def __init__(self, *, api_url: str = "") -> None:
        self._api_url = api_url
        self._running: set[ChildProcess] = set()

    async def run(self, request: RunRequest, output: OutputSink) -> RunResult:
        if request.action.runner_type == "local-shell-script":
            script = request.pack_path / "actions" / request.action.entry_point
            if not script.is_file():
                return _refused(f"The script {script} does not exist.")
            _make_executable(script)
            command = script_command(script, request)
        else:
            command = request.runner_parameters.get("cmd") or ""
            if not command:
                return _refused("The parameter cmd is empty; say which command to run.")
        return await self._execute(request, command, output)

    async def close(self) -> None:
        await asyncio.gather(*(child.stop(grace_seconds=0) for child in list(self._running)))

    async def _execute(self, request: RunRequest, command: str, output: OutputSink) -> RunResult:
        password = request.runner_parameters.get("sudo_password")
        if request.runner_parameters.get("sudo"):
            command = f"sudo {'-S ' if password else ''}-E -- bash -c {shlex.quote(command)}"
        stdin = _pipe_with(password) if password else None
        streams = (
            LineSplitter(lambda s: output("stdout", s)),
            LineSplitter(lambda s: output("stderr", s)),
        )
        try:
            child = ChildProcess.start(
                command,
                env=self._env(request),
                cwd=request.runner_parameters.get("cwd") or None,
                stdin=stdin if stdin is not None else subprocess.DEVNULL,
                on_stdout=streams[0].feed,
                on_stderr=streams[1].feed,
            )
        except OSError as error:
            return _refused(
                f"The command could not be started: {error.strerror} ({error.filename})."
            )
        finally:
            if stdin is not None:
                os.close(stdin)
        self._running.add(child)
        try:
            timed_out = await self._wait(child, request.timeout_seconds)
        finally:
            self._running.discard(child)
        code = _TIMEOUT_EXIT_CODE if timed_out else child.exited.result()
        return _result(
            code, streams[0].finish(), streams[1].finish(), timed_out, request, bool(password)
        )

    async def _wait(self, child: ChildProcess, timeout_seconds: float) -> bool:
        """Wait for the end. True when the time was up; when cancelled, everything is stopped first."""
        timeout = timeout_seconds if timeout_seconds > 0 else None
        try:
            await asyncio.wait_for(asyncio.shield(child.exited), timeout)
        except TimeoutError:
            await child.stop()
            return True
        except asyncio.CancelledError:
            await asyncio.shield(asyncio.ensure_future(child.stop()))
            raise
        child.finish_output()
        return False

    def _env(self, request: RunRequest) -> dict[str, str]:
        env = {key: value for key, value in os.environ.items() if not key.startswith("STORMCELL_")}
        given = request.runner_parameters.get("env") or {}
        env |= {key: str(value) for key, value in given.items()}
        return env | action_environment(request, api_url=self._api_url)


def script_command(script: Path, request: RunRequest) -> str:
    """Return the shell command for a script: named arguments first (`--name=value`), then those
    with a position.
    """
    operator = request.runner_parameters.get("kwarg_op") or "--"
    positions = {
        name: schema["position"]
        for name, schema in request.action.parameters.items()
        if "position" in schema
    }
    parts = [shlex.quote(str(script))]
    for name, value in request.parameters.items():
        if name in positions or value is None or value == "":
            continue
        if isinstance(value, bool):
            parts += [operator + name] if value else []
        else:
            parts.append(f"{shlex.quote(operator + name)}={shlex.quote(_argument(value))}")
    for name in sorted(positions, key=lambda item: positions[item]):
        parts.append(
            shlex.quote(_positional(request.parameters.get(name), request.action.parameters[name]))
        )
    return " ".join(parts)


def _argument(value: Any) -> str:
    return json.dumps(value) if isinstance(value, (dict, list)) else str(value)


def _positional(value: Any, schema: dict[str, Any]) -> str:
    """Serialise as StackStorm's get_args does: lists of plain values by commas, booleans as 1 and
    0.
    """
    kind = schema.get("type")
    if value is None:
        return ""
    if kind == "boolean":
        return "1" if value else "0"
    if (
        kind == "array"
        and isinstance(value, list)
        and not any(isinstance(item, (dict, list)) for item in value)
    ):
        return ",".join(str(item) for item in value)
    return _argument(value)


def _make_executable(script: Path) -> None:
    mode = script.stat().st_mode
    if not mode & stat.S_IXUSR:
        with contextlib.suppress(
            OSError
        ):  # A read-only file system: the shell will say what is wrong.
            script.chmod(mode | stat.S_IXUSR)


def _pipe_with(password: str) -> int:
    """Return the reading end of a pipe that holds the password, so that it is on no command line."""
    reading, writing = os.pipe()
    os.write(writing, f"{password}\n".encode())
    os.close(writing)
    return reading


def _refused(message: str) -> RunResult:
    return RunResult(status=ExecutionStatus.FAILED, result={"error": message, "traceback": ""})


def _result(
    code: int, stdout: str, stderr: str, timed_out: bool, request: RunRequest, with_password: bool
) -> RunResult:
    error = None
    if timed_out:
        error = f"Action failed to complete in {request.timeout_seconds:g} seconds"
    elif with_password and re.search(r"sudo: \d+ incorrect password attempt", stderr):
        user = re.search(r"\[sudo\] password for (.+?):", stderr)
        name = user.group(1) if user else "unknown"
        error = f"Invalid sudo password provided or sudo is not configured for this user ({name})"
        code = -1
    result: dict[str, Any] = {
        "failed": code != 0,
        "succeeded": code == 0,
        "return_code": code,
        "stdout": _decoded(_without_last_break(stdout)),
        "stderr": _decoded(_without_last_break(stderr)),
    }
    if error:
        result["error"] = error
    return RunResult(status=_STATUSES.get(code, ExecutionStatus.FAILED), result=result)


def _without_last_break(text: str) -> str:
    for ending in ("\r\n", "\n", "\r"):
        if text.endswith(ending):
            return text[: -len(ending)]
    return text


def _decoded(text: str) -> Any:
    """JSON on an output becomes its value: `1` is a number then, as in StackStorm."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return text


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)
