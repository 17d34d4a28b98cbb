"""One life of one sensor: its process, from start to end."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from stormcell.content.models import Sensor
from stormcell.errors import Error
from stormcell.sensors.triggers import Trigger, TriggerChanges
from stormcell.workers.channel import Channel, Message
from stormcell.workers.pool import child_argv, child_env, engine_packages, interpreter_for
from stormcell.workers.ports import (
    SENSOR_USER,
    Dispatch,
    Dispatched,
    DispatchMany,
    Services,
    answer,
)
from stormcell.workers.processes import ChildProcess, LineSplitter

log = logging.getLogger(__name__)

STOP_SECONDS: Final = 5.0
"""StackStorm's PROCESS_EXIT_TIMEOUT: what a sensor has for its cleanup after SIGTERM."""


ANSWER_SECONDS: Final = 60.0
"""How long a sensor's process may give no sign of life before it is replaced."""


class SensorProcess:
    """Starts at once. `exited` holds the exit code when it has ended; `failure` what it said of the
    reason.
    """

    def __init__(
        self,
        sensor: Sensor,
        *,
        pack_path: Path,
        config: dict[str, Any],
        virtualenvs: Path | None,
        extra_env: dict[str, str],
        services: Services,
        dispatch_many: DispatchMany | None,
        log_level: str,
        on_state: Callable[[str], None],
    ) -> None:
        """Raises OSError where the process cannot be started."""
        self.sensor = sensor
        self.failure: dict[str, str] | None = None
        self.started = time.monotonic()
        self._services = services
        self._dispatch_many = dispatch_many
        self._on_state = on_state
        self._waiting: list[tuple[int, Dispatched]] = []
        self._dispatching: asyncio.Task[None] | None = None
        self._answers: set[asyncio.Task[None]] = set()
        interpreter = interpreter_for(sensor.pack, virtualenvs)
        ours, theirs = socket.socketpair()
        env = child_env(interpreter) | extra_env
        packages = engine_packages(interpreter)
        if packages:
            env["PYTHONPATH"] = ":".join([*packages, *filter(None, [env.get("PYTHONPATH")])])
        lines = LineSplitter(self._line), LineSplitter(self._line)
        self.command = child_argv(interpreter, "sensor", theirs.fileno())
        with theirs:
            self.process = ChildProcess.start(
                self.command,
                env=env,
                pass_fds=[theirs.fileno()],
                on_stdout=lines[0].pass_on,
                on_stderr=lines[1].pass_on,
            )
        self._last_lines: list[str] = []
        self._answered = False
        self.exited = self.process.exited
        self.exited.add_done_callback(lambda _: self.process.finish_output())
        self._all_read = asyncio.Event()
        self.channel = Channel(ours, on_messages=self._messages, on_closed=self._all_read.set)
        self.channel.send(
            {
                "start": {
                    "pack": sensor.pack,
                    "class_name": sensor.name,
                    "file": str(pack_path / "sensors" / sensor.entry_point),
                    "poll_interval": sensor.poll_interval,
                    "config": config,
                    "log_level": log_level,
                }
            }
        )

    def tell(self, changes: TriggerChanges) -> None:
        """Tell the sensor which triggers came, changed and went."""
        if changes:
            self.channel.send(
                {
                    "triggers": {
                        "add": changes.add,
                        "update": changes.update,
                        "remove": changes.remove,
                    }
                }
            )

    async def stop(self) -> None:
        """End it: SIGTERM, its cleanup, then SIGKILL. What it has dispatched is still stored. Safe
        to repeat.
        """
        await self.process.stop(grace_seconds=STOP_SECONDS)
        await (
            self._all_read.wait()
        )  # Its end is closed now; what it sent before may still be on the way.
        if self._dispatching is not None:
            await asyncio.gather(self._dispatching, return_exceptions=True)
        self.channel.close()

    async def ended(self) -> int | None:
        """Wait for the end and return the exit code; None where the process is still there and has
        not answered for `ANSWER_SECONDS` (stopped by a signal, or hung with Python's lock held)."""
        while True:
            self._answered = False
            self.channel.send({"ping": True})
            done, _ = await asyncio.wait({self.exited}, timeout=ANSWER_SECONDS)
            if done:
                return self.exited.result()
            if not self._answered:
                log.warning("sensor.unresponsive", extra={"sensor_ref": self.sensor.ref})
                return None

    def last_words(self) -> str:
        """Return the last lines it wrote, for an end that it could not explain."""
        return "".join(self._last_lines[-10:])

    # -- what it sends

    def _messages(self, messages: list[Message]) -> None:
        for message in messages:
            if "dispatch" in message:
                self._waiting.append((message["dispatch"], _dispatched(message)))
            elif "ask" in message:
                task = asyncio.ensure_future(self._answer(message))
                self._answers.add(task)
                task.add_done_callback(self._answers.discard)
            elif "log" in message:
                self._log(message["log"])
            elif "state" in message:
                self._on_state(message["state"])
            elif "pong" in message:
                self._answered = True
            elif "failed" in message:
                self.failure = message["failed"]
        if self._waiting and self._dispatching is None:
            self._dispatching = asyncio.ensure_future(self._dispatch_waiting())

    async def _dispatch_waiting(self) -> None:
        """Store what waits, in order; what comes meanwhile is the next batch."""
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                if self._dispatch_many is not None:
                    await self._store_together(batch, self._dispatch_many)
                else:
                    await self._store_each(batch, self._services.dispatch)
        finally:
            self._dispatching = None

    async def _store_together(
        self, batch: list[tuple[int, Dispatched]], store: DispatchMany
    ) -> None:
        try:
            await store([item for _, item in batch])
        except Exception as error:  # noqa: BLE001 - told to the sensor, which may try again
            self._refuse([number for number, _ in batch], error)
        else:
            self.channel.send({"ack": [number for number, _ in batch]})

    async def _store_each(self, batch: list[tuple[int, Dispatched]], dispatch: Dispatch) -> None:
        answers = await asyncio.gather(
            *(dispatch(item.trigger, item.payload, item.trace_context) for _, item in batch),
            return_exceptions=True,
        )
        stored: list[int] = []
        for (number, _), outcome in zip(batch, answers, strict=True):
            if isinstance(outcome, Exception):
                self._refuse([number], outcome)
            else:
                stored.append(number)
        if stored:
            self.channel.send({"ack": stored})

    def _refuse(self, numbers: list[int], error: Exception) -> None:
        if not isinstance(error, Error):
            log.error(
                "sensor.dispatch_failed", exc_info=error, extra={"sensor_ref": self.sensor.ref}
            )
        for number in numbers:
            self.channel.send(
                {"reply": number, "error": f"The trigger could not be stored: {error}"}
            )

    async def _answer(self, message: Message) -> None:
        reply: Message = {"reply": message["ask"]}
        try:
            reply["value"] = await answer(
                self._services, message["method"], message["arguments"], user=SENSOR_USER
            )
        except Exception as error:  # noqa: BLE001 - whatever the port raises is told to the asking code
            reply["error"] = str(error) or type(error).__name__
        self.channel.send(reply)

    def _log(self, entry: dict[str, Any]) -> None:
        extra = {
            "sensor_ref": self.sensor.ref,
            "sensor_logger": entry["logger"],
            "sensor_message": entry["message"],
        }
        if "traceback" in entry:
            extra["sensor_traceback"] = entry["traceback"]
        log.log(entry["level"], "sensor.log", extra=extra)

    def _line(self, line: str) -> None:
        self._last_lines = [*self._last_lines[-50:], line]
        log.info(
            "sensor.output",
            extra={"sensor_ref": self.sensor.ref, "sensor_message": line.rstrip("\n")},
        )


def _dispatched(message: Message) -> Dispatched:
    return Dispatched(
        trigger=message["trigger"],
        payload=message["payload"] if message["payload"] is not None else {},
        trace_context=message.get("trace_context"),
    )


__all__ = ["STOP_SECONDS", "SensorProcess", "Trigger"]
