"""A database that is gone, a disk that is full: said in a sentence, and nothing is acknowledged
that is not kept.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.engine.serving import PACKS, Served


def _serve(data: Path, *, largest_file: int | None = None) -> subprocess.CompletedProcess[str]:
    def limit() -> None:
        if largest_file is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

    command = [sys.executable, "-B", "-m", "stormcell", "serve", "--data", str(data), "--port", "0"]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, preexec_fn=limit
    )


@pytest.mark.parametrize("removed", [True, False], ids=["removed", "replaced"])
def test_a_database_that_is_gone_is_noticed(tmp_path: Path, removed: bool) -> None:
    """What cannot be kept is refused, health says so, and the next start does not begin anew."""
    data = tmp_path / "data"
    served = Served(data, PACKS / "engine_demo")
    file, aside = data / "stormcell.db", tmp_path / "aside"
    assert served.get("/healthz") == {"status": "ok"}
    file.rename(aside)
    if not removed:
        file.write_bytes(aside.read_bytes())
    broken = served.http.get("/healthz")
    assert (broken.status_code, broken.json()) == (
        503,
        {"status": "degraded", "database": "cannot be written"},
    )
    refused = served.http.post("/v1/executions", json={"action": "core.noop"})
    assert refused.status_code == 503
    assert "was removed or replaced while stormcell was running" in refused.json()["faultstring"]
    aside.rename(file)
    assert served.run("core.noop")["status"] == "succeeded"
    assert served.get("/healthz") == {"status": "ok"}
    file.rename(aside)
    served.kill()
    again = _serve(data)
    assert again.returncode == 1
    assert f"{file} is missing, but {data} was in use." in again.stderr
    assert "Traceback" not in again.stderr
    assert not file.exists()


@pytest.mark.parametrize("size", [0, 1, 4096, 40_000, 100_000])
def test_a_full_disk_at_the_start_is_a_sentence(tmp_path: Path, size: int) -> None:
    """Wherever in the start it is noticed: at the lock, the database, a key."""
    data = tmp_path / "data"
    done = _serve(data, largest_file=size)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr, done.stderr
    assert "data" in done.stderr.splitlines()[-1]
    later = Served(data)
    assert later.stop() == 0
