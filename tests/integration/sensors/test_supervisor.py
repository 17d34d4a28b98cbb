"""Sensors in their own processes: the contract, triggers that come and go, and what happens when
they fail.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from stormcell.content.loader import load_pack
from stormcell.content.models import Sensor
from stormcell.content.registry import Content
from stormcell.errors import TemporaryError
from stormcell.sensors import process
from stormcell.sensors.backoff import Backoff
from stormcell.sensors.supervisor import SensorState, SensorStatus, SensorSupervisor
from stormcell.workers.ports import Dispatched
from stormcell.workers.processes import process_tree

from tests.integration.runners.conftest import MemoryStore, is_alive

WATCHING = Path(__file__).parents[2] / "packs" / "watching"
THING, FAILING, ENDING, OFF = (
    f"watching.{name}Sensor" for name in ("Thing", "Failing", "Ending", "Off")
)
DEADLINE_SECONDS = 120


class Events:
    """Receives what sensors dispatch, and lets a test wait for it."""

    def __init__(self) -> None:
        self.payloads: list[dict[str, Any]] = []
        self.traces: list[Any] = []
        self.batches: list[int] = []
        self.refuse = 0
        self._changed = asyncio.Condition()

    async def dispatch(self, trigger: Any, payload: dict[str, Any], trace_context: Any) -> None:
        if self.refuse:
            self.refuse -= 1
            raise TemporaryError("the disk is full")
        assert trigger == "watching.thing_seen"
        async with self._changed:
            self.payloads.append(payload)
            self.traces.append(trace_context)
            self._changed.notify_all()

    async def dispatch_many(self, batch: Any) -> None:
        async with self._changed:
            self.batches.append(len(batch))
            self.payloads += [item.payload for item in batch if isinstance(item, Dispatched)]
            self._changed.notify_all()

    def named(self, name: str) -> list[dict[str, Any]]:
        return [payload for payload in self.payloads if payload["name"] == name]

    async def wait(self, name: str, count: int = 1) -> list[dict[str, Any]]:
        async with self._changed, asyncio.timeout(DEADLINE_SECONDS):
            await self._changed.wait_for(lambda: len(self.named(name)) >= count)
        return self.named(name)


def _content(*refs: str) -> Content:
    content = Content([load_pack(WATCHING)])
    content.sensors = {ref: content.sensors[ref] for ref in refs}
    return content


@asynccontextmanager
async def _supervisor(
    *refs: str, events: Events, config: dict[str, Any] | None = None, **options: Any
) -> AsyncIterator[SensorSupervisor]:
    supervisor = SensorSupervisor(
        _content(*refs),
        dispatch=events.dispatch,
        datastore=MemoryStore(),
        config_for=lambda pack: config or {},
        backoff=options.pop("backoff", Backoff(first_seconds=0.01, most_seconds=0.02)),
        **options,
    )
    await supervisor.start()
    try:
        yield supervisor
    finally:
        pids = [status.pid for status in supervisor.status() if status.pid]
        await supervisor.stop()
        assert not any(is_alive(pid) for pid in pids)


async def _until(
    supervisor: SensorSupervisor, ref: str, fits: Callable[[SensorStatus], bool]
) -> SensorStatus:
    """Wait until a sensor is as wanted."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            status = next(item for item in supervisor.status() if item.ref == ref)
            if fits(status):
                return status
            await asyncio.sleep(0.005)


def _trigger(number: int, **parameters: Any) -> dict[str, Any]:
    return {
        "id": str(number),
        "ref": f"watching.{number}",
        "pack": "watching",
        "name": str(number),
        "uid": f"trigger:watching:{number}",
        "type": "watching.thing_seen",
        "parameters": parameters,
    }


def test_a_passive_sensor_lives_by_stackstorms_contract(caplog: pytest.LogCaptureFixture) -> None:
    """Configured, set up, run and cleaned up; it keeps values and logs through its service."""
    caplog.set_level(logging.INFO)

    async def go() -> Events:
        events = Events()
        async with _supervisor(THING, events=events, config={"greeting": "hi"}) as supervisor:
            await events.wait("run")
            status = await _until(supervisor, THING, lambda item: item.state is SensorState.RUNNING)
            assert status.pid is not None
        return events

    events = asyncio.run(go())
    assert [payload["name"] for payload in events.payloads] == ["setup", "run", "cleanup"]
    assert events.named("setup")[0]["config"] == "hi"
    assert events.named("run")[0] == {
        "name": "run",
        "cursor": "17",
        "names": ["watching.ThingSensor:cursor"],
    }
    assert events.traces[0] == {"trace_tag": "setup"}
    messages = [getattr(record, "sensor_message", "") for record in caplog.records]
    assert "set up as helper" in messages


