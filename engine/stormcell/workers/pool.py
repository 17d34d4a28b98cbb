"""Warm worker processes: one action at a time each, replaced when they die or cannot be cleaned.

A worker serves the pack that came first, and no other. At most `size`
run at once; further runs wait their turn.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import sys
import sysconfig
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from stormcell.errors import TemporaryError
from stormcell.workers.channel import Channel, Message
from stormcell.workers.processes import GRACE_SECONDS, ChildProcess, LineSplitter

log = logging.getLogger(__name__)

_PRELOAD_SECONDS: Final = 60.0

SHIMS: Final = Path(__file__).parent.parent / "shims"
Asked = Callable[[str, dict[str, Any]], Awaitable[Any]]
"""Answers a question of pack code: method, arguments -> value."""


class Interpreter(msgspec.Struct, frozen=True, kw_only=True):
    """The Python that runs a pack's code."""

    python: str
    virtualenv: str | None = None

    @property
    def bin_path(self) -> str | None:
        return f"{self.virtualenv}/bin" if self.virtualenv else None


OWN_INTERPRETER: Final = Interpreter(python=sys.executable)


def interpreter_for(pack: str, virtualenvs: Path | None) -> Interpreter:
    """Return the pack's virtual environment if it has one (`VIRTUALENVS/PACK/bin/python`), else the
    engine's Python.
    """
    if virtualenvs is not None:
        home = virtualenvs / pack
        if (home / "bin" / "python").is_file():
            return Interpreter(python=str(home / "bin" / "python"), virtualenv=str(home))
    return OWN_INTERPRETER


def child_argv(interpreter: Interpreter, module: str, fd: int) -> list[str]:
    """Return the command that runs `stormcell_host.MODULE`; the shims go on the path only where
    nothing real is.
    """
    code = (
        "import sys,importlib.util as u;"
        "sys.path[:]=[p for p in sys.path if p];"
        f"sys.path.insert(0,{str(SHIMS / 'host')!r});"
        f"from stormcell_host import {module} as m;"
        "del sys.path[0];"
        f"sys.path+=[] if u.find_spec('st2common') else [{str(SHIMS / 'st2')!r}];"
        f"m.main({fd},{os.getpid()})"
    )
    return [interpreter.python, "-u", "-c", code]


def child_env(interpreter: Interpreter) -> dict[str, str]:
    """Return the environment children start with: the engine's, with the pack's programs first on
    PATH.
    """
    env = {key: value for key, value in os.environ.items() if not key.startswith("STORMCELL_")}
    env["PYTHONIOENCODING"] = "utf-8"
    if interpreter.bin_path:
        env["PATH"] = os.pathsep.join([interpreter.bin_path, env.get("PATH", os.defpath)])
        env["VIRTUAL_ENV"] = interpreter.virtualenv or ""
    return env


def engine_packages(interpreter: Interpreter) -> list[str]:
    """Return the engine's site-packages for a pack's virtual environment, if its Python can use
    them.
    """
    if interpreter.virtualenv is None:
        return []
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    same = (Path(interpreter.virtualenv) / "lib" / version).is_dir()
    return [sysconfig.get_path("purelib")] if same else []


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One run for a worker, as `stormcell_host.action` takes it. Holds secrets: never log it."""

    pack: str
    file: str
    pack_paths: list[str]
    path_first: list[str]
    path_last: list[str]
    parameters: dict[str, Any]
    config: dict[str, Any]
    env: dict[str, str]
    log_level: str
    reuse: bool = True


class Preload(msgspec.Struct, frozen=True, kw_only=True):
    """A pack whose libraries idle workers load beforehand, as `stormcell_host.preloading` takes it."""

    pack: str
    files: list[str]
    pack_paths: list[str]
    path_first: list[str]
    path_last: list[str]


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a run in a worker ended."""

    exit_code: int
    status: bool | None
    result: Any
    stdout: str
    stderr: str
    timed_out: bool = False


