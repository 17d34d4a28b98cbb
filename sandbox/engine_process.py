"""stormcell as a program beside the sandbox: started, asked, ended or killed, as an operator would
do it.

The demo and the end-to-end tests use it. It knows the engine by its command line and its API alone.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from sandbox.guardian import Guardian

START_TIMEOUT_SECONDS = 60.0
STOP_TIMEOUT_SECONDS = 30.0
POLL_SECONDS = 0.02


class EngineProcess:
    """One `stormcell serve`. Its log is `FOLDER/stormcell.log`, its data `FOLDER/data`; both
    survive a restart.
    """

    def __init__(self, folder: Path, *, packs: Sequence[Path], configs: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.log_path = folder / "stormcell.log"
        self._packs = packs
        self._configs = configs
        self._process: subprocess.Popen[bytes] | None = None
        self._guardian: Guardian | None = None
        self._client: httpx.Client | None = None

    @property
    def url(self) -> str:
        """Where the API answers; known once it has started."""
        return (self.data / "url").read_text().strip()

    @property
    def key(self) -> str:
        """The key that the first start wrote."""
        return (self.data / "api-key").read_text().strip()

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def command(self) -> list[str]:
        """The command line, for people who want to run it by hand."""
        arguments = [sys.executable, "-m", "stormcell", "serve", "--port", "0"]
        for pack in self._packs:
            arguments += ["--pack", str(pack)]
        return [*arguments, "--data", str(self.data), "--configs", str(self._configs)]

    def start(self) -> Self:
        """Start it and wait until `/healthz` answers. Raises RuntimeError with the log's last lines
        if it does not.
        """
        (self.data / "url").unlink(missing_ok=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._guardian = Guardian()
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=self._guardian.group,
            )
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"stormcell did not start:\n{self.log_tail()}")
            time.sleep(POLL_SECONDS)
        self._client = httpx.Client(
            base_url=self.url, headers={"St2-Api-Key": self.key}, timeout=30
        )
        return self

    def _is_ready(self) -> bool:
        if not (self.data / "url").exists():
            return False
        try:
            return httpx.get(f"{self.url}/healthz", timeout=2).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def log_tail(self, lines: int = 20) -> str:
        """The end of the log."""
        if not self.log_path.exists():
            return "(no log)"
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])

    @property
    def client(self) -> httpx.Client:
        """A client of the API that sends the key. Only while it runs."""
        if self._client is None:
            raise RuntimeError("stormcell is not running; call start() first")
        return self._client

    def get(self, path: str, **params: Any) -> Any:
        """GET `/v1/PATH` and return the decoded answer."""
        answer = self.client.get(f"/v1/{path}", params=params)
        answer.raise_for_status()
        return answer.json()

    def stop(self) -> int:
        """End it with SIGTERM and return its exit code (0 when it ended cleanly). Safe to repeat."""
        return self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it and its children with SIGKILL, as a power cut would."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> int:
        if self._client:
            self._client.close()
            self._client = None
        process, self._process = self._process, None
        guardian, self._guardian = self._guardian, None
        if process is None or guardian is None:
            return 0
        try:
            if number != signal.SIGKILL:
                process.send_signal(number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    return process.wait(STOP_TIMEOUT_SECONDS)
        finally:
            guardian.end()
        return process.wait()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
