"""Runs every program here in a process of its own and writes results.md with the machine's description."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results.md"
_HELPERS = frozenset({"__init__", "__main__", "measuring"})


def main() -> None:
    sections = [f"# What was measured\n\n{_machine()}\n"]
    for file in sorted(FOLDER.glob("*.py")):
        if file.stem in _HELPERS:
            continue
        done = subprocess.run([sys.executable, "-m", f"bench.{file.stem}"], capture_output=True, text=True, check=False)
        text = done.stdout.strip() or f"failed: {done.stderr.strip().splitlines()[-1:]}"
        print(f"{file.stem}\n{text}\n", flush=True)
        sections.append(f"## {file.stem}\n\n```\n{text}\n```\n")
    RESULTS.write_text("\n".join(sections))


def _machine() -> str:
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{python}, {os.cpu_count()} CPUs, {platform.machine()}, {platform.system()}."


if __name__ == "__main__":
    main()
