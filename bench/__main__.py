"""Runs every program here in a process of its own and writes results.md with the machine's
description.
"""

from __future__ import annotations

import os
import platform
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results.md"
PROGRAMS = (
    "ingest",
    "matching",
    "reacting",
    "webhooks",
    "pushes",
    "steps",
    "watching",
    "starting",
    "executions",
)
_HEAD = """# What was measured

Written by `make bench`. Rates are per CPU second, times are medians, ratios compare programs that took turns in one
run; figures from different runs are not comparable. What each program does stands at its top. Bars: the design's.
"""


def main() -> int:
    """Exit code 0 when every program ran; a bar that is not reached is said, and is no failure."""
    begin, failed = time.monotonic(), 0
    sections = [_HEAD, _machine()]
    for name in PROGRAMS:
        print(name, flush=True)
        done = subprocess.run(
            [sys.executable, "-m", f"bench.{name}"], capture_output=True, text=True, check=False
        )
        text = done.stdout.strip()
        if done.returncode:
            failed += 1
            text += f"\nfailed: {done.stderr.strip().splitlines()[-1:]}"
        print(text + "\n", flush=True)
        sections.append(f"## {name}\n\n```\n{text.strip()}\n```\n")
        RESULTS.write_text("\n".join(sections))
    print(
        f"{RESULTS.relative_to(Path.cwd()) if RESULTS.is_relative_to(Path.cwd()) else RESULTS} written, "
        f"{time.monotonic() - begin:.0f} s"
    )
    return 1 if failed else 0


def _machine() -> str:
    python = f"{platform.python_implementation()} {platform.python_version()}"
    load, cpus = os.getloadavg()[0], os.cpu_count() or 1
    busy = (
        "The machine was busy with other work: what is measured by the clock (ms, s, per second) says more of that\n"
        "than of these programs; CPU time, ratios and memory hold.\n"
    )
    return (
        f"{python}, SQLite {sqlite3.sqlite_version}, {cpus} CPUs ({platform.machine()}), "
        f"{platform.system()}; load when it began: {load:.1f}.\n" + (busy if load > cpus else "")
    )


if __name__ == "__main__":
    sys.exit(main())
