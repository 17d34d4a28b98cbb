"""`make demo`, as a newcomer runs it: to the end, interrupted, kept up, and asked for what is not
there.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sandbox.demo import programs
from sandbox.environment import ROOT
from sandbox.realkube import ASSETS_VARIABLE

COMMAND = [sys.executable, "-m", "sandbox.demo", "--folder"]
NEEDS_KUBECTL = pytest.mark.skipif(
    not shutil.which("kubectl"), reason="kubectl is not installed (Debian: kubernetes-client)"
)


class Running:
    """A demo that is under way; its output so far is `text`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.text = ""

    def read_until(self, text: str) -> None:
        """Read on until a text has come. The test's own timeout ends an endless wait."""
        while text not in self.text:
            line = self.process.stdout.readline()
            assert line, f"the demo ended before it said {text!r}:\n{self.text}"
            self.text += line

    def end(self, number: signal.Signals) -> int:
        """Send a signal, read the rest, return the exit code."""
        self.process.send_signal(number)
        self.text += self.process.stdout.read()
        return self.process.wait()


@contextmanager
def demo(
    folder: Path, *arguments: str, environment: dict[str, str] | None = None
) -> Iterator[Running]:
    with subprocess.Popen(
        [*COMMAND, str(folder), *arguments],
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield Running(process)
        finally:
            process.terminate()


def test_the_demo_plays_to_the_end_and_leaves_nothing(tmp_path):
    """It exits 0, shows each stage, never shows the password, and no process of it survives."""
    with demo(tmp_path / "demo") as it:
        it.read_until("Nothing is left running.")
        assert it.process.wait() == 0
    for stage in (
        "created Database default/orders",
        "kubestorm.database_event_reconcile",
        "kubestorm.vault_ensure_credentials",
        "Ready=True",
        "host",
        "updated Database default/orders",
        "manual snapshot, available",
        "pushed team/cart:1.1.0",
        "1.1.0 Complete",
        "1.2.0 Failed",
        "1.2.1 Complete",
        "no such table: carts",
    ):
        assert stage in it.text
    assert len(re.findall(r"Ready \d+\.\d s after apply", it.text)) == 2, (
        "the Database and the Application"
    )
    assert re.search(r"back on 1\.1\.0 \d+\.\d s after the push", it.text)
    assert re.search(r"secret/kubestorm/demo/default/orders", it.text)
    if not programs.missing():
        assert re.search(r"the commit runs \d+\.\d s after it was made", it.text)
    assert "\x1b[" not in it.text, "colours only on a terminal"
    assert "ERROR" not in it.text
    assert _processes_naming(str(tmp_path)) == []


@NEEDS_KUBECTL
def test_what_a_kept_demo_says_to_try_works(tmp_path):
    """Every command that KEEP=1 prints runs as printed; a second demo is refused; SIGTERM ends it
    with 0.
    """
    with demo(tmp_path / "demo", "--keep") as it:
        it.read_until("stormcell executions")
        commands = it.text[it.text.index("Everything stays up") :].splitlines()[1:]
        script = "\n".join(
            line.strip() for line in commands if not line.strip().startswith(("vault ", "consul "))
        )
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
        published = "kubestorm/demo/default/orders/host"
        shown = ("orders", "cart", "Conditions", '"username"', published, "database_reconcile")
        for text in shown:
            assert text in done.stdout
        with demo(tmp_path / "demo", "--keep") as second:
            second.read_until("Another demo runs in this checkout")
            assert second.process.wait() == 1
        assert it.end(signal.SIGTERM) == 0
    assert "Nothing is left running." in it.text
    assert _processes_naming(str(tmp_path)) == []


STAGES = {
    "starting": "Starting",
    "engine up": "stormcell  ",
    "creating": "rule ",
    "changing": "updated Database",
}


@pytest.mark.parametrize("text", STAGES.values(), ids=STAGES.keys())
def test_an_interrupt_at_any_stage_leaves_nothing(tmp_path, text):
    """Ctrl-C is answered by the end of everything, with the exit code of an interrupt and no
    traceback.
    """
    with demo(tmp_path / "demo") as it:
        it.read_until(text)
        assert it.end(signal.SIGINT) == 130
    assert "Nothing is left running." in it.text
    assert "Traceback" not in it.text
    assert _processes_naming(str(tmp_path)) == []


WISHES: dict[str, tuple[list[str], dict[str, str], str, int]] = {
    "an unknown API": (["--kube", "foo"], {}, "invalid choice: 'foo'", 2),
    "a real API that is not there": (
        ["--kube", "real"],
        {ASSETS_VARIABLE: ""},
        "needs KUBEBUILDER_ASSETS",
        1,
    ),
    "a folder without binaries": (
        ["--kube", "real"],
        {ASSETS_VARIABLE: "/dev"},
        "holds no etcd",
        1,
    ),
}


@pytest.mark.parametrize(
    "arguments, environment, sentence, code", WISHES.values(), ids=WISHES.keys()
)
def test_what_cannot_be_is_said(tmp_path, arguments, environment, sentence, code):
    """A wish that cannot be met gets a sentence and an exit code, and no traceback."""
    with demo(tmp_path / "demo", *arguments, environment=environment) as it:
        it.read_until(sentence)
        it.text += it.process.stdout.read()
        assert it.process.wait() == code
    assert "Traceback" not in it.text
    assert _processes_naming(str(tmp_path)) == []


def test_a_folder_of_somebody_else_is_left_alone(tmp_path):
    """The demo empties only what is its own."""
    precious = tmp_path / "home" / "precious"
    precious.parent.mkdir()
    precious.touch()
    with demo(precious.parent) as it:
        it.read_until("holds something else")
        assert it.process.wait() == 1
    assert precious.exists()


def _processes_naming(text: str) -> list[str]:
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                command = (
                    (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                )
            except OSError:
                continue
            if text in command:
                found.append(command)
    return found
