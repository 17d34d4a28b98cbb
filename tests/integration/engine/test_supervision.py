"""What goes wrong around the engine is told, recorded and does not stop the rest; and old history goes."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from tests.integration.engine.serving import Served, eventually

ANCIENT = "2020-01-01T00:00:00.000000Z"


def _log(tmp_path: Path) -> str:
    return (tmp_path / "data.log").read_text()


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_killed_worker_fails_its_action_alone(serve: Callable[..., Served], tmp_path: Path) -> None:
    """An action whose process is killed has failed and says by which signal; the next action finds a new process."""
    served = serve("engine_steps")
    marks = tmp_path / "marks"
    parameters = {"file": str(marks), "line": "here", "gate": str(tmp_path / "gate")}
    asked = served.http.post("/v1/executions", json={"action": "engine_steps.mark", "parameters": parameters}).json()
    eventually(marks.exists)

    for child in _children(served.process.pid):
        os.kill(child, signal.SIGKILL)

    failed = served.ended(asked["id"])
    assert (failed["status"], failed["result"]["exit_code"]) == ("failed", -signal.SIGKILL)
    assert "signal 9" in failed["result"]["error"]
    eventually(lambda: any("worker.killed" in line and asked["id"] in line for line in _log(tmp_path).splitlines()))
    assert served.run("engine_steps.mark", file=str(marks), line="again")["status"] == "succeeded"


def test_a_locked_database_refuses_what_is_new_and_keeps_what_happened(
    serve: Callable[..., Served], tmp_path: Path
) -> None:
    """While another program locks the file, a request gets 503 with the reason; the end of an action is kept in memory
    and written when the lock is gone."""
    served = serve("engine_steps")
    marks, gate = tmp_path / "marks", tmp_path / "gate"
    parameters = {"file": str(marks), "line": "here", "gate": str(gate)}
    asked = served.http.post("/v1/executions", json={"action": "engine_steps.mark", "parameters": parameters}).json()
    eventually(marks.exists)
    assert served.get(f"/v1/executions/{asked['id']}")["status"] == "running"
    with closing(sqlite3.connect(tmp_path / "data" / "stormcell.db", isolation_level=None)) as intruder:
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


def test_a_sensor_that_throws_is_told_and_started_again(serve: Callable[..., Served], tmp_path: Path) -> None:
    """The traceback of a failing sensor is in the log with its ref; actions run on."""
    served = serve("watching")

    eventually(lambda: "sensor.failed" in _log(tmp_path) and "watching.FailingSensor" in _log(tmp_path))

    assert served.run("core.noop")["status"] == "succeeded"


def test_old_history_goes_and_the_rest_stays(serve: Callable[..., Served], tmp_path: Path) -> None:
    """With --keep-days, trees that ended and events that occurred earlier are removed at the start; what still runs,
    however old, stays."""
    served = serve("engine_people")
    old, young = served.run("core.noop")["id"], served.run("core.noop")["id"]
    waiting = served.http.post("/v1/executions", json={"action": "core.ask", "parameters": {"ttl": 0}}).json()["id"]
    eventually(lambda: served.get(f"/v1/executions/{waiting}")["status"] == "pending")
    served.stop()
    with closing(sqlite3.connect(tmp_path / "data" / "stormcell.db", isolation_level=None)) as database:
        database.execute("UPDATE executions SET started_at = ?", (ANCIENT,))
        database.execute("UPDATE executions SET ended_at = ? WHERE id = ?", (ANCIENT, old))

    served = serve("engine_people", options=("--keep-days", "30"))

    eventually(lambda: "history.pruned" in _log(tmp_path))
    left = {execution["id"] for execution in served.get("/v1/executions", limit=-1)}
    assert left == {young, waiting}
