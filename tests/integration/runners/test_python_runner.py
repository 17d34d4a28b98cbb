"""python-script: StackStorm's contract, kept by warm workers that are as new for each run."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from stormcell.packs import CORE_PACK
from stormcell.runners.python import PythonRunner
from stormcell.running import RunResult
from stormcell.workers.pool import WorkerPool
from stormcell.workers.ports import Services

from tests.integration.runners.conftest import MemoryStore, Requests, is_alive

pytestmark = pytest.mark.usefixtures("run_async")


@asynccontextmanager
async def _runner(
    store: MemoryStore | None = None, *, size: int = 1, **options: Any
) -> AsyncIterator[PythonRunner]:
    pool = WorkerPool(size=size)
    services = Services(datastore=store, dispatch=store.dispatch) if store else None
    runner = PythonRunner(pool=pool, services=services, **options)
    try:
        yield runner
    finally:
        await runner.close()
        assert pool.pids == []


def _run(
    action: str, parameters: dict[str, Any] | None = None, **options: Any
) -> tuple[RunResult, Requests]:
    """Run one action of the pack `isolation` in a new worker."""
    requests = Requests("isolation")

    async def go() -> RunResult:
        async with _runner() as runner:
            return await runner.run(requests(action, parameters, **options), requests.output)

    return asyncio.run(go()), requests


ENDS: dict[str, tuple[dict[str, Any], str, Any]] = {
    "a value": ({"how": "value", "text": "grüße €"}, "succeeded", {"text": "grüße €"}),
    "true": ({"how": "succeeded", "text": "x"}, "succeeded", "x"),
    "false": ({"how": "failed", "text": "x"}, "failed", {"why": "x"}),
    "exception": ({"how": "raises", "text": "boo"}, "failed", "None"),
    "exit 0": ({"how": "exits", "text": "0"}, "succeeded", "None"),
    "exit 3": ({"how": "exits", "text": "3"}, "failed", "None"),
    "killed": ({"how": "dies"}, "failed", "None"),
    "not JSON": ({"how": "an_object"}, "succeeded", "{'a'}"),
    "dates and NaN": (
        {"how": "dates"},
        "succeeded",
        {"when": "2024-02-29T12:00:01", "nan": None, "pair": [1, 2]},
    ),
}


@pytest.mark.parametrize("parameters, status, result", ENDS.values(), ids=ENDS.keys())
def test_status_and_result_are_stackstorms(
    parameters: dict[str, Any], status: str, result: Any
) -> None:
    """Whatever an action returns or raises ends as it would there; a run without a result has the
    text None.
    """
    found, _ = _run("ends", parameters)
    assert found.status == status
    assert found.result["result"] == result


def test_an_exception_leaves_its_traceback_in_stderr() -> None:
    """The traceback begins in the pack's file, and the exit code is 1."""
    found, requests = _run("ends", {"how": "raises", "text": "boo"})
    assert found.result["exit_code"] == 1
    assert found.result["stderr"].splitlines()[-1] == "ValueError: boo"
    assert "actions/ends.py" in found.result["stderr"].splitlines()[1]
    assert ("stderr", "ValueError: boo\n") in requests.lines


def test_a_status_that_is_no_boolean_fails_the_run() -> None:
    """StackStorm tells how to return a tuple."""
    found, _ = _run("ends", {"how": "bad_status", "text": "x"})
    assert found.status == "failed"
    assert "True or False, got: yes" in found.result["error"]


def test_a_worker_that_dies_leaves_its_last_words() -> None:
    """The exit code names the signal, and what was written before is kept."""
    found, _ = _run("ends", {"how": "dies"})
    assert (found.result["exit_code"], found.result["stdout"]) == (-9, "last words\n")


def test_much_output_and_many_letters_arrive_whole() -> None:
    """Output larger than any pipe does not block, and no letter is cut."""
    found, requests = _run("ends", {"how": "writes", "text": "20000"})
    lines = found.result["stdout"].splitlines()
    assert found.result["result"] == "written"
    assert (len(lines), lines[-1]) == (20000, "019999 " + "ü" * 100)
    assert len(found.result["stderr"]) == 1_000_000
    assert sum(stream == "stdout" for stream, _ in requests.lines) == 20000


