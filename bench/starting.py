"""The start of `stormcell serve` with 1,000 rules, from the command to the line that says it is
ready, and its memory.

Beside it, in turns, the start of a Python that imports the libraries of the HTTP server and nothing
else. Both find compiled modules, as an installed program does; the folder for them is the bench's
own.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from bench.engines import family, process_cpu_seconds, pss_megabytes, write_pack
from bench.harness import Figure, at_most, say

RULES = 1_000
ROUNDS = 5
BAR_SECONDS = 0.5
BAR_MEGABYTES = 150
_SETTLE_SECONDS = 2.0
_BARE = "import sqlite3, uvicorn, starlette.applications, msgspec, jinja2, yaql; print('ready', flush=True)"


def _pack(folder: Path) -> Path:
    files = {
        "triggers/event.yaml": yaml.safe_dump(
            {"name": "event", "payload_schema": {"type": "object"}}
        ),
    }
    for number in range(RULES):
        rule = {
            "name": f"rule_{number}",
            "pack": "bench",
            "enabled": True,
            "trigger": {"type": "bench.event"},
            "criteria": {"trigger.kind": {"type": "eq", "pattern": f"kind-{number}"}},
            "action": {"ref": "core.noop"},
        }
        files[f"rules/rule_{number}.yaml"] = yaml.safe_dump(rule)
    return write_pack(folder, files)


def _environment(folder: Path) -> dict[str, str]:
    """The present one, with modules compiled once and kept in a folder."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPYCACHEPREFIX": str(folder)}


def _start(
    arguments: list[str], env: dict[str, str], *, settle: bool = False
) -> tuple[float, float, float]:
    """Seconds until a program's first line, CPU seconds of its own till then, and megabytes of it
    and its children once they have settled."""
    begin = time.perf_counter()
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        seconds, cpu, held = time.perf_counter() - begin, process_cpu_seconds(process.pid), 0.0
        if settle:
            time.sleep(_SETTLE_SECONDS)
            held = sum(map(pss_megabytes, family(process.pid)))
        process.send_signal(signal.SIGTERM)
    return seconds, cpu, held


def measure() -> list[Figure]:
    ours, spent, bare, held = [], [], [], 0.0
    with tempfile.TemporaryDirectory() as name:
        pack, env = _pack(Path(name) / "bench"), _environment(Path(name) / "compiled")
        for turn in range(ROUNDS + 1):  # the first fills the caches of the disk and of Python
            data = Path(name) / f"data-{turn}"
            serve = [
                sys.executable,
                "-m",
                "stormcell",
                "serve",
                "--port",
                "0",
                "--pack",
                str(pack),
                "--data",
                str(data),
            ]
            seconds, cpu, held = _start(serve, env, settle=turn == ROUNDS)
            ours.append(seconds)
            spent.append(cpu)
            bare.append(_start([sys.executable, "-c", _BARE], env)[0])
    median, other = statistics.median(ours[1:]), statistics.median(bare[1:])
    return [
        at_most(f"start with {RULES:,} rules in as many files", median, "s", BAR_SECONDS),
        Figure("of it CPU time of the engine's own process", statistics.median(spent[1:]), "s"),
        Figure(
            "ratio to a Python that imports the same libraries",
            median / other,
            f"of its {other:.2f} s",
        ),
        at_most(
            "memory of engine and worker, idle, no library loaded", held, "MB (PSS)", BAR_MEGABYTES
        ),
    ]


if __name__ == "__main__":
    say(measure)
