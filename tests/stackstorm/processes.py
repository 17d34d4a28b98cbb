"""StackStorm's processes on this machine, found by their command lines: what they cost, what they
wrote, and their sudden end.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

RUNNER, CONTAINER, SENSOR = "st2actionrunner", "st2sensorcontainer", "sensor_wrapper.py"
SERVICES = (
    RUNNER,
    CONTAINER,
    SENSOR,
    "python_action_wrapper.py",
    "st2api",
    "st2auth",
    "st2stream",
    "st2rulesengine",
    "st2scheduler",
    "st2workflowengine",
    "st2notifier",
    "st2timersengine",
    "st2garbagecollector",
)
RESTART_SECONDS = 15.0
STARTED: list[subprocess.Popen[bytes]] = []
"""What we brought back ourselves; it outlives us."""
_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Process:
    """One of StackStorm's; `service` is its program's name."""

    pid: int
    service: str
    command: tuple[str, ...]

    @property
    def is_there(self) -> bool:
        """Whether it runs, or has not been waited for by its parent."""
        return (_PROC / str(self.pid)).exists()

    def kill(self) -> None:
        """SIGKILL, as the kernel does when memory is short."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


def find(*services: str) -> list[Process]:
    """The processes of these services, or of all."""
    found = []
    for folder in _PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = tuple((folder / "cmdline").read_text(errors="replace").split("\0")[:-1])
            service = _service(command)
            if service and (not services or service in services):
                found.append(Process(int(folder.name), service, command))
    return found


def _service(command: tuple[str, ...]) -> str:
    """python PROGRAM …, or gunicorn PROGRAM.wsgi:application."""
    if not command or "python" not in Path(command[0]).name:
        return ""
    for argument in command[1:4]:
        name = Path(argument).name.partition(".wsgi:")[0]
        if name in SERVICES:
            return name
    return ""


def cpu_seconds() -> float:
    """What all of them, and the actions that they ran, have used so far."""
    total = 0
    for process in find():
        with contextlib.suppress(OSError):
            total += sum(int(field) for field in _stat(process.pid)[11:15])
    return total / _TICKS


def pack_sensors() -> list[Process]:
    """The pack's sensors."""
    return [process for process in find(SENSOR) if "--pack=kubestorm" in process.command]


def sensor_megabytes() -> float:
    """Resident memory of the pack's sensors; pages that they share are counted once."""
    total = 0
    for process in pack_sensors():
        for line in (_PROC / str(process.pid) / "smaps_rollup").read_text().splitlines():
            total += int(line.split()[1]) if line.startswith("Pss:") else 0
    return total / 1024


def logs() -> Iterator[tuple[str, bytes]]:
    """(path, bytes) of every regular file that one of them writes."""
    seen = set()
    for process in find():
        for link in (_PROC / str(process.pid) / "fd").glob("*"):
            with contextlib.suppress(OSError):
                path = link.readlink()
                if path not in seen and path.is_file() and _is_written(process.pid, link.name):
                    seen.add(path)
                    yield str(path), path.read_bytes()


def _is_written(pid: int, descriptor: str) -> bool:
    for line in (_PROC / str(pid) / "fdinfo" / descriptor).read_text().splitlines():
        if line.startswith("flags:"):
            return int(line.split()[1], 8) & os.O_ACCMODE != os.O_RDONLY
    return False


def kill_and_bring_back(*services: str, command: str = "") -> None:
    """Kill these services with all their processes, and see that they come back: by the command, by
    whoever supervises them, or else by ourselves, started as they were.
    """
    victims = find(*services)
    mains = [process for process in victims if process.service != SENSOR]
    starts = [_start_of(process) for process in mains]
    for process in victims:
        process.kill()
    deadline = time.monotonic() + RESTART_SECONDS
    while any(process.is_there for process in victims) and time.monotonic() < deadline:
        time.sleep(0.1)
    if command:
        subprocess.run(["sh", "-c", command], check=True, capture_output=True, timeout=300)
    deadline = time.monotonic() + RESTART_SECONDS
    while len(find(*{process.service for process in mains})) < len(mains):
        if time.monotonic() > deadline:
            for start in starts:
                start()
            return
        time.sleep(1)


def _start_of(process: Process) -> Callable[[], None]:
    """What starts it again as it was started."""
    folder = _PROC / str(process.pid)
    environment = dict(
        item.partition("=")[::2]
        for item in (folder / "environ").read_text(errors="replace").split("\0")
        if item
    )
    cwd, output = (folder / "cwd").readlink(), (folder / "fd" / "1").readlink()

    def start() -> None:
        with (output if output.is_file() else Path(os.devnull)).open("ab") as log:
            STARTED.append(
                subprocess.Popen(
                    process.command,
                    cwd=cwd,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            )

    return start


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the program's name: state, …; see proc(5)."""
    return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
