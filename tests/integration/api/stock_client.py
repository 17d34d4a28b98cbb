"""StackStorm's own client, installed apart from everything of ours (it pins old versions), and a
way to drive it.

Run by that client's Python this file is the driver: it reads command lines from stdin and answers
what each printed, so that one start of the client serves many commands.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import re
import shlex
import subprocess
import sys
import venv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

VERSION = "3.9.0"
_COLOR = re.compile(r"\x1b\[[0-9;]*m")
_INSTALL_SECONDS = 280
_DRIVE_SECONDS = 240


class Unavailable(Exception):
    """The client cannot be installed here."""


def install() -> Path:
    """Return the Python of the client's environment, made at first under the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kubestorm"
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / f"st2client-{VERSION}-py{sys.version_info.major}.{sys.version_info.minor}"
    python, ready = folder / "bin" / "python", folder / "ready"
    with (cache / "st2client.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ready.exists():
            venv.create(folder, with_pip=True, clear=True)
            command = [str(python), "-m", "pip", "install", "--quiet", f"st2client=={VERSION}"]
            try:
                subprocess.run(
                    command, check=True, capture_output=True, text=True, timeout=_INSTALL_SECONDS
                )
            except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
                raise Unavailable(str(error.stderr or error).strip().splitlines()[-1:]) from error
            ready.touch()
    return python


class Printed(str):
    """What a command printed, colours taken off, with its exit code."""

    code: int
    command: str

    def json(self) -> Any:
        return json.loads(self)

    def properties(self) -> dict[str, str]:
        """The rows of a table of properties and values; only the first line of a value."""
        rows = (
            line.strip("|").split("|", 1) for line in self.splitlines() if line.startswith("| ")
        )
        return {row[0].strip(): row[1].strip() for row in rows if len(row) == 2 and row[0].strip()}

    def rows(self) -> list[list[str]]:
        """The rows of a table, the heading first; a row that spans lines is put together."""
        found: list[list[str]] = []
        for line in self.splitlines():
            if not line.startswith("| "):
                continue
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if cells[0] or not found:
                found.append(cells)
            else:
                found[-1] = [before + after for before, after in zip(found[-1], cells, strict=True)]
        return found


class StockClient:
    """The `st2` command against one running engine."""

    def __init__(self, python: Path, url: str, key: str, home: Path) -> None:
        self._python = python
        self.home = home
        (home / ".st2").mkdir(parents=True, exist_ok=True)
        (home / ".st2" / "config").touch(mode=0o600)
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "COLUMNS": "200",
            "ST2_API_URL": f"{url}/v1",
            "ST2_AUTH_URL": f"{url}/auth/v1",
            "ST2_STREAM_URL": f"{url}/stream/v1",
            "ST2_API_KEY": key,
        }

    def __call__(
        self, *lines: str, env: Mapping[str, str] | None = None, answers: str = ""
    ) -> list[Printed]:
        """Run command lines one after the other. `answers` is what a command that asks reads."""
        given = {"lines": lines, "answers": answers}
        done = subprocess.run(
            [str(self._python), __file__],
            input=json.dumps(given),
            capture_output=True,
            text=True,
            timeout=_DRIVE_SECONDS,
            env={**self.env, **(env or {})},
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return [
            _printed(line, *result)
            for line, result in zip(lines, json.loads(done.stdout), strict=True)
        ]


def _printed(line: str, code: int, text: str) -> Printed:
    printed = Printed(_COLOR.sub("", text))
    printed.code, printed.command = code, line
    return printed


def _drive() -> None:
    from st2client.shell import Shell  # only the client's own Python has it

    given = json.loads(sys.stdin.read())
    sys.stdin = io.StringIO(given["answers"])
    results = []
    for line in given["lines"]:
        words = shlex.split(line)
        sys.argv = ["st2", *words]
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            try:
                code = Shell().run(words)
            except SystemExit as error:
                code = error.code
        results.append([code or 0, out.getvalue()])
    print(json.dumps(results))


if __name__ == "__main__":
    _drive()
