"""Conducting: CPU time and bytes a step of a workflow takes, by the number of its tasks.

The bar (design.md, section 8): 100 tasks cost at most 1.2 times 10 tasks per step, and a step, stored, 0.2 ms CPU. Here
is the conductor's part of it, with the encoding of what a step changes. Run: `python -m bench.conducting`.
"""

from __future__ import annotations

import os
import time
from typing import Any

import msgspec
from stormcell.conducting import StartTask, Step, TaskFinished
from stormcell.expressions.lookups import StaticLookups
from stormcell.orquesta import OrquestaConductor
from stormcell.statuses import ExecutionStatus

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "20"))
RATIO_BAR = 1.2


def _workflow(tasks: int) -> dict[str, Any]:
    """A chain in which every task reads a variable and publishes it anew."""
    spec: dict[str, Any] = {}
    for number in range(tasks):
        step: dict[str, Any] = {"when": "<% succeeded() %>", "publish": [{"x": "<% result().m %>"}]}
        if number + 1 < tasks:
            step["do"] = f"t{number + 1}"
        spec[f"t{number}"] = {"action": "core.noop", "input": {"m": "<% ctx(x) %>"}, "next": [step]}
    return {"version": 1.0, "vars": [{"x": "abc"}], "tasks": spec}


def _run(conductor: OrquestaConductor) -> tuple[int, int]:
    """Return the number of steps and of bytes written."""
    lookups = StaticLookups()
    state: dict[str, Any] = {}
    steps = written = 0
    step: Step = conductor.begin(inputs={}, context={"execution_id": "1"}, lookups=lookups)
    while True:
        steps += 1
        written += len(msgspec.json.encode(step.changes))
        for key, value in step.changes.items():
            if value is None:
                state.pop(key, None)
            else:
                state[key] = value
        started = [decision for decision in step.decisions if isinstance(decision, StartTask)]
        if not started:
            return steps, written
        event = TaskFinished(key=started[0].key, status=ExecutionStatus.SUCCEEDED, result={"m": "abc"})
        step = conductor.advance(state, event, lookups=lookups)


def _cost(tasks: int) -> tuple[float, float]:
    """Return microseconds and bytes per step."""
    conductor = OrquestaConductor(_workflow(tasks))
    _run(conductor)
    best = float("inf")
    steps, written = 1, 0
    for _ in range(ROUNDS):
        begin = time.process_time()
        for _ in range(max(1, 100 // tasks)):
            steps, written = _run(conductor)
        best = min(best, (time.process_time() - begin) / steps / max(1, 100 // tasks))
    return best * 1e6, written / steps


def measure() -> dict[str, float]:
    """Microseconds and bytes per step for 10 and 100 tasks, and the ratio of the times."""
    (few, few_bytes), (many, many_bytes) = _cost(10), _cost(100)
    return {
        "conducting: 10 tasks, microseconds a step": few,
        "conducting: 100 tasks, microseconds a step": many,
        "conducting: ratio of 100 tasks to 10": many / few,
        "conducting: 10 tasks, bytes written a step": few_bytes,
        "conducting: 100 tasks, bytes written a step": many_bytes,
    }


if __name__ == "__main__":
    for name, value in measure().items():
        print(f"{name:60} {value:12,.2f}")
    print(f"bar: a ratio of at most {RATIO_BAR}")