def test_logger_and_config_are_stackstorms() -> None:
    """The logger writes to stderr at the level asked for; the configuration is a mapping that
    explains itself.
    """
    found, _ = _run(
        "ends", {"how": "logs", "text": "hello"}, config={"greeting": "hi"}, log_level="INFO"
    )
    assert found.result["result"] == "hi"
    assert found.result["stderr"] == "st2.actions.python.Ends: INFO     hello\n"
    found, _ = _run("ends", {"how": "missing_config"})
    assert 'Config for pack "isolation" is missing key "absent"' in found.result["stderr"]


def test_the_environment_is_stackstorms() -> None:
    """The ST2_ variables and the action's own are there; PYTHONPATH cannot be set, and STORMCELL_
    is not inherited.
    """
    requests = Requests("isolation")
    names = (
        "ST2_ACTION_PACK_NAME ST2_ACTION_EXECUTION_ID ST2_ACTION_API_URL ST2_ACTION_AUTH_TOKEN "
        "OWN PYTHONPATH"
    )

    async def go() -> RunResult:
        async with _runner(api_url="http://127.0.0.1:1/v1") as runner:
            request = requests(
                "ends",
                {"how": "environment", "text": names},
                env={"OWN": 1, "PYTHONPATH": "/nowhere"},
            )
            request = msgspec.structs.replace(request, auth_token="t")
            return await runner.run(request, requests.output)

    assert asyncio.run(go()).result["result"] == {
        "ST2_ACTION_PACK_NAME": "isolation",
        "ST2_ACTION_EXECUTION_ID": "65f000000000000000000001",
        "ST2_ACTION_API_URL": "http://127.0.0.1:1/v1",
        "ST2_ACTION_AUTH_TOKEN": "t",
        "OWN": "1",
        "PYTHONPATH": os.environ.get("PYTHONPATH"),
    }


def test_parameters_are_not_on_the_command_line() -> None:
    """Neither parameters nor configuration can be read from the process list."""
    found, _ = _run(
        "ends", {"how": "argv", "text": "parameter-s3cret"}, config={"password": "config-s3cret"}
    )
    assert "s3cret" not in found.result["result"]


def test_a_missing_file_is_told() -> None:
    """The error names the file."""
    requests = Requests("isolation")
    request = requests("ends", {"how": "value"})
    request.action.entry_point = "absent.py"

    async def go() -> RunResult:
        async with _runner() as runner:
            return await runner.run(request, requests.output)

    found = asyncio.run(go())
    assert found.status == "failed"
    assert 'actions/absent.py" does not exist' in found.result["stderr"]


def test_a_run_leaves_no_mark_on_the_next() -> None:
    """Directory, environment, path, logging, warnings, signals, built-ins, streams and module state
    are as before, in the same process."""
    requests = Requests("isolation")

    async def go() -> list[RunResult]:
        async with _runner() as runner:
            names: list[tuple[str, dict[str, Any]]] = [
                ("look", {}),
                ("mark", {"what": "everything"}),
                ("look", {}),
                ("mark", {"what": "closed_streams"}),
                ("look", {}),
            ]
            return [
                await runner.run(requests(name, given), requests.output) for name, given in names
            ]

    before, mark, after, closed, last = (result.result["result"] for result in asyncio.run(go()))
    assert before["count"] == 1
    assert mark == before["pid"] == closed
    assert after == before
    assert last == before


REPLACED = {"a child process": "child", "a daemon thread": "daemon_thread", "memory": "memory"}


@pytest.mark.parametrize("what", REPLACED.values(), ids=REPLACED.keys())
def test_a_worker_with_something_left_is_replaced(what: str) -> None:
    """What cannot be undone ends the worker; the next run gets another."""
    requests = Requests("isolation")

    async def go() -> tuple[RunResult, RunResult]:
        async with _runner() as runner:
            return (
                await runner.run(requests("mark", {"what": what}), requests.output),
                await runner.run(requests("look"), requests.output),
            )

    first, second = asyncio.run(go())
    if first.result["stdout"]:
        left = int(first.result["stdout"])
        assert is_alive(left), "as in StackStorm, what an action leaves in the background goes on"
        os.kill(left, signal.SIGKILL)
    assert first.status == second.status == "succeeded"
    assert first.result["result"] != second.result["result"]["pid"]


def test_a_run_lasts_until_its_threads_have_ended() -> None:
    """What a thread writes belongs to the run that started it, as a process would have it."""
    found, _ = _run("mark", {"what": "thread"})
    assert found.result["stdout"] == "late line\n"


