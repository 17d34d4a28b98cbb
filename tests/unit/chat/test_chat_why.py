"""Why: conditions, Events and the newest Rollout, in one sentence and a few findings."""

from __future__ import annotations

from typing import Any

import pytest
from kubestorm.people.chat.replies import TELLERS
from kubestorm.people.chat.why import explain


def cart(
    *conditions: tuple[str, str, str, str], observed: int = 1, **metadata: Any
) -> dict[str, Any]:
    return {
        "kind": "Application",
        "metadata": {"namespace": "shop", "name": "cart", "generation": 1, **metadata},
        "status": {
            "observedGeneration": observed,
            "conditions": [
                {"type": kind, "status": status, "reason": reason, "message": message}
                for kind, status, reason, message in conditions
            ],
        },
    }


READY = ("Ready", "True", "Ready", "All is well.")
PULL = ("RolledOut", "False", "ImagePullError", "The image cannot be pulled.")
NOT_READY = ("Ready", "False", "ImagePullError", "The image cannot be pulled.")


@pytest.mark.parametrize(
    "resource, sentence, well",
    [
        (cart(READY), "Application shop/cart is ready; nothing is wrong with it.", True),
        (
            cart(PULL, NOT_READY),
            "Application shop/cart is not ready (ImagePullError): The image cannot be pulled.",
            False,
        ),
        (
            cart(READY, observed=0),
            "Application shop/cart was changed, and no run has answered for that yet.",
            False,
        ),
        (cart(), "Application shop/cart was changed, and no run has answered for that yet.", False),
        (
            cart(
                READY, deletionTimestamp="2026-01-01T00:00:00Z", finalizers=["kubestorm.io/cleanup"]
            ),
            (
                "Application shop/cart is being deleted since 2026-01-01T00:00:00Z, held by "
                "kubestorm.io/cleanup."
            ),
            False,
        ),
    ],
    ids=["well", "not ready", "behind", "new", "deleting"],
)
def test_the_sentence_says_how_it_stands(
    resource: dict[str, Any], sentence: str, well: bool
) -> None:
    """Well, not ready and why, not looked at yet, or on its way out."""
    told = explain("applications", resource)
    assert (told["message"], told["well"]) == (sentence, well)


def test_findings_are_what_is_not_true_then_rollout_and_events() -> None:
    """The conditions that are not True, the Rollout under way, the last warnings."""
    events = [
        {"type": "Warning", "reason": "Failed", "message": "Back-off pulling image", "count": 7},
        {"type": "Normal", "reason": "Scheduled", "message": "Assigned"},
    ]
    rollout = {
        "metadata": {"name": "cart-ab12-1"},
        "spec": {"image": {"tag": "1.4.2"}},
        "status": {"phase": "Failed", "message": "Two pods never came up."},
    }
    told = explain("applications", cart(PULL, NOT_READY), events, rollout)
    assert told["findings"] == [
        {"title": "RolledOut", "text": "ImagePullError: The image cannot be pulled."},
        {"title": "Rollout cart-ab12-1", "text": "1.4.2: Failed: Two pods never came up."},
        {"title": "Failed", "text": "Back-off pulling image (7 times)"},
    ]
    message = TELLERS["why"](told, {})
    assert message.fields[0] == ("RolledOut", "ImagePullError: The image cannot be pulled.")


def test_a_freeze_is_told_also_of_what_is_well() -> None:
    """Nothing is rolled out meanwhile, which is why people ask."""
    frozen = cart(READY)
    frozen["status"]["requests"] = {"freeze": {"owner": "ana", "reason": "sale"}}
    told = explain("applications", frozen)
    assert (
        told["message"]
        == "Application shop/cart is ready; nothing new is rolled out, because it is frozen."
    )
    assert told["findings"][0] == {"title": "Frozen", "text": "by ana: sale"}