class Worker:
    """One process. `run` may be called when `ready` is true, one call at a time."""

    def __init__(self, interpreter: Interpreter) -> None:
        self.interpreter = interpreter
        self.last_pack = ""
        self.runs = 0
        self.preloaded: set[str] = set()
        ours, theirs = socket.socketpair()
        with theirs:
            self.process = ChildProcess.start(
                child_argv(interpreter, "action", theirs.fileno()),
                env=child_env(interpreter),
                pass_fds=[theirs.fileno()],
                on_stdout=lambda text: self._write(0, text),
                on_stderr=lambda text: self._write(1, text),
            )
        self._splitters: tuple[LineSplitter, LineSplitter] | None = None
        self._early = ""
        self._done: asyncio.Future[Message] | None = None
        self._ask: Asked | None = None
        self._questions: set[asyncio.Task[None]] = set()
        self.ready: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        """True once it can run (again); False when it has ended."""
        self.channel = Channel(ours, on_messages=self._messages, on_closed=self._closed)

    async def run(
        self, job: Job, *, ask: Asked, on_line: Callable[[str, str], None], timeout: float | None
    ) -> Outcome:
        """Run one job to its end. Raises nothing for what the action does; when cancelled, kills
        the process.
        """
        loop = asyncio.get_running_loop()
        splitters = (
            LineSplitter(lambda s: on_line("stdout", s)),
            LineSplitter(lambda s: on_line("stderr", s)),
        )
        self._splitters, self._ask, self._done = splitters, ask, loop.create_future()
        self.ready = loop.create_future()
        self.last_pack = job.pack
        self.runs += 1
        self.channel.send({"run": job})
        timed_out = False
        try:
            message = await asyncio.wait_for(self._done, timeout)
            self.process.drain()
        except TimeoutError:
            timed_out, message = True, {}
            await self.kill()
        except asyncio.CancelledError:
            await asyncio.shield(asyncio.ensure_future(self.kill()))
            raise
        if not message and not timed_out:
            await self.process.exited
            self.process.finish_output()
        return self._outcome(message, splitters, timed_out)

    def _outcome(
        self, message: Message, splitters: tuple[LineSplitter, LineSplitter], timed_out: bool
    ) -> Outcome:
        self._splitters = None
        stdout, stderr = (splitter.finish() for splitter in splitters)
        if not message:
            code = -9 if timed_out else self.process.exited.result()
            text = "None"
            return Outcome(
                exit_code=code,
                status=None,
                result=text,
                stdout=stdout,
                stderr=stderr,
                timed_out=timed_out,
            )
        done = message["done"]
        if done["retire"] is not None:
            log.debug(
                "worker.retired", extra={"worker_pid": self.process.pid, "reason": done["retire"]}
            )
        return Outcome(
            exit_code=done["exit_code"],
            status=done["status"],
            result=message["result"],
            stdout=stdout,
            stderr=stderr,
        )

    def preload(self, pack: Preload) -> None:
        """Load the libraries of a pack. `ready` is true once that is done, false when it has cost
        the worker.
        """
        self.ready = asyncio.get_running_loop().create_future()
        self.channel.send({"preload": pack})

    async def kill(self, *, grace_seconds: float = GRACE_SECONDS) -> None:
        """End the process and all it started."""
        await self.process.stop(grace_seconds=grace_seconds)
        self.channel.close()

    def retire(self) -> None:
        """Let an idle process end by itself."""
        self.channel.close()

    def _messages(self, messages: list[Message]) -> None:
        for message in messages:
            if "ready" in message:
                if not self.ready.done():
                    self.ready.set_result(True)
            elif "done" in message:
                if self._done is not None and not self._done.done():
                    self._done.set_result(message)
                if message["done"]["retire"] is not None and not self.ready.done():
                    self.ready.set_result(False)
            elif "ask" in message:
                task = asyncio.ensure_future(self._answer(message))
                self._questions.add(task)
                task.add_done_callback(self._questions.discard)

    async def _answer(self, message: Message) -> None:
        reply: Message = {"reply": message["ask"]}
        try:
            assert self._ask is not None  # noqa: S101 - set for the time of a run, and only then do questions come
            reply["value"] = await self._ask(message["method"], message["arguments"])
        except Exception as error:  # noqa: BLE001 - whatever the port raises is told to the asking code
            reply["error"] = str(error) or type(error).__name__
        self.channel.send(reply)

    def _closed(self) -> None:
        if not self.ready.done():
            self.ready.set_result(False)
        if self._done is not None and not self._done.done():
            self._done.set_result({})
        self.process.exited.add_done_callback(lambda _: self.process.finish_output())

    def _write(self, stream: int, text: str) -> None:
        if self._splitters is not None:
            self._splitters[stream].feed(text)
        elif stream == 1:
            # Outside of a run: the interpreter cannot start, or the cleaning failed.
            log.warning(
                "worker.stderr", extra={"worker_pid": self.process.pid, "text": text.rstrip()}
            )


