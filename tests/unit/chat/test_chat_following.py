"""Long work: when it is over, what is told, and when to look again."""

from __future__ import annotations

from typing import Any

import pytest
from kubestorm.people.chat.commands import BY_NAME
from kubestorm.people.chat.formatting import Outcome
from kubestorm.people.chat.progress import (
    Follow,
    follow_of,
    judge_application,
    judge_build,
    judge_delivery,
    judge_late,
    judge_object,
    next_check,
)

DATABASE = Follow("databases", "shop", "orders", generation=2)
CART = Follow("applications", "shop", "cart", rollout="cart-ab12-1")


def resource(
    status: str, reason: str, *, observed: int = 2, message: str = "Said so."
) -> dict[str, Any]:
    ready = {
        "type": "Ready",
        "status": status,
        "reason": reason,
        "message": message,
        "observedGeneration": observed,
    }
    return {
        "metadata": {"generation": 2},
        "status": {
            "observedGeneration": observed,
            "conditions": [ready],
            "endpoint": {"host": "db.example.com"},
        },
    }


@pytest.mark.parametrize(
    "found, outcome",
    [
        (resource("True", "Ready"), Outcome.GOOD),
        (resource("True", "Ready", observed=1), None),
        (resource("False", "Creating"), None),
        (resource("Unknown", "Reconciling"), None),
        (resource("False", "AWSRDSUnavailable"), None),
        (resource("False", "AWSRDSRefused"), Outcome.FAILED),
        (resource("False", "SpecInvalid"), Outcome.FAILED),
        ({"metadata": {"generation": 2}}, None),
        (None, Outcome.WARNING),
    ],
    ids=[
        "ready",
        "for an older spec",
        "creating",
        "unknown",
        "service away",
        "refused",
        "invalid",
        "new",
        "gone",
    ],
)
def test_an_object_is_over_when_it_is_ready_or_a_person_has_to_act(
    found: Any, outcome: Outcome | None
) -> None:
    """What is on its way, or waits for a service, is looked at again."""
    message = judge_object(DATABASE, found, "database")
    assert (message.outcome if message else None) == outcome


def rollout(
    phase: str, reason: str = "", name: str = "cart-ab12-1", **image: str
) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"image": {"tag": "1.4.2", "digest": "sha256:ab12", **image}, "requestedBy": "ana"},
        "status": {"phase": phase, "reason": reason, "message": "The image cannot be pulled."},
    }


def application(digest: str = "sha256:0000", ready: str = "True") -> dict[str, Any]:
    return {
        "status": {
            "image": {"digest": digest, "tag": "1.4.2"},
            "conditions": [{"type": "Ready", "status": ready}],
        }
    }


@pytest.mark.parametrize(
    "phase, reason, outcome, sentence",
    [
        ("Complete", "", Outcome.GOOD, "shop/cart runs 1.4.2."),
        (
            "Failed",
            "",
            Outcome.FAILED,
            "The rollout of 1.4.2 to shop/cart failed: The image cannot be pulled.",
        ),
        (
            "Aborted",
            "",
            Outcome.WARNING,
            "The rollout of 1.4.2 to shop/cart was aborted: The image cannot be pulled.",
        ),
        (
            "Superseded",
            "",
            Outcome.WARNING,
            "The rollout of 1.4.2 to shop/cart was overtaken by a newer one.",
        ),
        (
            "AwaitingApproval",
            "AwaitingApproval",
            Outcome.WARNING,
            "The rollout of 1.4.2 to shop/cart waits: The image",
        ),
        (
            "Paused",
            "AwaitingPromotion",
            Outcome.WARNING,
            "The rollout of 1.4.2 to shop/cart waits: The image",
        ),
        (
            "Pending",
            "Frozen",
            Outcome.WARNING,
            "The rollout of 1.4.2 to shop/cart waits: The image",
        ),
        ("Paused", "Paused", None, ""),
        ("Progressing", "", None, ""),
        ("", "", None, ""),
    ],
)
def test_a_rollout_is_over_at_its_end_or_where_a_person_is_needed(
    phase: str, reason: str, outcome: Outcome | None, sentence: str
) -> None:
    """Each end has its sentence; a pause that ends by itself is waited for."""
    message = judge_application(CART, application(), [rollout(phase, reason)])
    assert (message.outcome if message else None) == outcome
    assert (message.sentence if message else "").startswith(sentence)


ASKED = Follow("applications", "shop", "cart", digest="sha256:ab12", known=("cart-ab12-1",))