def test_triggers_come_change_and_go() -> None:
    """The sensor hears the differences, of its own types only, and a new life begins with all of
    them.
    """

    async def go() -> None:
        events = Events()
        async with _supervisor(THING, events=events) as supervisor:
            other = {**_trigger(9), "type": "other.type"}
            await supervisor.set_triggers([_trigger(1, group="a"), other])
            assert (await events.wait("add"))[0]["trigger"] == _trigger(1, group="a")
            await supervisor.set_triggers([_trigger(1, group="b"), _trigger(2), other])
            assert (await events.wait("update"))[0]["trigger"] == _trigger(1, group="b")
            await supervisor.set_triggers([_trigger(2)])
            assert (await events.wait("remove"))[0]["trigger"] == _trigger(1, group="b")
            assert [item["trigger"]["id"] for item in events.named("add")] == ["1", "2"]
            await supervisor.restart(THING)
            assert (await events.wait("add", 3))[2]["trigger"] == _trigger(2)

    asyncio.run(go())


def test_dispatches_of_many_threads_are_stored_together() -> None:
    """Each thread's events stay in order, none is lost, and far fewer batches than events are
    stored.
    """

    async def go() -> Events:
        events = Events()
        config = {"threads": 20, "each": 100}
        async with _supervisor(
            THING, events=events, config=config, dispatch_many=events.dispatch_many
        ):
            await events.wait("many", 2000)
        return events

    events = asyncio.run(go())
    many = events.named("many")
    assert len(many) == 2000
    for thread in range(20):
        assert [item["index"] for item in many if item["thread"] == thread] == list(range(100))
    assert len(events.batches) < len(events.payloads)


def test_a_dispatch_that_cannot_be_stored_raises_in_the_sensor() -> None:
    """So that the sensor does not go on as if it had been; it fails, is restarted, and goes on."""

    async def go() -> SensorStatus:
        events = Events()
        events.refuse = 1
        async with _supervisor(THING, events=events) as supervisor:
            await events.wait("run")
            return await _until(supervisor, THING, lambda item: item.state is SensorState.RUNNING)

    status = asyncio.run(go())
    assert status.restarts == 1
    assert status.error is not None
    assert "the disk is full" in status.error


def test_a_sensor_that_fails_is_started_again_with_its_error_shown() -> None:
    """The table has the exception's last line and the traceback, beginning in the pack's code."""

    async def go() -> SensorStatus:
        async with _supervisor(FAILING, events=Events()) as supervisor:
            return await _until(
                supervisor, FAILING, lambda item: item.restarts >= 2 and item.pid is not None
            )

    status = asyncio.run(go())
    assert status.error == "RuntimeError: the source has dried up"
    assert status.traceback is not None
    assert "polling.py" in status.traceback
    assert "stormcell_host" not in status.traceback


def test_a_sensor_killed_from_outside_is_started_again() -> None:
    """It gets a new process."""

    async def go() -> tuple[int | None, int | None]:
        events = Events()
        async with _supervisor(THING, events=events) as supervisor:
            await events.wait("run")
            first = await _until(supervisor, THING, lambda item: item.state is SensorState.RUNNING)
            assert first.pid is not None
            os.kill(first.pid, signal.SIGKILL)
            await events.wait("run", 2)
            second = await _until(supervisor, THING, lambda item: item.state is SensorState.RUNNING)
            return first.pid, second.pid

    first, second = asyncio.run(go())
    assert first != second


def test_a_sensor_that_ends_without_error_stays_ended() -> None:
    """StackStorm starts only those again that failed; one that is switched off is not started at
    all.
    """

    async def go() -> list[SensorStatus]:
        async with _supervisor(ENDING, OFF, events=Events()) as supervisor:
            await _until(supervisor, ENDING, lambda item: item.state is SensorState.ENDED)
            return supervisor.status()

    ending, off = asyncio.run(go())
    assert (ending.restarts, ending.error) == (0, None)
    assert off.state is SensorState.DISABLED


