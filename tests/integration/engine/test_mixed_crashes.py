"""A hundred chains and workflows within each other, the engine killed on the way: each ends as if
it had not been.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

from tests.integration.engine.serving import Served, eventually

SEED = 7  # of which workflows run, and of how far they are when the engine is killed
ROUNDS = 5
PER_ROUND = 20

# What one run consists of: action and how it ended, counted; from the definitions in the pack
# engine_trees.
LEAF = Counter({("core.echo", "succeeded"): 1, ("core.noop", "succeeded"): 1})
LINKS = LEAF + Counter(
    {
        ("engine_trees.leaf", "succeeded"): 1,
        ("core.local", "failed"): 1,
        ("core.echo", "succeeded"): 1,
    }
)
TANGLE = LINKS + Counter(
    {
        ("engine_trees.links", "succeeded"): 1,
        ("core.echo", "succeeded"): 3,
        ("core.noop", "succeeded"): 4,
    }
)


def _ask(served: Served, action: str, label: str) -> str:
    response = served.http.post(
        "/v1/executions", json={"action": action, "parameters": {"label": label}}
    )
    assert response.status_code == 201, response.text
    found: str = response.json()["id"]
    return found


def _count(served: Served, **query: str) -> int:
    response = served.http.get(
        "/v1/executions", params={"limit": 1, "include_attributes": "status", **query}
    )
    return int(response.headers["X-Total-Count"])


def _all(served: Served) -> list[dict[str, Any]]:
    fields = "status,action.ref,parent,result"
    found: list[dict[str, Any]] = served.get("/v1/executions", limit=-1, include_attributes=fields)
    return found


def _tree(executions: list[dict[str, Any]], root: str) -> Counter[tuple[str, str]]:
    """Everything below a run, by action and status."""
    below: dict[str | None, list[dict[str, Any]]] = {}
    for execution in executions:
        below.setdefault(execution.get("parent"), []).append(execution)
    found: Counter[tuple[str, str]] = Counter()
    ids = [root]
    while ids:
        for child in below.get(ids.pop(), []):
            found[child["action"]["ref"], child["status"]] += 1
            ids.append(child["id"])
    return found


def test_mixed_workflows_end_as_without_crashes(serve: Callable[..., Served]) -> None:
    """Every accepted run has, after several kills, the status, the result and the whole tree of an
    undisturbed one.
    """
    chance = random.Random(SEED)
    asked: dict[str, tuple[str, str]] = {}
    for round_number in range(ROUNDS):
        served = serve("engine_trees")
        before = _count(served, status="succeeded")
        for number in range(PER_ROUND):
            action, label = chance.choice(("tangle", "links")), f"run-{round_number}-{number}"
            asked[_ask(served, f"engine_trees.{action}", label)] = (action, label)
        target = before + chance.randrange(PER_ROUND * 4)
        eventually(
            lambda served=served, target=target: _count(served, status="succeeded") >= target
        )
        served.kill()
    served = serve("engine_trees")
    eventually(lambda: _count(served, parent="null", status="succeeded") == len(asked), seconds=120)

    executions = _all(served)
    ends = {one["id"]: one for one in executions if one["id"] in asked}
    assert len(ends) == len(asked) == ROUNDS * PER_ROUND
    for run_id, (action, label) in asked.items():
        end = ends[run_id]
        assert end["status"] == "succeeded", (label, end)
        if action == "tangle":
            said = [f"{label}-{number}" for number in (1, 2, 3)]
            assert end["result"] == {"output": {"said": said, "linked": label}}
        else:
            assert [task["state"] for task in end["result"]["tasks"]] == [
                "succeeded",
                "failed",
                "succeeded",
            ]
            assert end["result"]["published"] == {"linked": label}
            assert end["result"]["tasks"][2]["result"]["stdout"] == f"{label}!"
        assert _tree(executions, run_id) == (TANGLE if action == "tangle" else LINKS), label
