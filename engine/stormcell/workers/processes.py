"""Child processes on the event loop: start one, read what it writes, know when it ends, stop it
with all it started.

asyncio's own subprocess support waits for each child in a thread and for the end of its pipes; a
background process that keeps a pipe open would hold up the run that started it. Here the end of the
process is what counts.
"""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

Output = Callable[[str], None]

_READ_BYTES: Final = 1 << 16
_READS_IN_A_ROW: Final = 16
GRACE_SECONDS: Final = 2.0
"""How long a process may take to end itself after SIGTERM."""
_KILL_ROUNDS: Final = 200
_KILL_PAUSE_SECONDS: Final = 0.005


class ChildProcess:
    """A process in a session and group of its own. Made by `start`."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._loop = asyncio.get_running_loop()
        self.pid = process.pid
        self.exited: asyncio.Future[int] = self._loop.create_future()
        """The exit code, once it has ended; negative for the number of the signal that ended it."""
        self.streams: list[OutputStream] = []
        self._watch()

    @classmethod
    def start(
        cls,
        argv: Sequence[str] | str,
        *,
        env: dict[str, str],
        cwd: Path | str | None = None,
        pass_fds: Sequence[int] = (),
        stdin: int | None = subprocess.DEVNULL,
        on_stdout: Output,
        on_stderr: Output,
    ) -> ChildProcess:
        """Start a program (a list), or a command of the shell (text). Raises OSError where that is
        impossible.
        """
        process = subprocess.Popen(
            argv,
            shell=isinstance(argv, str),
            env=env,
            cwd=cwd,
            pass_fds=pass_fds,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        child = cls(process)
        for pipe, sink in ((process.stdout, on_stdout), (process.stderr, on_stderr)):
            assert pipe is not None  # noqa: S101 - both were asked for
            child.streams.append(OutputStream(os.dup(pipe.fileno()), sink))
            pipe.close()
        return child

    async def stop(self, *, grace_seconds: float = GRACE_SECONDS) -> None:
        """End the process and everything it started: SIGTERM, and after a while SIGKILL. Safe to
        repeat.

        Descendants that left the process group are found by their parents.
        """
        family = process_tree(self.pid) if not self.exited.done() else {self.pid: 0}
        if not self.exited.done() and grace_seconds > 0:
            _signal(family, self.pid, signal.SIGTERM)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(asyncio.shield(self.exited), grace_seconds)
        for _ in range(_KILL_ROUNDS):
            family = {**family, **process_tree(self.pid)} if not self.exited.done() else family
            if not _signal(family, self.pid, signal.SIGKILL):
                break
            # Orphans are not our children, so nothing tells of their end: look again.
            await asyncio.sleep(_KILL_PAUSE_SECONDS)
        await self.exited
        self.finish_output()

    def kill_now(self) -> None:
        """SIGKILL to all, without waiting; for the last moment of a program."""
        _signal(process_tree(self.pid), self.pid, signal.SIGKILL)

    def drain(self) -> None:
        """Hand on what the pipes hold at this moment."""
        for stream in self.streams:
            stream.drain()

    def finish_output(self) -> None:
        """Hand on what the pipes hold, and close them, even if a background process still has them
        open.
        """
        for stream in self.streams:
            stream.drain()
            stream.close()

    def _watch(self) -> None:
        try:
            pidfd = os.pidfd_open(self.pid)
        except (AttributeError, OSError):
            threading.Thread(
                target=self._wait_in_thread, name=f"wait-{self.pid}", daemon=True
            ).start()
            return

        def ended() -> None:
            self._loop.remove_reader(pidfd)
            os.close(pidfd)
            self._ended(self._process.wait())

        self._loop.add_reader(pidfd, ended)

    def _wait_in_thread(self) -> None:
        code = self._process.wait()
        with contextlib.suppress(RuntimeError):  # The loop may have ended first.
            self._loop.call_soon_threadsafe(self._ended, code)

    def _ended(self, code: int) -> None:
        if not self.exited.done():
            self.exited.set_result(code)


class OutputStream:
    """One pipe of a child, read as it comes."""

    def __init__(self, fd: int, sink: Output) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._sink = sink
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._loop = asyncio.get_running_loop()
        self._open = True
        self._loop.add_reader(fd, self._readable)

    def drain(self) -> None:
        """Read until there is nothing more at this moment."""
        while self._open and self._read():
            pass

    def close(self) -> None:
        """Stop reading; safe to repeat."""
        if not self._open:
            return
        self._open = False
        self._loop.remove_reader(self._fd)
        os.close(self._fd)
        rest = self._decoder.decode(b"", final=True)
        if rest:
            self._sink(rest)

    def _readable(self) -> None:
        for _ in range(_READS_IN_A_ROW):  # Others want the loop too.
            if not self._open or not self._read():
                return

    def _read(self) -> bool:
        try:
            data = os.read(self._fd, _READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self.close()
            return False
        text = self._decoder.decode(data)
        if text:
            self._sink(text)
        return True


class LineSplitter:
    """Keeps all that was written, and hands on whole lines as they become whole."""

    def __init__(self, on_line: Output) -> None:
        self._on_line = on_line
        self._parts: list[str] = []
        self._unfinished = ""

    def feed(self, text: str) -> None:
        self._parts.append(text)
        *lines, self._unfinished = (self._unfinished + text).split("\n")
        for line in lines:
            self._on_line(line + "\n")

    def pass_on(self, text: str) -> None:
        """Like `feed`, and keep nothing but the unfinished line: for what writes for ever."""
        *lines, self._unfinished = (self._unfinished + text).split("\n")
        for line in lines:
            self._on_line(line + "\n")

    def finish(self) -> str:
        """Return everything; hands on the last line if it did not end in a line break."""
        if self._unfinished:
            self._on_line(self._unfinished)
            self._unfinished = ""
        return "".join(self._parts)


def process_tree(pid: int) -> dict[int, int]:
    """Return the process and its descendants: pid -> start time, by which a pid used again is told
    apart.
    """
    children: dict[int, list[int]] = {}
    started: dict[int, int] = {}
    for entry in os.listdir("/proc") if os.path.isdir("/proc") else []:  # noqa: PTH208, PTH112 - hot enough
        if entry.isdigit():
            stat = _stat(int(entry))
            if stat is not None:
                parent, start = stat
                started[int(entry)] = start
                children.setdefault(parent, []).append(int(entry))
    found: dict[int, int] = {}
    waiting = [pid]
    while waiting:
        current = waiting.pop()
        if current not in found:
            found[current] = started.get(current, 0)
            waiting += children.get(current, [])
    return found


def _stat(pid: int) -> tuple[int, int] | None:
    """Return parent and start time of a process that is alive."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else (int(fields[1]), int(fields[19]))


def _signal(family: dict[int, int], group: int, number: signal.Signals) -> bool:
    """Signal the group and each of the family that is alive and still the same. True if one of
    those was.
    """
    reached = False
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
    for pid, start in family.items():
        stat = _stat(pid)
        if stat is not None and stat[1] == start:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)
                reached = True
    return reached
