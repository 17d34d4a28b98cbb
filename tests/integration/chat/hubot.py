"""Hubot from npm, with its shell adapter and the pack's script, as a process to talk with."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path

VERSION = "11.6.0"
ROOT = Path(__file__).resolve().parents[3]
SCRIPTS = ROOT / "chatops" / "hubot" / "scripts"
_INSTALL_SECONDS = 240


class Unavailable(Exception):
    """Hubot cannot be installed here."""


def install() -> Path:
    """The folder in which Hubot is installed, made at first under the user's cache."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise Unavailable("node and npm are not installed")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kubestorm"
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / f"hubot-{VERSION}"
    with (cache / "hubot.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "ready").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            command = [npm, "install", "--prefix", str(folder), "--ignore-scripts", "--no-audit", "--no-fund"]
            try:
                subprocess.run(
                    [*command, f"hubot@{VERSION}"], check=True, capture_output=True, text=True, timeout=_INSTALL_SECONDS
                )
            except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
                raise Unavailable(f"npm cannot install hubot: {str(error.stderr or error)[-200:]}") from error
            (folder / "ready").touch()
    return folder


class Hubot:
    """One Hubot whose user types lines; what it prints is kept."""

    def __init__(self, installed: Path, folder: Path, user: str, environment: Mapping[str, str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        program = installed / "node_modules" / "hubot" / "bin" / "Hubot.mjs"
        self.command = ["node", str(program), "-a", "Shell", "-n", "hubot", "-d", "-r", str(SCRIPTS)]
        self.process = subprocess.Popen(
            self.command,
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(folder),
                "HUBOT_HTTPD": "false",
                "HUBOT_SHELL_USER_NAME": user,
                "HUBOT_LOG_LEVEL": "info",
                **environment,
            },
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

    def wait(self, text: str, *, since: int = 0, seconds: float = 40.0) -> str:
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
        self.process.wait(timeout=20)
        self._reader.join(timeout=20)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
