"""A chat bot as a process: somebody types lines, what it prints is kept."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path


class Bot:
    """One bot. Its environment is what is given, and nothing else of ours."""

    def __init__(
        self, command: Sequence[str], folder: Path, environment: Mapping[str, str]
    ) -> None:
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8", **environment},
        )
        self._printed: list[str] = []
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                self._printed.append(line)
                self._changed.notify_all()

    @property
    def text(self) -> str:
        """All that it has printed."""
        return "".join(self._printed)

    def wait(self, text: str, *, since: int = 0, seconds: float = 120.0) -> str:
        """Wait until a text is printed after position `since`; what was printed since then."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while text not in self.text[since:]:
                left = deadline - time.monotonic()
                assert left > 0, f"{text!r} was not printed; but: {self.text[since:]}"
                self._changed.wait(left)
            return self.text[since:]

    def type(self, line: str) -> int:
        """Type a line; the position after which its answer stands."""
        assert self.process.stdin is not None
        since = len(self.text)
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return since

    def say(self, line: str, answer: str) -> str:
        """Type a line and wait for a part of the answer."""
        return self.wait(answer, since=self.type(line))

    def stop(self) -> None:
        self.process.kill()
        self.process.wait(timeout=120)
        self._reader.join(timeout=120)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
