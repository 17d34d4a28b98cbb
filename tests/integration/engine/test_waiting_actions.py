"""Actions that start others through the API and wait for their results."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.engine.serving import PACKS, Served, eventually

WORKERS = 2


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    found = Served(tmp_path / "data", PACKS / "nested", options=("--workers", str(WORKERS)))
    try:
        yield found
    finally:
        found.stop()


def test_actions_that_wait_take_no_place_of_what_they_wait_for(served: Served) -> None:
    """More of them than there are workers all get their answers."""
    ids = [
        served.http.post("/v1/executions", json={"action": "nested.asks"}).json()["id"]
        for _ in range(2 * WORKERS)
    ]

    def ended() -> list[dict[str, object]]:
        found = [served.http.get(f"/v1/executions/{id_}").json() for id_ in ids]
        return found if all("end_timestamp" in each for each in found) else []

    found = eventually(ended, seconds=300)
    assert [each["result"]["result"] for each in found] == ["an answer"] * len(ids)
    (asked, *_) = served.http.get("/v1/executions?action=nested.answers").json()
    assert asked["context"]["started_by"] in ids


def test_nobody_says_of_himself_that_he_is_waited_for(served: Served) -> None:
    """Who starts an execution with a key cannot set it."""
    body = {"action": "core.noop", "context": {"started_by": "0" * 24}}
    execution = served.http.post("/v1/executions", json=body).json()
    assert "started_by" not in execution["context"]
