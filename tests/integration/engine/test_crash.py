"""After SIGKILL at any moment, everything ends as if nothing had happened."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.engine.serving import Served, eventually

WORKFLOWS = 40
WALKED = ["one", "two", "three", "four"]


def _emit(served: Served, label: str, file: Path) -> str:
    payload = {"label": label, "file": str(file)}
    response = served.http.post(
        "/v1/webhooks/st2", json={"trigger": "engine_steps.asked", "payload": payload}
    )
    assert response.status_code == 202, response.text
    return response.headers["X-Trigger-Instance-Id"]


def _unfinished(served: Served) -> list[dict[str, Any]]:
    shown = served.get("/v1/executions", limit=-1, include_attributes="status")
    return [
        item
        for item in shown
        if item["status"] not in ("succeeded", "failed", "canceled", "timeout")
    ]


@pytest.mark.parametrize("seed", [1, 2], ids=["seed-1", "seed-2"])
def test_acknowledged_events_end_as_without_crashes(
    serve: Callable[..., Served], tmp_path: Path, seed: int
) -> None:
    """Each event that was acknowledged before one of several crashes leads to one whole run of its
    chain.
    """
    chance = random.Random(seed)
    marks = tmp_path / "marks"
    acknowledged: list[str] = []
    for round_number in range(4):
        served = serve("engine_steps")
        for number in range(WORKFLOWS // 4):
            acknowledged.append(_emit(served, f"{round_number}-{number}", marks))
        target = chance.randrange(len(acknowledged) * 3)
        eventually(
            lambda target=target: marks.exists() and len(marks.read_text().splitlines()) >= target
        )
        served.kill()
    served = serve("engine_steps")
    eventually(lambda: not _unfinished(served), seconds=120)

    for instance_id in acknowledged:
        (run,) = served.get("/v1/executions", trigger_instance=instance_id, parent="null")
        assert (run["status"], run["action"]["ref"]) == ("succeeded", "engine_steps.walk")
        assert [task["name"] for task in run["result"]["tasks"]] == WALKED
        assert [task["state"] for task in run["result"]["tasks"]] == ["succeeded"] * 4
        children = served.get(f"/v1/executions/{run['id']}/children", depth="1")
        assert len(children) == len(WALKED)


def test_a_cut_off_action_runs_again_under_its_id(
    serve: Callable[..., Served], tmp_path: Path
) -> None:
    """A Python action that ran when the engine died is run again, and its log says so."""
    marks = tmp_path / "marks"
    served = serve("engine_steps")
    body = {
        "action": "engine_steps.mark",
        "parameters": {"file": str(marks), "line": "here", "gate": str(tmp_path / "gate")},
    }
    asked = served.http.post("/v1/executions", json=body).json()
    eventually(marks.exists)
    assert served.get("/v1/executions", status="running")  # so it is on disk that it runs
    served.kill()
    (tmp_path / "gate").touch()

    again = serve("engine_steps").ended(asked["id"])

    assert again["status"] == "succeeded"
    statuses = [entry["status"] for entry in again["log"]]
    assert statuses == [
        "requested",
        "scheduled",
        "running",
        "requested",
        "scheduled",
        "running",
        "succeeded",
    ]
    assert marks.read_text().splitlines() == ["here", "here"]


def test_a_cancel_survives_a_crash(serve: Callable[..., Served], tmp_path: Path) -> None:
    """A workflow that was being canceled when the engine died is canceled after the next start."""
    marks = tmp_path / "marks"
    served = serve("engine_steps")
    parameters = {"file": str(marks), "label": "x", "seconds": 60}
    asked = served.http.post(
        "/v1/executions", json={"action": "engine_steps.walk", "parameters": parameters}
    ).json()
    eventually(marks.exists)
    served.http.delete(f"/v1/executions/{asked['id']}")
    served.kill()

    ended = serve("engine_steps").ended(asked["id"])

    assert ended["status"] == "canceled", ended


def test_sigterm_ends_cleanly_and_nothing_is_lost(
    serve: Callable[..., Served], tmp_path: Path
) -> None:
    """SIGTERM exits with 0; what did not finish within the grace goes on at the next start."""
    marks = tmp_path / "marks"
    served = serve("engine_steps", options=("--grace", "0"))
    instance = _emit(served, "x", marks)
    eventually(marks.exists)

    assert served.stop() == 0

    again = serve("engine_steps")
    eventually(lambda: not _unfinished(again))
    (run,) = again.get("/v1/executions", trigger_instance=instance, parent="null")
    assert run["status"] == "succeeded"


def test_a_second_process_is_refused(serve: Callable[..., Served]) -> None:
    """Two processes cannot have one data folder; the second says who has it."""
    served = serve("engine_demo")
    with pytest.raises(
        AssertionError, match=f"is in use by another stormcell \\(process {served.process.pid}\\)"
    ):
        serve("engine_demo")
