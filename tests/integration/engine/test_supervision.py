"""What goes wrong around the engine is told, recorded and does not stop the rest; and old history
goes.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.integration.engine.serving import PACKS, Served, eventually

ANCIENT = "2020-01-01T00:00:00.000000Z"


def _log(tmp_path: Path) -> str:
    return (tmp_path / "data.log").read_text()


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_killed_worker_fails_its_action_alone(
    serve: Callable[..., Served], tmp_path: Path
) -> None:
    """An action whose process is killed has failed and says by which signal; the next action finds
    a new process.
    """
    served = serve("engine_steps")
    marks = tmp_path / "marks"
    parameters = {"file": str(marks), "line": "here", "gate": str(tmp_path / "gate")}
    asked = served.http.post(
        "/v1/executions", json={"action": "engine_steps.mark", "parameters": parameters}
    ).json()
    eventually(marks.exists)

    for child in _children(served.process.pid):
        os.kill(child, signal.SIGKILL)

    failed = served.ended(asked["id"])
    assert (failed["status"], failed["result"]["exit_code"]) == ("failed", -signal.SIGKILL)
    assert "signal 9" in failed["result"]["error"]
    eventually(
        lambda: any(
            "worker.killed" in line and asked["id"] in line for line in _log(tmp_path).splitlines()
        )
    )
    assert served.run("engine_steps.mark", file=str(marks), line="again")["status"] == "succeeded"


def test_a_locked_database_refuses_what_is_new_and_keeps_what_happened(
    serve: Callable[..., Served], tmp_path: Path
) -> None:
    """While another program locks the file, a request gets 503 with the reason; the end of an
    action is kept in memory and written when the lock is gone."""
    served = serve("engine_steps")
    marks, gate = tmp_path / "marks", tmp_path / "gate"
    parameters = {"file": str(marks), "line": "here", "gate": str(gate)}
    asked = served.http.post(
        "/v1/executions", json={"action": "engine_steps.mark", "parameters": parameters}
    ).json()
    eventually(marks.exists)
    assert served.get(f"/v1/executions/{asked['id']}")["status"] == "running"
    with closing(
        sqlite3.connect(tmp_path / "data" / "stormcell.db", isolation_level=None)
    ) as intruder:
        intruder.execute("BEGIN IMMEDIATE")
        gate.touch()
        refused = served.http.post("/v1/executions", json={"action": "core.noop", "parameters": {}})
        assert refused.status_code == 503, refused.text
        assert "database is locked" in refused.json()["faultstring"]
        assert refused.headers["Retry-After"]
        eventually(lambda: "store.write_failed" in _log(tmp_path))
        intruder.execute("ROLLBACK")

    assert served.ended(asked["id"])["status"] == "succeeded"
    assert served.run("core.noop")["status"] == "succeeded"


def test_a_sensor_that_throws_is_told_and_started_again(
    serve: Callable[..., Served], tmp_path: Path
) -> None:
    """The traceback of a failing sensor is in the log with its ref; actions run on."""
    served = serve("watching")

    eventually(
        lambda: "sensor.failed" in _log(tmp_path) and "watching.FailingSensor" in _log(tmp_path)
    )

    assert served.run("core.noop")["status"] == "succeeded"


def test_old_history_goes_and_the_rest_stays(serve: Callable[..., Served], tmp_path: Path) -> None:
    """With --keep-days, trees that ended and events that occurred earlier are removed at the start;
    what still runs, however old, stays."""
    served = serve("engine_people")
    old, young = served.run("core.noop")["id"], served.run("core.noop")["id"]
    waiting = served.http.post(
        "/v1/executions", json={"action": "core.ask", "parameters": {"ttl": 0}}
    ).json()["id"]
    eventually(lambda: served.get(f"/v1/executions/{waiting}")["status"] == "pending")
    served.stop()
    with closing(
        sqlite3.connect(tmp_path / "data" / "stormcell.db", isolation_level=None)
    ) as database:
        database.execute("UPDATE executions SET started_at = ?", (ANCIENT,))
        database.execute("UPDATE executions SET ended_at = ? WHERE id = ?", (ANCIENT, old))

    served = serve("engine_people", options=("--keep-days", "30"))

    eventually(lambda: "history.pruned" in _log(tmp_path))
    left = {execution["id"] for execution in served.get("/v1/executions", limit=-1)}
    assert left == {young, waiting}


def test_rules_hear_of_sensors_processes(serve: Callable[..., Served], tmp_path: Path) -> None:
    """core.st2.sensor.process_spawn and process_exit come with StackStorm's payload to rules that
    ask.
    """
    configs = _configs(tmp_path, "town: here")
    served = serve("engine_sensed", options=("--configs", str(configs)))

    told = eventually(lambda: _told(served) if len(_told(served)) == 2 else None)

    spawned, ended = told["engine_sensed.spawn"], told["engine_sensed.exit"]
    assert (spawned["id"], spawned["ref"]) == ("ShortSensor", "engine_sensed.ShortSensor")
    assert spawned["pid"] > 1
    assert "sensor" in spawned["cmd"]
    assert (ended["id"], ended["exit_code"]) == ("ShortSensor", 0)
    status = served.get("/v1/sensortypes/engine_sensed.ShortSensor")["status"]
    assert (status["state"], status["restarts"], status["error"]) == ("ended", 0, None)


def test_a_wrong_configuration_is_said_at_the_start(
    serve: Callable[..., Served], tmp_path: Path
) -> None:
    """The engine starts, and says which pack's settings are wrong: on the error stream, in the log,
    in /healthz and at the sensor. Mending the file and a reload are enough."""
    configs = _configs(tmp_path, "{}")
    served = serve("engine_sensed", options=("--configs", str(configs)))

    assert "The configuration of engine_sensed is wrong" in _log(tmp_path)
    assert "config.refused" in _log(tmp_path)
    assert "town" in _log(tmp_path)
    assert served.get("/healthz") == {
        "status": "degraded",
        "wrong_configuration": ["engine_sensed"],
    }
    sensor = eventually(lambda: _failed_sensor(served))
    assert "town" in sensor["error"]
    assert served.run("core.noop")["status"] == "succeeded"

    (configs / "engine_sensed.yaml").write_text("town: here\n")
    served.http.post("/v1/packs/register", json={"packs": ["engine_sensed"]}).raise_for_status()

    assert served.get("/healthz") == {"status": "ok"}
    eventually(
        lambda: (
            served.get("/v1/sensortypes/engine_sensed.ShortSensor")["status"]["state"] == "ended"
        )
    )


def _configs(tmp_path: Path, text: str) -> Path:
    folder = tmp_path / "configs"
    folder.mkdir()
    (folder / "engine_sensed.yaml").write_text(text + "\n")
    return folder


def _told(served: Served) -> dict[str, dict[str, Any]]:
    runs = served.get("/v1/executions", action="engine_sensed.hears")
    return {run["rule"]["ref"]: run["parameters"]["told"] for run in runs}


def _failed_sensor(served: Served) -> dict[str, Any] | None:
    status: dict[str, Any] = served.get("/v1/sensortypes/engine_sensed.ShortSensor")["status"]
    return status if status["error"] else None


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of a few megabytes, where this machine lets us make one."""
    disk = tmp_path / "data"
    disk.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "small", str(disk)], capture_output=True
    )
    if made.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {made.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_full_disk_is_told_and_what_happened_is_kept(small_disk: Path, tmp_path: Path) -> None:
    """While the disk is full, requests and events get 503 with the reason, and the end of a running
    action is kept in memory. With room again it is written, nothing is lost or left `running`, and
    the engine goes on."""
    served = Served(small_disk, PACKS / "engine_steps")
    try:
        marks, gate = tmp_path / "marks", tmp_path / "gate"
        parameters = {"file": str(marks), "line": "here", "gate": str(gate)}
        asked = served.http.post(
            "/v1/executions", json={"action": "engine_steps.mark", "parameters": parameters}
        )
        eventually(marks.exists)
        ballast = small_disk / "ballast"
        _fill(ballast)
        refused = eventually(lambda: _refusal(served))
        assert "database or disk is full" in refused["faultstring"]
        gate.touch()
        eventually(lambda: "store.write_failed" in _log(tmp_path))
        health = served.http.get("/healthz")
        assert (health.status_code, health.json()) == (
            503,
            {"status": "degraded", "database": "cannot be written"},
        )

        ballast.unlink()

        assert served.ended(asked.json()["id"])["status"] == "succeeded"
        assert served.run("core.noop")["status"] == "succeeded"
        assert not served.get("/v1/executions", status="running")
    finally:
        assert served.stop() == 0
    with closing(sqlite3.connect(small_disk / "stormcell.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def _fill(file: Path) -> None:
    """Write until there is no room for a page."""
    with file.open("wb", buffering=0) as target:
        for size in (65536, 4096, 1):
            try:
                while True:
                    target.write(b"x" * size)
            except OSError:
                continue


def _refusal(served: Served) -> dict[str, Any] | None:
    """Ask until the write-ahead log has no place left either."""
    answered = served.http.post("/v1/executions", json={"action": "core.noop", "parameters": {}})
    return answered.json() if answered.status_code == 503 else None