def test_the_tag_fresh_process_opts_out() -> None:
    """Such an action runs in a process that ran nothing before and runs nothing after."""
    requests = Requests("isolation")

    async def go() -> list[int]:
        async with _runner() as runner:
            names = ["look", "look_fresh", "look_fresh", "look"]
            results = [await runner.run(requests(name), requests.output) for name in names]
            return [result.result["result"]["pid"] for result in results]

    first, fresh, fresher, last = asyncio.run(go())
    assert len({first, fresh, fresher}) == 3
    assert last not in (fresh, fresher)


def test_time_up_kills_grandchildren_too() -> None:
    """The status is timeout with StackStorm's words, nothing that the action started lives on."""
    found, _ = _run("waits", {"path": "x"}, timeout=0.5)
    assert found.status == "timeout"
    assert found.result["error"] == "Action failed to complete in 0.5 seconds"
    assert not is_alive(int(found.result["stdout"]))


def test_cancelling_kills_grandchildren_too() -> None:
    """When the run is cancelled, the process tree is gone before the cancellation goes on."""
    requests = Requests("isolation")

    async def go() -> int:
        started: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def output(stream: str, line: str) -> None:
            if stream == "stdout":
                started.set_result(int(line))

        async with _runner() as runner:
            task = asyncio.ensure_future(runner.run(requests("waits", {"path": "x"}), output))
            pid = await started
            assert is_alive(pid)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            assert task.cancelled()
            alive = is_alive(pid)
            again = await runner.run(
                requests("ends", {"how": "value", "text": "x"}), requests.output
            )
            assert again.status == "succeeded", "the pool goes on with another worker"
            return alive

    assert not asyncio.run(go())


def test_closing_waits_for_workers_that_were_told_to_end() -> None:
    """A worker that has had all its runs is replaced; it too is gone when the pool is closed."""
    requests = Requests("isolation")
    seen: list[int] = []

    async def go() -> None:
        pool = WorkerPool(size=1, runs_per_worker=1)
        runner = PythonRunner(pool=pool)
        try:
            await runner.run(
                requests("ends", {"how": "value", "text": "x"}),
                lambda *_: seen.extend(pool.pids),
            )
            seen.extend(pool.pids)
            await pool.settled()
        finally:
            await runner.close()

    asyncio.run(go())
    assert seen
    assert not any(Path(f"/proc/{pid}").exists() for pid in seen), "not even as a zombie"


def test_runs_wait_for_a_worker() -> None:
    """More runs than workers all come to their end."""
    requests = Requests("isolation")

    async def go() -> list[RunResult]:
        async with _runner(size=2) as runner:
            runs = [
                runner.run(requests("ends", {"how": "value", "text": str(n)}), requests.output)
                for n in range(12)
            ]
            return list(await asyncio.gather(*runs))

    assert [result.result["result"]["text"] for result in asyncio.run(go())] == [
        str(n) for n in range(12)
    ]


def test_a_worker_killed_from_outside_is_replaced() -> None:
    """An idle worker that died is not given work."""
    requests = Requests("isolation")

    async def go() -> tuple[int, int]:
        async with _runner() as runner:
            first = await runner.run(requests("look"), requests.output)
            pid = first.result["result"]["pid"]
            os.kill(pid, signal.SIGKILL)
            async with asyncio.timeout(120):
                while Path(f"/proc/{pid}").exists():  # until the engine has seen its end
                    await asyncio.sleep(0.01)
            second = await runner.run(requests("look"), requests.output)
            return pid, second.result.get("result", {})["pid"]

    first, second = asyncio.run(go())
    assert first != second


def test_the_action_service_reaches_the_datastore(store: MemoryStore) -> None:
    """Keys are local to pack and class unless `local=False`; values can be encrypted, listed and
    deleted.
    """
    requests = Requests("isolation")

    async def go() -> RunResult:
        async with _runner(store) as runner:
            return await runner.run(
                requests("store", {"name": "cursor", "value": "7"}), requests.output
            )

    assert asyncio.run(go()).result["result"] == {
        "before": None,
        "cipher": "cipher of 7",
        "plain": "7",
        "names": ["isolation.Store:cursor"],
        "user": "somebody",
        "deleted": [True, False],
    }
    assert store.values == {"shared": ("7", False)}


