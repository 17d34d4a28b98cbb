"""Programs that a build runs: by argument list, in a session of their own, their output passed on
line by line.

Whoever runs one can end it at any moment, with everything that it has started, and none outlives
this process: the kernel kills it then (`setpriv --pdeathsig`), and what slips through is found by
its mark (workspace.py).
"""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import signal
import subprocess
import time
from collections import deque
from pathlib import Path
from typing import (
    IO,
    Any,
    Callable,
    Deque,
    Dict,
    Iterable,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
)

from kubestorm.clients.host.workspace import MARK
from kubestorm.core.errors import PermanentError, TemporaryError

LINE_BYTES = 8192
TICK_SECONDS = 0.2
TERM_SECONDS = 3.0
# What a program may know of our environment: how to find things, and the way out of the network.
# Nothing of git's.
KEPT = (
    "PATH",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
)
KEPT_TOO = ("NO_PROXY", "all_proxy", "ALL_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")
HIDDEN = "**********"

Lines = Callable[[str], None]


class CanceledError(PermanentError):
    """Somebody asked for the end of it."""


class TimedOutError(PermanentError):
    """It took longer than it may."""


class Ended(NamedTuple):
    """How a program ended; `output` is the end of what it said, both streams together."""

    code: int
    output: str


def clean_environment(workspace: Path, **more: str) -> Dict[str, str]:
    """The environment of a program in a workspace: little of ours, no HOME of a person, and the
    mark.
    """
    kept = {name: os.environ[name] for name in (*KEPT, *KEPT_TOO) if name in os.environ}
    kept.setdefault("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    return {**kept, "LC_ALL": "C.UTF-8", "HOME": str(workspace), MARK: str(workspace), **more}


def bound(argv: Sequence[str]) -> List[str]:
    """The same command, killed by the kernel when we die, where util-linux is there to arrange
    that.
    """
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--", *argv] if setpriv else list(argv)


class Runner:
    """Runs one program after another for one build.

    `say` gets each line of output; `secrets` never appear in it. `stop` is asked several times a
    second for a reason to end at once; the empty text is none.
    """

    def __init__(
        self,
        workspace: Path,
        *,
        say: Optional[Lines] = None,
        stop: Callable[[], str] = lambda: "",
        secrets: Iterable[str] = (),
        tail_bytes: int = 16384,
    ) -> None:
        self.workspace = workspace
        self._say, self._stop = say, stop
        self._secrets = sorted((each for each in secrets if len(each) > 3), key=len, reverse=True)
        self._tail_bytes = tail_bytes

    def hide(self, values: Iterable[str]) -> None:
        """Keep these out of every line from now on."""
        self._secrets = sorted(
            {*self._secrets, *(each for each in values if len(each) > 3)}, key=len, reverse=True
        )

    def run(
        self,
        argv: Sequence[str],
        *,
        env: Optional[Mapping[str, str]] = None,
        cwd: Optional[Path] = None,
        timeout_seconds: float,
        quiet: bool = False,
        stdin: Optional[bytes] = None,
    ) -> Ended:
        """Run it to its end. Raises CanceledError or TimedOutError after everything that it started
        is dead.
        """
        reason = self._stop()
        if reason:
            raise CanceledError(reason)
        process = self._start(argv, env, cwd, stdin)
        try:
            return self._follow(process, timeout_seconds, quiet, argv[0])
        finally:
            end_session(process)
            kill = process.poll() is None
            if process.stdout is not None:
                process.stdout.close()
            if kill:
                process.kill()
            process.wait()

    def output(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        timeout_seconds: float,
        stdin: Optional[bytes] = None,
        cwd: Optional[Path] = None,
    ) -> bytes:
        """What a program prints, whole, for us to read. Raises ProgramError when it fails, else as
        `run`.
        """
        process = subprocess.Popen(
            bound(argv),
            env=dict(env),
            cwd=cwd or self.workspace,
            stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            out, err = process.communicate(stdin, timeout=timeout_seconds)
        except subprocess.TimeoutExpired as error:
            raise TimedOutError(
                f"{argv[0]} gave no answer within {timeout_seconds:.0f} seconds."
            ) from error
        finally:
            end_session(process)
            if process.poll() is None:
                process.kill()
                process.communicate()
        if process.returncode:
            raise ProgramError(
                argv[0], process.returncode, self._clean(err.decode(errors="replace"))
            )
        return out

    def _start(
        self,
        argv: Sequence[str],
        env: Optional[Mapping[str, str]],
        cwd: Optional[Path],
        stdin: Optional[bytes],
    ) -> subprocess.Popen[bytes]:
        try:
            process = subprocess.Popen(
                bound(argv),
                env=dict(env) if env is not None else clean_environment(self.workspace),
                cwd=cwd or self.workspace,
                stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise PermanentError(
                f"{argv[0]} is not installed on this host.", service="Build host"
            ) from error
        if stdin is not None and process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(stdin)
            process.stdin.close()
        return process

    def _follow(
        self, process: subprocess.Popen[bytes], timeout_seconds: float, quiet: bool, name: str
    ) -> Ended:
        deadline = time.monotonic() + timeout_seconds
        tail = _Tail(self._tail_bytes)
        stream = process.stdout
        assert stream is not None  # noqa: S101 (it is piped)
        os.set_blocking(stream.fileno(), False)
        with selectors.DefaultSelector() as selector:
            selector.register(stream, selectors.EVENT_READ)
            rest, over = b"", False
            while not over:
                reason = self._stop()
                if reason:
                    raise CanceledError(reason)
                if time.monotonic() > deadline:
                    raise TimedOutError(
                        f"{name} took longer than the {timeout_seconds:.0f} seconds that it may."
                    )
                if not selector.select(TICK_SECONDS):
                    # A child in the background may keep the pipe open for ever.
                    over = process.poll() is not None
                    continue
                chunk = _read(stream)
                if chunk is None:
                    continue
                over = not chunk
                lines = (rest + chunk).split(b"\n")
                rest = lines.pop()[-LINE_BYTES:]
                self._tell(lines if not over else [*lines, rest] if rest else lines, tail, quiet)
        code = process.wait(max(deadline - time.monotonic(), TERM_SECONDS))
        return Ended(code, tail.text)

    def _tell(self, lines: Sequence[bytes], tail: _Tail, quiet: bool) -> None:
        for raw in lines:
            line = self._clean(raw[:LINE_BYTES].decode(errors="replace").rstrip("\r"))
            tail.add(line)
            if self._say is not None and not quiet:
                self._say(line)

    def _clean(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        return text


class ProgramError(TemporaryError):
    """A program ended badly; `said` is the end of what it said, without secrets."""

    def __init__(self, program: str, code: int, said: str) -> None:
        short = " ".join(said.split())[-500:]
        super().__init__(f"{program} failed ({code}): {short}", service="Build host")
        self.code, self.said = code, said


class _Tail:
    """The last lines of an output, up to a number of bytes."""

    def __init__(self, limit: int) -> None:
        self._limit, self._size = limit, 0
        self._lines: Deque[str] = deque()

    def add(self, line: str) -> None:
        self._lines.append(line)
        self._size += len(line) + 1
        while self._size > self._limit and len(self._lines) > 1:
            self._size -= len(self._lines.popleft()) + 1

    @property
    def text(self) -> str:
        return "\n".join(self._lines)


def _read(stream: IO[bytes]) -> Optional[bytes]:
    """What is there, empty at the end, None when it was a false alarm."""
    try:
        return os.read(stream.fileno(), 65536)
    except BlockingIOError:
        return None


def end_session(process: subprocess.Popen[Any]) -> None:
    """Kill the program's process group; what left the group has the workspace's mark, and dies with
    the workspace.
    """
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(TERM_SECONDS)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    else:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
