"""Long work: when it is over, what is told, and when to look again."""

from __future__ import annotations

from typing import Any

import pytest
from kubestorm.chat.following import Follow, judge_late, judge_object, judge_rollout, next_look
from kubestorm.chat.formatting import Outcome

DATABASE = Follow("databases", "shop", "orders", generation=2)
CART = Follow("applications", "shop", "cart", rollout="cart-ab12-1")


def resource(status: str, reason: str, *, observed: int = 2, message: str = "Said so.") -> dict[str, Any]:
    ready = {"type": "Ready", "status": status, "reason": reason, "message": message, "observedGeneration": observed}
    return {
        "metadata": {"generation": 2},
        "status": {"observedGeneration": observed, "conditions": [ready], "endpoint": {"host": "db.example.com"}},
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
    ids=["ready", "for an older spec", "creating", "unknown", "service away", "refused", "invalid", "new", "gone"],
)
def test_an_object_is_over_when_it_is_ready_or_a_person_has_to_act(found: Any, outcome: Outcome | None) -> None:
    """What is on its way, or waits for a service, is looked at again."""
    message = judge_object(DATABASE, found, "database")
    assert (message.outcome if message else None) == outcome


@pytest.mark.parametrize(
    "phase, outcome, sentence",
    [
        ("Complete", Outcome.GOOD, "shop/cart runs 1.4.2."),
        ("Failed", Outcome.FAILED, "The rollout of 1.4.2 to shop/cart failed: The image cannot be pulled."),
        ("Aborted", Outcome.WARNING, "The rollout of 1.4.2 to shop/cart was aborted."),
        ("Superseded", Outcome.WARNING, "The rollout of 1.4.2 to shop/cart was overtaken by a newer one."),
        ("Progressing", None, ""),
        ("AwaitingApproval", None, ""),
        ("", None, ""),
    ],
)
def test_a_rollout_is_over_in_a_terminal_phase(phase: str, outcome: Outcome | None, sentence: str) -> None:
    """Each end has its sentence; the phases before have none."""
    rollout = {
        "metadata": {"name": "cart-ab12-1"},
        "spec": {"image": {"tag": "1.4.2", "digest": "sha256:ab12"}, "requestedBy": "ana"},
        "status": {"phase": phase, "message": "The image cannot be pulled."},
    }
    message = judge_rollout(CART, rollout)
    assert (message.outcome if message else None) == outcome
    assert (message.sentence if message else "") == sentence


def test_a_rollout_that_is_not_there_yet_is_waited_for() -> None:
    """The run that makes it may not have come to it."""
    assert judge_rollout(CART, None) is None


def test_looks_become_rarer_and_end() -> None:
    """The first after `look_seconds`, six times that at most; later the thread is told where to look."""
    follow, delays = CART, []
    while judge_late(follow, 300) is None:
        follow = next_look(follow, 2)
        delays.append(follow.delay_seconds)
    assert delays[:4] == [2, 3, 4.5, 6.8]
    assert max(delays) == 12
    assert follow.waited_seconds == pytest.approx(sum(delays), abs=1)
    late = judge_late(follow, 300)
    assert late is not None
    assert late.sentence == "shop/cart is still under way after 5 minutes."
