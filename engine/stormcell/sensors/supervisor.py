"""Keeps the enabled sensors running, tells them their triggers, and shows how each of them is."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec

from stormcell.content.models import Sensor
from stormcell.content.registry import Content
from stormcell.errors import Error, NotFoundError
from stormcell.sensors.backoff import Backoff
from stormcell.sensors.process import ANSWER_SECONDS, SensorProcess
from stormcell.sensors.triggers import Trigger, changes_between, triggers_for
from stormcell.workers.ports import (
    ConfigFor,
    Datastore,
    Dispatch,
    DispatchMany,
    Services,
    present_config,
)

log = logging.getLogger(__name__)

SPAWN_TRIGGER = "core.st2.sensor.process_spawn"
EXIT_TRIGGER = "core.st2.sensor.process_exit"

Tell = Callable[[str, dict[str, Any]], Awaitable[None]]
"""Takes a trigger and its payload, for rules that ask for it."""


class SensorState(StrEnum):
    """How a sensor is."""

    DISABLED = "disabled"
    STARTING = "starting"
    RUNNING = "running"
    ENDED = "ended"
    """It ended by itself without an error; as in StackStorm, it is not started again."""
    WAITING = "waiting"
    """It failed, and will be started again."""
    STOPPED = "stopped"


class SensorStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the table."""

    ref: str
    state: SensorState
    pid: int | None = None
    since: str = ""
    """When the state began (ISO 8601, UTC)."""
    restarts: int = 0
    error: str | None = None
    """Last line of the exception that ended it last."""
    traceback: str | None = None


class SensorSupervisor:
    """Runs sensors. Belongs to one event loop.

    `dispatch` takes one trigger instance and returns when it is on disk; `dispatch_many`, where
    given, takes what came together and is a great deal cheaper. `config_for` is asked at each start
    of a sensor.
    """

    def __init__(
        self,
        content: Content,
        *,
        dispatch: Dispatch,
        datastore: Datastore,
        config_for: ConfigFor,
        dispatch_many: DispatchMany | None = None,
        tell: Tell | None = None,
        virtualenvs: Path | None = None,
        env: dict[str, str] | None = None,
        log_level: str = "INFO",
        backoff: Backoff | None = None,
    ) -> None:
        self._content = content
        self._services = Services(datastore=datastore, dispatch=dispatch, config_for=config_for)
        self._dispatch_many = dispatch_many
        self._tell = tell or _nobody
        self._config_for = config_for
        self._virtualenvs = virtualenvs
        self._env = env or {}
        self._log_level = log_level
        self._backoff = backoff or Backoff()
        self._triggers: list[Trigger] = []
        self._watches: dict[str, _Watch] = {}
        # One change at a time: of two at once each would start a process, and forget the other's.
        self._changing = asyncio.Lock()
        self._stopped = False

    async def start(self) -> None:
        """Start all enabled sensors. Returns once their processes are made, not once they are set
        up.
        """
        for sensor in self._content.sensors.values():
            self._add(sensor)

    async def stop(self) -> None:
        """Stop all sensors, together. Safe to repeat."""
        async with self._changing:
            self._stopped = True
            await asyncio.gather(*(watch.stop() for watch in self._watches.values()))

    async def set_triggers(self, triggers: Sequence[Trigger]) -> None:
        """Say which triggers exist now (mappings with id, ref, type, parameters, ...). Each sensor
        hears what changed for it."""
        self._triggers = list(triggers)
        for watch in self._watches.values():
            watch.set_triggers(self._triggers)

    async def reload(self, content: Content) -> None:
        """Go over to new content: stop sensors that went, start those that came, restart those that
        changed.
        """
        async with self._changing:
            self._content = content
            for ref, watch in list(self._watches.items()):
                if ref not in content.sensors:
                    await watch.stop()
                    del self._watches[ref]
            for ref, sensor in content.sensors.items():
                known = self._watches.get(ref)
                if known is None:
                    self._add(sensor)
                elif known.needs_restart(sensor, self._path(sensor)):
                    await known.stop()
                    self._add(sensor)

    async def set_enabled(self, ref: str, enabled: bool) -> None:
        """Switch a sensor on or off. Raises NotFoundError."""
        async with self._changing:
            watch = self._watch(ref)
            await watch.stop()
            sensor = msgspec.structs.replace(watch.sensor, enabled=enabled)
            self._content.sensors[ref] = sensor
            self._add(sensor)

    async def restart(self, ref: str) -> None:
        """Stop a sensor and start it anew. Raises NotFoundError."""
        async with self._changing:
            watch = self._watch(ref)
            await watch.stop()
            self._add(watch.sensor)

    def _watch(self, ref: str) -> _Watch:
        watch = self._watches.get(ref)
        if watch is None:
            raise NotFoundError(f"There is no sensor '{ref}'.")
        return watch

    def status(self) -> list[SensorStatus]:
        """Return how each sensor is, by ref."""
        return [self._watches[ref].status() for ref in sorted(self._watches)]

    def status_of(self, ref: str) -> dict[str, Any] | None:
        """Return how one sensor is, as a document; None for one that is not known."""
        watch = self._watches.get(ref)
        return None if watch is None else msgspec.to_builtins(watch.status())

    def _add(self, sensor: Sensor) -> None:
        watch = _Watch(sensor, self._path(sensor), self._make, self._backoff, self._tell)
        watch.set_triggers(self._triggers)
        self._watches[sensor.ref] = watch
        if sensor.enabled and not self._stopped:
            watch.start()

    def _path(self, sensor: Sensor) -> Path:
        return self._content.pack(sensor.pack).path

    async def _make(
        self, sensor: Sensor, pack_path: Path, on_state: Callable[[str], None]
    ) -> SensorProcess:
        config = await present_config(self._config_for, sensor.pack)
        return SensorProcess(
            sensor,
            pack_path=pack_path,
            config=config,
            virtualenvs=self._virtualenvs,
            extra_env=self._env,
            services=self._services,
            dispatch_many=self._dispatch_many,
            log_level=self._log_level,
            on_state=on_state,
        )


