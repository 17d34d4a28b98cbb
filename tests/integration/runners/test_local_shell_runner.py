"""local-shell-cmd and local-shell-script."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from stormcell.packs import CORE_PACK
from stormcell.runners.shell import LocalShellRunner
from stormcell.running import RunResult

from tests.integration.runners.conftest import Requests, is_alive

SCRIPT_ACTION = """
name: show
runner_type: local-shell-script
entry_point: show.sh
parameters:
  where: {type: string, position: 1}
  flags: {type: array, position: 0}
  loud: {type: boolean}
  quiet: {type: boolean}
  name: {type: string}
  empty: {type: string}
"""


def _run(
    command: str, *, timeout: float = 30, **runner_parameters: Any
) -> tuple[RunResult, list[tuple[str, str]]]:
    requests = Requests(CORE_PACK)
    request = requests("local", timeout=timeout, cmd=command, **runner_parameters)
    return asyncio.run(LocalShellRunner().run(request, requests.output)), requests.lines


RESULTS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "text": (
        "echo hello; echo oops >&2",
        "succeeded",
        {"stdout": "hello", "stderr": "oops", "return_code": 0},
    ),
    "exit code": ("exit 3", "failed", {"return_code": 3, "failed": True, "succeeded": False}),
    "json": ("echo '{\"a\": [1]}'", "succeeded", {"stdout": {"a": [1]}}),
    "number": ("echo 1", "succeeded", {"stdout": 1}),
    "last break only": ("printf 'a\\n\\n'", "succeeded", {"stdout": "a\n"}),
    "unicode": ("printf 'grüße'", "succeeded", {"stdout": "grüße"}),
    "killed by itself": ("kill -TERM $$", "abandoned", {"return_code": -15}),
    "unknown command": ("no-such-command-here", "failed", {"return_code": 127}),
}


@pytest.mark.parametrize("command, status, expected", RESULTS.values(), ids=RESULTS.keys())
def test_results_are_stackstorms(command: str, status: str, expected: dict[str, Any]) -> None:
    """Exit codes become statuses, and JSON on an output is decoded."""
    found, _ = _run(command)
    assert found.status == status
    assert {key: found.result[key] for key in expected} == expected


def test_lines_come_live() -> None:
    """Each line is handed on, the last one also without a line break."""
    _, lines = _run("echo one; printf two")
    assert lines == [("stdout", "one\n"), ("stdout", "two")]


def test_directory_and_environment(tmp_path: Path) -> None:
    """`cwd` and `env` are the action's; StackStorm's variables are there."""
    found, _ = _run('echo "$PWD $OWN $ST2_ACTION_PACK_NAME"', cwd=str(tmp_path), env={"OWN": 1})
    assert found.result["stdout"] == f"{tmp_path} 1 core"


def test_a_directory_that_is_not_there_is_told() -> None:
    """The run fails with a sentence."""
    found, _ = _run("true", cwd="/no/such/folder")
    assert found.status == "failed"
    assert "/no/such/folder" in found.result["error"]


def test_time_up_kills_what_the_command_started() -> None:
    """Also what left the process group; the exit code is -9."""
    found, _ = _run("setsid sleep 1000 & echo $!; wait", timeout=0.5)
    assert found.status == "timeout"
    assert found.result["return_code"] == -9
    assert found.result["error"] == "Action failed to complete in 0.5 seconds"
    assert not is_alive(found.result["stdout"])


def test_a_background_process_does_not_hold_up_the_run() -> None:
    """The end of the command is the end of the run, even if a child keeps its output open."""
    found, _ = _run("sleep 1000 & echo $!")
    pid = found.result["stdout"]
    assert found.status == "succeeded"
    assert is_alive(pid)
    _run(f"kill {pid}")


def test_cancelling_stops_the_command() -> None:
    """The process is gone before the cancellation goes on."""
    requests = Requests(CORE_PACK)

    async def go() -> int:
        started: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        runner = LocalShellRunner()
        request = requests("local", cmd="sleep 1000 & echo $!; wait")
        task = asyncio.ensure_future(
            runner.run(request, lambda stream, line: started.set_result(int(line)))
        )
        pid = await started
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        return pid

    assert not is_alive(asyncio.run(go()))


def test_a_script_gets_named_then_positional_arguments(tmp_path: Path) -> None:
    """As StackStorm passes them: empty values left out, true flags without a value, lists by
    commas.
    """
    actions = tmp_path / "actions"
    actions.mkdir()
    (tmp_path / "pack.yaml").write_text(
        "name: scripts\ndescription: d\nversion: 0.1.0\nauthor: a\nemail: a@example.org\n"
    )
    (actions / "show.yaml").write_text(SCRIPT_ACTION)
    (actions / "show.sh").write_text('#!/bin/sh\nfor a in "$@"; do echo "[$a]"; done\n')
    requests = Requests(tmp_path)
    parameters = {
        "where": "a b; rm",
        "flags": [1, 2],
        "loud": True,
        "quiet": False,
        "name": "it's",
        "empty": "",
    }
    found = asyncio.run(LocalShellRunner().run(requests("show", parameters), requests.output))
    assert found.result["stdout"] == "[--loud]\n[--name=it's]\n[1,2]\n[a b; rm]"
