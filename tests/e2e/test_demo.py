"""`make demo`, as a newcomer runs it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from sandbox.environment import ROOT


def test_the_demo_plays_to_the_end_and_leaves_nothing(tmp_path):
    """It exits 0, shows each stage, never shows the password, and no process of it survives."""
    done = subprocess.run(
        [sys.executable, "-m", "sandbox.demo", "--folder", str(tmp_path / "demo")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for stage in (
        "created Database default/orders",
        "kubestorm.database_event_reconcile",
        "kubestorm.vault_ensure_credentials",
        "Ready=True",
        "host",
        "updated Database default/orders",
        "manual snapshot, available",
        "Nothing is left running.",
    ):
        assert stage in done.stdout
    assert re.search(r"secret/kubestorm/demo/default/orders", done.stdout)
    assert "\x1b[" not in done.stdout, "colours only on a terminal"
    assert _processes_naming(str(tmp_path)) == []


def _processes_naming(text: str) -> list[str]:
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if text in command:
                found.append(command)
    return found