@pytest.mark.parametrize(
    "rollouts, digest, sentence",
    [
        ([], "sha256:0000", None),
        ([rollout("Complete")], "sha256:0000", None),
        (
            [rollout("Failed"), rollout("Complete", name="cart-ab12-2")],
            "sha256:0000",
            "shop/cart runs 1.4.2.",
        ),
        ([rollout("Complete", name="cart-cd34-2", digest="sha256:cd34")], "sha256:0000", None),
        ([rollout("Complete")], "sha256:ab12", "shop/cart runs 1.4.2; there was nothing to do."),
    ],
    ids=["none yet", "one from before", "a new one", "of another digest", "it runs already"],
)
def test_the_awaited_rollout_is_a_new_one_of_the_digest(
    rollouts: list[dict[str, Any]], digest: str, sentence: str | None
) -> None:
    """What was there before the request is not its outcome; what runs already needs none."""
    message = judge_application(ASKED, application(digest), rollouts)
    assert (message.sentence if message else None) == sentence


def test_an_application_that_is_gone_is_told() -> None:
    """Nobody waits for ever."""
    message = judge_application(ASKED, None, [])
    assert message is not None
    assert message.sentence == "Application shop/cart is gone."


@pytest.mark.parametrize(
    "request_id, phase, ready, sentence",
    [
        ("r1", "Finished", "True", "Build 7 of shop/cart is done."),
        ("r1", "Finished", "False", "Build 7 of shop/cart failed: No Dockerfile."),
        ("r1", "Running", "False", None),
        ("r0", "Finished", "True", None),
    ],
    ids=["done", "failed", "running", "an older request"],
)
def test_a_build_is_over_when_its_own_request_is_answered(
    request_id: str, phase: str, ready: str, sentence: str | None
) -> None:
    """The build before it says nothing of this one."""
    build = {
        "status": {
            "build": {"number": 7, "phase": phase, "requestId": request_id},
            "conditions": [{"type": "Ready", "status": ready, "message": "No Dockerfile."}],
            "images": [{"name": "cart", "state": "Built", "tag": "main-ab12"}],
        }
    }
    message = judge_build(Follow("imagebuilds", "shop", "cart", request="r1"), build)
    assert (message.sentence if message else None) == sentence


def delivery(run: str, outcome: str, **stages: str) -> dict[str, Any]:
    listed = [
        {"name": name, "outcome": text, "message": f"About {name}."}
        for name, text in stages.items()
    ]
    return {"status": {"pipeline": {"runId": run, "outcome": outcome, "stages": listed}}}


@pytest.mark.parametrize(
    "found, outcome, sentence",
    [
        (
            delivery("r1", "succeeded", build="succeeded"),
            Outcome.GOOD,
            "The delivery of shop/site is done.",
        ),
        (
            delivery("r1", "failed", build="succeeded", rollout="failed"),
            Outcome.FAILED,
            "The delivery of shop/site failed at rollout: About rollout.",
        ),
        (delivery("r1", "waiting", build="waiting"), None, ""),
        (delivery("r0", "succeeded", build="succeeded"), None, ""),
        ({"status": {}}, None, ""),
        (None, Outcome.WARNING, "ImageBuild shop/site is gone."),
    ],
    ids=["done", "failed", "under way", "an older run", "not begun", "gone"],
)
def test_a_delivery_is_over_when_its_own_run_is(
    found: Any, outcome: Outcome | None, sentence: str
) -> None:
    """The thread hears of the stage that failed, and why."""
    given = {"namespace": "shop", "name": "site"}
    follow = follow_of(BY_NAME["delivery_start"], given, {**given, "run_id": "r1"})
    assert follow is not None
    message = judge_delivery(follow, found)
    assert (message.outcome if message else None) == outcome
    assert (message.sentence if message else "") == sentence


def test_a_follow_travels_as_plain_values() -> None:
    """Between looks it is a mapping of JSON's own kinds."""
    assert Follow.from_dict({**ASKED.as_dict(), "of a later version": 1}) == ASKED


def test_looks_become_rarer_and_end() -> None:
    """The first after `check_seconds`, each later pause twice as long, up to 24 times that; in the
    end the thread is told where to look.
    """
    follow, delays = CART, []
    while judge_late(follow, 300) is None:
        follow = next_check(follow, 2)
        delays.append(follow.delay_seconds)
    assert delays == [2, 4, 8, 16, 32, 48, 48, 48, 48, 48]
    assert follow.waited_seconds == pytest.approx(sum(delays), abs=1)
    late = judge_late(follow, 300)
    assert late is not None
    assert late.sentence == "shop/cart is still under way after 5 minutes."