def test_a_sensor_can_be_switched_on_and_off() -> None:
    """Off means that its process is gone."""

    async def go() -> None:
        events = Events()
        async with _supervisor(THING, events=events) as supervisor:
            await events.wait("run")
            running = await _until(
                supervisor, THING, lambda item: item.state is SensorState.RUNNING
            )
            await supervisor.set_enabled(THING, False)
            assert supervisor.status()[0].state is SensorState.DISABLED
            assert running.pid is not None
            assert not is_alive(running.pid)
            await supervisor.set_enabled(THING, True)
            await events.wait("run", 2)

    asyncio.run(go())


def test_changes_at_once_leave_one_process() -> None:
    """Of several at the same time each waits for the one before; none outlives the stop."""

    async def go() -> None:
        events = Events()
        async with _supervisor(THING, events=events) as supervisor:
            await events.wait("run")
            await asyncio.gather(
                supervisor.set_enabled(THING, True),
                supervisor.set_enabled(THING, True),
                supervisor.restart(THING),
                supervisor.reload(_content(THING)),
            )
            await _until(supervisor, THING, lambda item: item.state is SensorState.RUNNING)
            assert len(_children("sensor")) == 1
            late = asyncio.create_task(supervisor.set_enabled(THING, True))
            await supervisor.stop()
            await late
            await supervisor.set_enabled(THING, True)
        assert _children("sensor") == []

    asyncio.run(go())


def _children(module: str) -> list[int]:
    """The processes below this one that host such a thing."""
    found = []
    for pid in process_tree(os.getpid()):
        try:
            command = Path(f"/proc/{pid}/cmdline").read_text()
        except OSError:
            continue
        if f"from stormcell_host import {module} as" in command:
            found.append(pid)
    return found


def test_a_sensor_that_is_stopped_by_a_signal_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its process is there and does nothing: it gives no sign of life, and the next one runs."""
    monkeypatch.setattr(process, "ANSWER_SECONDS", 3.0)

    async def go() -> None:
        events = Events()
        async with _supervisor(THING, events=events) as supervisor:
            await events.wait("run")
            running = await _until(
                supervisor, THING, lambda item: item.state is SensorState.RUNNING
            )
            assert running.pid is not None
            os.kill(running.pid, signal.SIGSTOP)
            await events.wait("run", 2)
            status = await _until(supervisor, THING, lambda item: item.state is SensorState.RUNNING)
            assert status.pid != running.pid
            assert "did not answer" in (status.error or "")
            assert not is_alive(running.pid)

    asyncio.run(go())


def test_a_reload_restarts_what_changed_only() -> None:
    """A sensor that is as before keeps its process; one that went is stopped."""

    async def go() -> None:
        events = Events()
        async with _supervisor(THING, ENDING, events=events) as supervisor:
            running = await _until(
                supervisor, THING, lambda item: item.state is SensorState.RUNNING
            )
            await supervisor.reload(_content(THING))
            (same,) = supervisor.status()
            assert same.pid == running.pid
            content = _content(THING)
            changed: Sensor = content.sensors[THING]
            changed.description = "Another text."
            await supervisor.reload(content)
            again = await _until(supervisor, THING, lambda item: item.state is SensorState.RUNNING)
            assert again.pid != running.pid

    asyncio.run(go())


def test_a_sensor_whose_configuration_is_wrong_waits() -> None:
    """The reason is in the table; the engine goes on."""

    def config_for(pack: str) -> dict[str, Any]:
        raise TemporaryError("the key is missing")

    async def go() -> SensorStatus:
        supervisor = SensorSupervisor(
            _content(THING),
            dispatch=Events().dispatch,
            datastore=MemoryStore(),
            config_for=config_for,
        )
        await supervisor.start()
        try:
            return await _until(supervisor, THING, lambda item: item.state is SensorState.WAITING)
        finally:
            await supervisor.stop()

    status = asyncio.run(go())
    assert status.error is not None
    assert "the key is missing" in status.error