CORE: dict[str, tuple[str, dict[str, Any], Callable[[Any], bool]]] = {
    "uuid": ("uuid", {"uuid_type": "uuid4"}, lambda result: len(result) == 36),
    "inject_trigger": (
        "inject_trigger",
        {"trigger_name": "a.b", "payload": {"x": 1}, "trace_tag": "t"},
        lambda result: result == {"trigger": "a.b", "payload": {"x": 1}},
    ),
}


@pytest.mark.parametrize("action, parameters, fits", CORE.values(), ids=CORE.keys())
def test_the_core_packs_python_actions_run(
    action: str, parameters: dict[str, Any], fits: Callable[[Any], bool], store: MemoryStore
) -> None:
    """They are ordinary pack content."""
    requests = Requests(CORE_PACK)

    async def go() -> RunResult:
        async with _runner(store) as runner:
            return await runner.run(requests(action, parameters), requests.output)

    found = asyncio.run(go())
    assert found.status == "succeeded", found.result
    assert fits(found.result["result"])
    if action == "inject_trigger":
        assert store.dispatched == [("a.b", {"x": 1}, {"trace_tag": "t"})]


def test_workers_die_with_the_engine() -> None:
    """Also when the engine is killed and can do nothing for it."""
    program = (
        "import asyncio, sys, time\n"
        "from stormcell.workers.pool import WorkerPool\n"
        "async def main():\n"
        "    pool = WorkerPool(size=1)\n"
        "    pool.start()\n"
        "    await next(iter(pool._all)).ready\n"
        "    print(pool.pids[0], flush=True)\n"
        "    await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True
    ) as engine:
        assert engine.stdout is not None
        pid = int(engine.stdout.readline())
        assert is_alive(pid)
        engine.kill()
    deadline = time.monotonic() + 30
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.005)  # Another process's end cannot be waited for.
    assert not is_alive(pid)


STATEFUL = """
import os
import keeping
from st2common.runners.base_action import Action

class Keep(Action):
    def run(self, megabytes=0):
        before, keeping.KEPT = keeping.KEPT, [bytearray(megabytes << 20)]
        import boto3
        session, _ = boto3.DEFAULT_SESSION, boto3.setup_default_session(region_name="eu-west-1")
        return {"pid": os.getpid(), "kept": before is not None, "session": session is not None}
"""


def _stateful(folder: Path, ref: str, library: Path) -> Requests:
    """A pack whose action leaves something behind in a library that stays loaded."""
    (folder / ref / "actions").mkdir(parents=True)
    (folder / ref / "pack.yaml").write_text(
        f"ref: {ref}\nname: {ref}\ndescription: x\nversion: 1.0.0\nauthor: a\n"
        "email: a@example.com\n"
    )
    (folder / ref / "actions" / "keep.yaml").write_text(
        "name: keep\nrunner_type: python-script\nentry_point: keep.py\n"
        "parameters: {megabytes: {type: integer}}\n"
    )
    code = f"import sys\nsys.path.append({str(library)!r})\n{STATEFUL}"
    (folder / ref / "actions" / "keep.py").write_text(code)
    return Requests(folder / ref)


def _kept(tmp_path: Path, *runs: tuple[str, int]) -> list[dict[str, Any]]:
    library = tmp_path / "site-packages"
    library.mkdir()
    (library / "keeping.py").write_text("KEPT = None\n")
    packs = {ref: _stateful(tmp_path, ref, library) for ref in sorted({ref for ref, _ in runs})}

    async def go() -> list[RunResult]:
        async with _runner() as runner:
            return [
                await runner.run(packs[ref]("keep", {"megabytes": size}), packs[ref].output)
                for ref, size in runs
            ]

    return [found.result["result"] for found in asyncio.run(go())]


def test_packs_share_nothing(tmp_path: Path) -> None:
    """What a library keeps of one pack's run is not there in another's; an AWS session not even in
    the next of its own.
    """
    first, other, again = _kept(tmp_path, ("one", 0), ("two", 0), ("one", 0))
    assert (first["kept"], other["kept"]) == (False, False)
    assert other["pid"] != first["pid"]
    assert [run["session"] for run in (first, other, again)] == [False, False, False]


def test_a_worker_that_grew_is_replaced(tmp_path: Path) -> None:
    """Memory that libraries keep does not add up."""
    grown, after = _kept(tmp_path, ("one", 200), ("one", 0))
    assert after["pid"] != grown["pid"]
    assert not after["kept"]
