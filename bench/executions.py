"""Executions of the main jobs, with the pack's default settings: what StackStorm pays a process and
a CPU second for.

Counted on stormcell, where the same events, rules and actions run; tests/stackstorm counts on
StackStorm itself. A count is the same on every machine, unless the machine is so slow that the pack
looks again at what is under way.
"""

from __future__ import annotations

import datetime as dt
import tempfile
import time
from pathlib import Path

from bench.harness import Figure, at_most, say
from sandbox.demo.application_act import ApplicationAct
from sandbox.demo.build_act import BuildAct
from sandbox.demo.database_act import DatabaseAct
from sandbox.demo.programs import missing
from sandbox.demo.waiting import waiting_stage
from sandbox.environment import Environment
from sandbox.tally import count, tally

STILL_SECONDS, TIMEOUT_SECONDS = 5.0, 300.0
IDLE_SECONDS = 60.0
DATABASE_GOAL, PUSH_GOAL = 8, 10


def measure() -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        environment = Environment(Path(folder), registry=True)
        with environment, environment.engine() as engine:
            stage = waiting_stage(environment, engine, timeout_seconds=TIMEOUT_SECONDS)
            database, application = DatabaseAct(stage), ApplicationAct(stage)
            application.manifest["spec"]["replicas"] = {"min": 3}
            works = [
                ("Database, apply to Ready, RDS at 3 s", DATABASE_GOAL, database.create),
                ("Database, resized", None, database.resize),
                ("Application, first image to Ready", None, application.create),
                ("Application, push to Complete, 3 pods", PUSH_GOAL, application.roll_out),
                ("Application, crashing image, rolled back", None, application.break_it),
            ]
            if not missing():
                build = BuildAct(stage, application)
                works += [
                    ("ImageBuild, commit to rollout", None, build.create),
                    ("ImageBuild, next commit to rollout", None, build.change),
                ]
            works.append(("Database, deleted with a snapshot", None, database.delete))
            figures = []
            for name, goal, work in works:
                found = count(
                    engine, work, still_seconds=STILL_SECONDS, timeout_seconds=TIMEOUT_SECONDS
                )
                figures.append(
                    Figure(name, found.count, "executions")
                    if goal is None
                    else at_most(name, found.count, "executions", goal)
                )
            since = dt.datetime.now(dt.UTC)
            time.sleep(IDLE_SECONDS)
            found = tally(engine, since)
            name = f"at rest for {IDLE_SECONDS:.0f} s"
            figures.append(at_most(name, found.count, "executions", 0))
            name = f"datastore events at rest for {IDLE_SECONDS:.0f} s"
            figures.append(at_most(name, found.datastore_events, "", 0))
            return figures


if __name__ == "__main__":
    say(measure)
