"""How many executions the main jobs take, with the pack's default settings: on StackStorm each is a
process and a second.

The acceptance on a real StackStorm (tests/stackstorm) counts the same way.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.demo.application_act import ApplicationAct
from sandbox.demo.database_act import DatabaseAct
from sandbox.demo.stage import API_VERSION
from sandbox.demo.waiting import waiting_stage
from sandbox.environment import Environment
from sandbox.tally import Tally, count, tally, wait_until_quiet

STILL_SECONDS, TIMEOUT_SECONDS = 3.0, 120.0
IDLE_SECONDS = 20.0
"""Longer than any interval in which the pack looks again at what is under way."""
SETTINGS = {
    "approvals": {"rules": [{"namespaces": ["guarded"], "what": ["delete"]}]},
    # A push that soon follows another waits whether a third comes: one look more.
    "rollout": {"settle_seconds": 1},
}


class Counting:
    """A sandbox, stormcell, and the demo's acts on them."""

    def __init__(self, folder: Path) -> None:
        self.environment = Environment(folder, registry=True, settings=SETTINGS)

    def start(self) -> None:
        self.environment.start()
        self.begin = dt.datetime.now(dt.UTC)
        self.engine = self.environment.engine()
        self.engine.start()
        self.stage = waiting_stage(self.environment, self.engine)
        self.database, self.application = DatabaseAct(self.stage), ApplicationAct(self.stage)
        self.application.manifest["spec"]["replicas"] = {"min": 3}

    def stop(self) -> None:
        if hasattr(self, "engine"):
            self.engine.stop()
        self.environment.stop()

    def during(self, work: Callable[[], Any], *, goal: int | None = None) -> None:
        """Hold what some work leads to, all that comes after it included, to a number; none of it
        is red.
        """
        found = count(
            self.engine, work, still_seconds=STILL_SECONDS, timeout_seconds=TIMEOUT_SECONDS
        )
        assert goal is None or found.count <= goal, str(found)
        assert (found.red, found.failed_rules) == ((), ()), str(found)

    def at_rest(self) -> Tally:
        """What happens while nothing does."""
        wait_until_quiet(
            self.engine, self.begin, still_seconds=STILL_SECONDS, timeout_seconds=TIMEOUT_SECONDS
        )
        since = dt.datetime.now(dt.UTC)
        threading.Event().wait(IDLE_SECONDS)
        return tally(self.engine, since)


@pytest.fixture(scope="module")
def counting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Counting]:
    it = Counting(tmp_path_factory.mktemp("counting"))
    try:
        it.start()
        yield it
    finally:
        it.stop()


def test_a_database_takes_eight_executions(counting: Counting) -> None:
    """From apply to Ready, RDS at three seconds."""
    counting.during(counting.database.create, goal=8)


def test_a_push_takes_ten_executions(counting: Counting) -> None:
    """From the push to three new pods and a complete Rollout."""
    counting.during(counting.application.create)
    counting.during(counting.application.roll_out, goal=10)


def test_what_waits_takes_none(counting: Counting) -> None:
    """A Ready Database, a Ready Application, one whose push is held by a freeze, and a deletion
    that awaits a word; nor is anything written to the datastore.
    """
    api, environment, application = counting.engine, counting.environment, counting.application
    why = {"owner": "#platform", "reason": "the sale"}
    body = {
        "action": "kubestorm.application_freeze",
        "parameters": {"name": application.name, "namespace": application.namespace, **why},
    }

    def hold() -> None:
        counting.database.manifest["metadata"].update(
            name="doomed",
            namespace="guarded",
            annotations={"kubestorm.io/confirm-delete": "doomed"},
        )
        counting.database.manifest["spec"]["deletionPolicy"] = "Delete"
        counting.database.name, counting.database.namespace = "doomed", "guarded"
        counting.database.create()
        environment.delete(API_VERSION, "Database", "doomed", "guarded")
        api.client.post("/v1/executions", json=body).raise_for_status()
        counting.stage.screen.wait(
            "the question",
            lambda: counting.database.condition("Ready")["reason"] == "AwaitingApproval",
        )

    counting.during(hold)
    counting.during(lambda: environment.push_image(application.repository, "1.9.0"))
    found = counting.at_rest()
    assert found.executions == {}, str(found)
    assert found.datastore_events == 0
