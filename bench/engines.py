"""Real engines for the programs here: a pack in a folder, `stormcell serve` in a process, what it
wrote and holds.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
from stormcell.times import parse_instant

from sandbox.engine_process import EngineProcess

_PACK = "ref: bench\nname: bench\nversion: 0.1.0\nauthor: bench\nemail: bench@example.org\ndescription: Measured.\n"
_STARTED = (
    "SELECT e.action_ref, e.log, e.result, i.payload FROM executions e "
    "JOIN trigger_instances i ON i.id = e.trigger_instance_id ORDER BY e.rowid"
)


class Started(msgspec.Struct, frozen=True):
    """An execution that an event led to. Times are Unix seconds."""

    action: str
    started_at: float
    payload: dict[str, object]
    result: object


def write_pack(folder: Path, files: Mapping[str, str]) -> Path:
    """Write a pack named `bench` with these files."""
    for name, text in {"pack.yaml": _PACK, **files}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@contextlib.contextmanager
def serving(folder: Path, *packs: Path) -> Iterator[EngineProcess]:
    """A running engine, its log at `info` as by default."""
    configs = folder / "configs"
    configs.mkdir(parents=True, exist_ok=True)
    with EngineProcess(folder / "engine", packs=packs, configs=configs) as engine:
        yield engine


def started(engine: EngineProcess) -> list[Started]:
    """The executions that events led to and that have ended, oldest first."""
    with contextlib.closing(sqlite3.connect(engine.data / "stormcell.db")) as connection:
        rows = connection.execute(_STARTED).fetchall()
    return [
        Started(
            action,
            _instant(log, "running"),
            msgspec.json.decode(payload),
            msgspec.json.decode(result),
        )
        for action, log, result, payload in rows
        if result is not None
    ]


def _instant(log: str, status: str) -> float:
    line = next(line for line in log.splitlines() if line.startswith(f"{status} "))
    return parse_instant(line.split(" ", 1)[1]).timestamp()


def process_id(engine: EngineProcess) -> int:
    return int((engine.data / "lock").read_text())


def process_cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def family(pid: int) -> list[int]:
    """A process and all below it."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    found = [pid]
    for known in found:
        found += [child for child, parent in parents.items() if parent == known]
    return found


def pss_megabytes(pid: int) -> float:
    """Proportional set size: pages that processes share are counted once between them."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