Make = Callable[[Sensor, Path, Callable[[str], None]], Awaitable[SensorProcess]]


class _Watch:
    """Watches over one sensor: starts it, and starts it again when it fails."""

    def __init__(
        self, sensor: Sensor, pack_path: Path, make: Make, backoff: Backoff, tell: Tell
    ) -> None:
        self.sensor = sensor
        self._pack_path = pack_path
        self._fingerprint = _fingerprint(sensor, pack_path)
        self._make = make
        self._backoff = backoff
        self._tell = tell
        self._known: dict[str, Trigger] = {}
        self._process: SensorProcess | None = None
        self._task: asyncio.Task[None] | None = None
        self._state = SensorState.STOPPED if sensor.enabled else SensorState.DISABLED
        self._since = _now()
        self._restarts = 0
        self._error: str | None = None
        self._traceback: str | None = None

    def start(self) -> None:
        self._task = asyncio.ensure_future(self._keep_running())

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        if self._process is not None:
            await self._process.stop()
            self._process = None
        if self._state is not SensorState.DISABLED:
            self._set(SensorState.STOPPED)

    def set_triggers(self, triggers: Sequence[Trigger]) -> None:
        wanted = triggers_for(self.sensor.trigger_types, triggers)
        changes = changes_between(self._known, wanted)
        self._known = wanted
        if self._process is not None:
            self._process.tell(changes)

    def needs_restart(self, sensor: Sensor, pack_path: Path) -> bool:
        return sensor != self.sensor or _fingerprint(sensor, pack_path) != self._fingerprint

    def status(self) -> SensorStatus:
        return SensorStatus(
            ref=self.sensor.ref,
            state=self._state,
            pid=self._process.process.pid if self._process else None,
            since=self._since,
            restarts=self._restarts,
            error=self._error,
            traceback=self._traceback,
        )

    async def _keep_running(self) -> None:
        attempt = 0
        while True:
            started = time.monotonic()
            code = await self._live()
            if code == 0:
                self._set(SensorState.ENDED)
                log.info("sensor.ended", extra={"sensor_ref": self.sensor.ref})
                return
            attempt = self._backoff.next_attempt(attempt, time.monotonic() - started)
            delay = self._backoff.delay_seconds(attempt, random.random())  # noqa: S311 - jitter, not a secret
            self._set(SensorState.WAITING)
            log.error(
                "sensor.failed",
                extra={
                    "sensor_ref": self.sensor.ref,
                    "exit_code": code,
                    "error": self._error,
                    "sensor_traceback": self._traceback,
                    "restart_in_seconds": round(delay, 2),
                },
            )
            await asyncio.sleep(delay)
            self._restarts += 1

    async def _live(self) -> int:
        """Start the sensor, wait for its end and return the exit code; 1 where it could not be
        started.
        """
        self._set(SensorState.STARTING)
        try:
            process = await self._make(self.sensor, self._pack_path, self._on_state)
        except Exception as error:  # noqa: BLE001 - whatever keeps it from starting is shown, and tried again
            self._error, self._traceback = f"{type(error).__name__}: {error}", None
            return 1
        self._process = process
        log.info(
            "sensor.started",
            extra={"sensor_ref": self.sensor.ref, "sensor_pid": process.process.pid},
        )
        process.tell(changes_between({}, self._known))
        await self._report(SPAWN_TRIGGER, pid=process.process.pid, cmd=" ".join(process.command))
        code = await process.ended()
        await process.stop()
        self._process = None
        if code is None:
            code = 1
            self._error, self._traceback = f"did not answer for {ANSWER_SECONDS:g} s", None
        elif code != 0:
            failure = process.failure or {}
            words = process.last_words()
            self._error = (
                failure.get("error")
                or (words.strip().splitlines() or [f"ended with exit code {code}"])[-1]
            )
            self._traceback = failure.get("traceback") or words or None
        await self._report(EXIT_TRIGGER, exit_code=code)
        return code

    async def _report(self, trigger: str, **facts: Any) -> None:
        """Let rules know of a start or an end; the sensor does not suffer where that cannot be
        written. An end that was asked for (reload, shutdown) is not reported, as in StackStorm."""
        payload = {
            "id": self.sensor.name,
            "ref": self.sensor.ref,
            "timestamp": int(time.time()),
            **facts,
        }
        try:
            await self._tell(trigger, payload)
        except Error as error:
            log.warning("trigger.dropped", extra={"trigger": trigger, "reason": str(error)})

    def _on_state(self, state: str) -> None:
        if state == "running":
            self._set(SensorState.RUNNING)

    def _set(self, state: SensorState) -> None:
        self._state, self._since = state, _now()


async def _nobody(trigger: str, payload: dict[str, Any]) -> None:
    """Nobody is told."""


def _fingerprint(sensor: Sensor, pack_path: Path) -> tuple[tuple[str, int, int], ...]:
    """What tells that the code has changed: every Python file a sensor can import from its pack."""
    del sensor
    files: list[tuple[str, int, int]] = []
    for folder in (pack_path / "sensors", pack_path / "lib"):
        for file in sorted(folder.rglob("*.py")) if folder.is_dir() else []:
            stat = file.stat()
            files.append((str(file), stat.st_mtime_ns, stat.st_size))
    return tuple(files)


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")
