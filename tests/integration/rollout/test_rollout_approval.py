"""Rollouts that wait for somebody's word: asked, answered, and what they make of it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from kubestorm.core.naming import identity_of
from kubestorm.people.approval.act import ask as ask_people
from kubestorm.people.approval.act import person_of, respond

PEOPLE = [
    {"name": "ada", "accounts": ["ada"], "roles": ["deployer"]},
    {"name": "grace", "accounts": ["grace"], "roles": ["approver"]},
]


@pytest.fixture
def asking(world: Any) -> Callable[..., Any]:
    """The world with a rule; asks about its newest Rollout as the rule approval_ask does."""

    def configure(*what: str) -> Callable[..., dict[str, Any]]:
        world.config["chat"] = {"people": PEOPLE}
        world.config["announcements"] = {"through": "off"}
        world.config["approvals"] = {
            "rules": [{"namespaces": [world.namespace], "what": list(what)}]
        }

        def ask(now: dt.datetime | None = None) -> dict[str, Any]:
            services = world.services(**({"now": lambda: now} if now else {}))
            return ask_people(services, identity_of("test", "rollouts", world.newest()), "run")

        return ask

    return configure


def say(world: Any, name: str, decision: str) -> dict[str, Any]:
    services = world.services()
    about = identity_of("test", "rollouts", world.newest())
    return respond(
        services, person=person_of(services, account=name), decision=decision, identity=about
    )


def waits(status: dict[str, Any]) -> bool:
    return status.get("phase") == "AwaitingApproval"


def test_nothing_runs_before_it_is_approved(world, asking):
    """The question is asked once the rollout waits; the answer lets it begin and reach its end."""
    ask = asking("rollout")
    world.apply(strategy={"type": "RollingUpdate"})
    world.push("1.0.0")
    assert world.run_application()["created"]
    world.drive(waits)
    assert world.pods() == {}
    assert ask()["state"] == "waiting"
    world.drive(waits)
    assert say(world, "ada", "approve")["counted"] is False
    assert say(world, "grace", "approve")["state"] == "granted"
    assert world.over()["phase"] == "Complete"


def test_a_refusal_ends_it(world, asking):
    """With the name of who refused."""
    ask = asking("rollout")
    world.apply(strategy={"type": "RollingUpdate"})
    world.push("1.0.0")
    assert world.run_application()["created"]
    world.drive(waits)
    ask()
    say(world, "grace", "refuse")
    status = world.over()
    assert (status["phase"], status["reason"]) == ("Aborted", "ApprovalRefused")
    assert "Refused by grace" in status["message"]


def test_nobody_in_time_ends_it(world, asking):
    """A look after its time says so, and the rollout hears it."""
    ask = asking("rollout")
    world.apply(strategy={"type": "RollingUpdate"})
    world.push("1.0.0")
    assert world.run_application()["created"]
    world.drive(waits)
    ask()
    assert ask(dt.datetime.now(dt.UTC) + dt.timedelta(days=2))["state"] == "expired"
    status = world.over()
    assert (status["phase"], status["reason"]) == ("Aborted", "ApprovalExpired")


def test_a_canary_is_promoted_when_that_is_approved(world, asking):
    """The second question is another one: the answer to the first does not count for it."""
    ask = asking("rollout", "promote")
    world.apply(strategy={"type": "Canary", "steps": [{"weight": 25}]})
    world.push("1.0.0")
    assert world.run_application()["created"]
    world.drive(waits)
    first = ask()["number"]
    say(world, "grace", "approve")
    world.over()
    world.push("1.1.0")
    assert world.run_application()["created"]
    world.drive(waits)
    ask()
    say(world, "grace", "approve")
    world.drive(lambda status: waits(status) and status.get("weight") == 25)
    second = ask()
    assert (second["state"], second["number"] != first) == ("waiting", True)
    world.drive(waits)
    say(world, "grace", "approve")
    assert world.over()["phase"] == "Complete"