class WorkerPool:
    """Keeps workers warm and hands them out."""

    def __init__(self, *, size: int = 4, warm: int = 1, runs_per_worker: int = 1000) -> None:
        """`size`: runs at once, and as many more that these wait for. `warm`: processes made before
        they are needed. `runs_per_worker`: then it is replaced, so that what libraries gather (exit
        handlers, caches) does not grow for ever."""
        self._size = max(1, size)
        self._warm = min(warm, self._size)
        self._runs_per_worker = runs_per_worker
        self._slots = asyncio.Semaphore(self._size)
        self._slots_waited_for = asyncio.Semaphore(self._size)
        self._idle: list[Worker] = []
        self._all: set[Worker] = set()
        self._leaving: set[Worker] = set()
        """Told to end, or ended, and not reaped yet."""
        self._returning: set[asyncio.Task[None]] = set()
        self._preloads: list[Preload] = []
        self._closed = False

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers that live."""
        return sorted(worker.process.pid for worker in self._all)

    def start(self) -> None:
        """Make the warm workers. Returns at once; they get ready meanwhile."""
        while len(self._all) < self._warm:
            self._keep(self._new(OWN_INTERPRETER))

    def preload(self, packs: Sequence[Preload]) -> None:
        """Have the warm workers, made and to be made, load the libraries of these packs while
        nobody needs them.
        """
        self._preloads = list(packs)
        for worker in self._idle:
            self._spawn(self._settle(worker))

    async def run(
        self,
        interpreter: Interpreter,
        job: Job,
        *,
        ask: Asked,
        on_line: Callable[[str, str], None],
        timeout: float | None,
        is_waited_for: bool = False,
    ) -> Outcome:
        """Run a job in a worker. Raises TemporaryError when the pool is closed or no worker can be
        started.

        `is_waited_for`: a run may be waiting for this one. It takes no place of theirs, or as many
        waiting runs as there are places would wait for ever.
        """
        async with self._slots_waited_for if is_waited_for else self._slots:
            worker = await self._take(interpreter, job.pack, fresh=not job.reuse)
            try:
                return await worker.run(job, ask=ask, on_line=on_line, timeout=timeout)
            finally:
                self._keep(worker)

    async def settled(self) -> None:
        """Return once every worker at hand is ready, with what it is to load loaded."""
        while self._returning:
            await asyncio.wait(self._returning)

    async def close(self) -> None:
        """End all workers. Safe to repeat."""
        self._closed = True
        for task in list(self._returning):
            task.cancel()
        await asyncio.gather(
            *(worker.kill(grace_seconds=0) for worker in (*self._all, *self._leaving))
        )
        self._all.clear()
        self._idle.clear()

    async def _take(self, interpreter: Interpreter, pack: str, *, fresh: bool) -> Worker:
        while True:
            if self._closed:
                raise TemporaryError("The engine is stopping; no action can be started.")
            worker = None if fresh else self._choose(interpreter, pack)
            is_new = worker is None
            if worker is None:
                self._make_room()
                worker = self._new(interpreter)
            try:
                usable = await asyncio.shield(worker.ready)
            except asyncio.CancelledError:
                self._keep(worker)
                raise
            if usable:
                return worker
            self._drop(worker)
            if is_new:
                code = await worker.process.exited
                raise TemporaryError(
                    f"The worker process ({interpreter.python}) ended at its start with code {code}."
                )

    def _choose(self, interpreter: Interpreter, pack: str) -> Worker | None:
        for worker in [worker for worker in self._idle if worker.process.exited.done()]:
            self._idle.remove(worker)  # killed from outside, and its channel does not say so yet
            self._drop(worker)
        # Packs share nothing: what a library keeps in memory of one pack's run, such as a login, is
        # not seen by another's.
        fitting = [
            worker
            for worker in self._idle
            if worker.interpreter == interpreter and worker.last_pack in ("", pack)
        ]
        if not fitting:
            return None
        fitting = [worker for worker in fitting if worker.ready.done()] or fitting
        chosen = next(
            (worker for worker in reversed(fitting) if worker.last_pack == pack), fitting[-1]
        )
        self._idle.remove(chosen)
        return chosen

    def _make_room(self) -> None:
        while len(self._all) >= self._size and self._idle:
            self._drop(self._idle.pop(0))

    def _new(self, interpreter: Interpreter) -> Worker:
        try:
            worker = Worker(interpreter)
        except OSError as error:
            raise TemporaryError(f"Cannot start {interpreter.python}: {error.strerror}.") from error
        self._all.add(worker)
        return worker

    def _keep(self, worker: Worker) -> None:
        """Put a worker back once it is clean; a run does not wait for that."""
        if worker.ready.done() and not worker.ready.result():
            self._drop(worker)
            return
        self._idle.append(worker)  # Whoever takes it waits for `ready`.
        self._spawn(self._settle(worker))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._returning.add(task)
        task.add_done_callback(self._returning.discard)

    async def _settle(self, worker: Worker) -> None:
        usable = await asyncio.shield(worker.ready)
        if usable and worker.runs == 0 and worker.interpreter == OWN_INTERPRETER:
            usable = await self._preload(worker)
        if worker not in self._idle:
            return
        if not usable or worker.runs >= self._runs_per_worker:
            self._idle.remove(worker)
            self._drop(worker)
            if not self._closed:
                with contextlib.suppress(TemporaryError):
                    self.start()

    async def _preload(self, worker: Worker) -> bool:
        """Load what a worker has not loaded yet, pack after pack, until somebody takes it. False
        when it is lost.

        A pack that costs a worker (it starts threads on import, it hangs) is not tried again.
        """
        for pack in list(self._preloads):
            if pack.pack in worker.preloaded or worker not in self._idle or not worker.ready.done():
                continue
            worker.preloaded.add(pack.pack)
            worker.preload(pack)
            try:
                usable = await asyncio.wait_for(asyncio.shield(worker.ready), _PRELOAD_SECONDS)
            except TimeoutError:
                usable = False
                await worker.kill()
            if not usable:
                log.warning(
                    "worker.preload_failed",
                    extra={"pack": pack.pack, "worker_pid": worker.process.pid},
                )
                self._preloads = [other for other in self._preloads if other.pack != pack.pack]
                return False
        return True

    def _drop(self, worker: Worker) -> None:
        self._all.discard(worker)
        self._leaving.add(worker)
        worker.process.exited.add_done_callback(lambda _: self._leaving.discard(worker))
        worker.retire()
