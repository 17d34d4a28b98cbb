"""From results of actions to answers: a sentence first, what helps below, nothing that only a
machine reads.
"""

from __future__ import annotations

from typing import Any

import pytest
from kubestorm.people.chat.commands import BY_NAME
from kubestorm.people.chat.formatting import Outcome, plain
from kubestorm.people.chat.replies import failed, told

PLACE = {"namespace": "shop", "name": "cart"}
ROLLOUTS = [
    {
        "tag": "1.4.2",
        "at": "2026-01-01T10:00:00Z",
        "outcome": "Failed",
        "requested_by": "ana",
        "why": "It crashed.",
    },
    {
        "tag": "1.4.1",
        "at": "2026-01-01T09:00:00Z",
        "outcome": "Complete",
        "cause": "push",
        "why": "All is well.",
    },
]
DATABASES = [
    {"namespace": "shop", "name": "orders", "engine": "postgres", "ready": "True"},
    {
        "namespace": "shop",
        "name": "stock",
        "engine": "mysql",
        "ready": "False",
        "reason": "Creating",
    },
]
STATUS = {
    **PLACE,
    "summary": "shop/cart runs 1.4.2, 2 of 2 pods available: all is as asked for.",
    "ready": "True",
    "tag": "1.4.2",
    "pods": 2,
    "available": 2,
    "rollout": None,
    "wanted": {"tag": "1.4.2"},
    "frozen": {"owner": "ana", "reason": "sale"},
}

TOLD = [
    ("database_list", [], {}, "There is no database."),
    (
        "database_list",
        DATABASES,
        {"namespace": "shop"},
        "2 databases in shop, 1 not ready.\n"
        "Name    Namespace  Engine    State\n"
        "orders  shop       postgres  ready\n"
        "stock   shop       mysql     Creating\n"
        "Ask `why shop/stock` for the reason.",
    ),
    (
        "application_status",
        STATUS,
        PLACE,
        "shop/cart runs 1.4.2, 2 of 2 pods available: all is as asked for.\n"
        "Version: 1.4.2\nPods: 2 of 2\nWanted: 1.4.2\nFrozen: by ana: sale",
    ),
    (
        "application_freezer",
        STATUS,
        PLACE,
        "ana froze shop/cart: sale\nSay `unfreeze shop/cart` when it is over.",
    ),
    ("application_freezer", {**STATUS, "frozen": None}, PLACE, "shop/cart is not frozen."),
    (
        "application_history",
        {"rollouts": ROLLOUTS},
        PLACE,
        "The last rollout of shop/cart: 1.4.2, Failed, asked by ana.\n"
        "When              Version  Outcome   Who   Why\n"
        "2026-01-01 10:00  1.4.2    Failed    ana   It crashed.\n"
        "2026-01-01 09:00  1.4.1    Complete  push\n"
        "Say `roll back shop/cart` to return.",
    ),
    ("application_history", {"rollouts": []}, PLACE, "shop/cart has had no rollout yet."),
    (
        "application_logs",
        {"pods": {"cart-1": "one\ntwo\n", "cart-2": "three"}},
        PLACE,
        "The last 3 lines of shop/cart:\ncart-1: one\ncart-1: two\ncart-2: three",
    ),
    ("application_logs", {"pods": {}}, PLACE, "shop/cart has written nothing."),
    (
        "image_build_logs",
        {"logs": {"cart": "STEP 1\nSTEP 2"}},
        PLACE,
        "The last 2 lines of shop/cart:\nSTEP 1\nSTEP 2",
    ),
    (
        "registry_tags",
        {"repository": "r.example.com/cart", "total": 2, "tags": ["1.4.2", "1.4.1"]},
        {},
        "r.example.com/cart has 2 tags.\n1.4.2\n1.4.1\nSay `deploy NAME TAG` to roll one out.",
    ),
    (
        "registry_tags",
        {"repository": "r.example.com/cart", "tags": []},
        {},
        "r.example.com/cart has no tags.",
    ),
    (
        "application_scale",
        {
            **PLACE,
            "message": "It asks for 5 pods.",
            "before": {"min": 2},
            "requested_by": "ana",
            "follow": "kubectl get",
        },
        PLACE,
        "It asks for 5 pods.",
    ),
    (
        "image_build_show",
        {
            "ready": "False",
            "build": {"number": 7, "phase": "Finished", "requestedBy": "ana"},
            "source": {"commit": "ab12cd34ef56ab78", "branch": "main"},
            "images": [{"name": "cart", "state": "Failed", "message": "No Dockerfile."}],
            "conditions": [{"type": "Ready", "status": "False", "message": "An image failed."}],
        },
        PLACE,
        "shop/cart: An image failed.\n"
        "Commit: ab12cd34ef56\nBranch: main\nPhase: Finished\nAsked by: ana\n"
        "Image  State   Why\ncart   Failed  No Dockerfile.",
    ),
]


@pytest.mark.parametrize(
    "name, result, values, text", TOLD, ids=[f"{item[0]} {n}" for n, item in enumerate(TOLD)]
)
def test_a_result_is_told_in_words(
    name: str, result: Any, values: dict[str, str], text: str
) -> None:
    """As a person in a chat reads it, from top to bottom."""
    assert plain(told(BY_NAME[name], result, values)) == text


FAILED = [
    (
        {"reason": "VaultUnavailable", "message": "Vault is sealed.", "retryable": True},
        "Try again in a moment.",
    ),
    (
        {"reason": "KubernetesConflict", "message": "Changed."},
        "Somebody changed it at the same moment. Look, and say it",
    ),
    (
        {"reason": "KubernetesRefused", "message": "Forbidden."},
        "Trying again does not help; whoever runs that service",
    ),
    (
        {"reason": "RegistryNotFound", "message": "No such image."},
        "See how it stands: `status shop/cart`.",
    ),
    (
        {"reason": "ConfigurationError", "message": "No."},
        "Say it with what would be right: `deploy NAME TAG|DIGEST",
    ),
    (
        {"reason": "Fault", "message": "It has a fault."},
        "Tell an operator, with the number of this run",
    ),
    (None, "Ask `why shop/cart` for more."),
]


@pytest.mark.parametrize(
    "result, step", FAILED, ids=[str((item[0] or {}).get("reason")) for item in FAILED]
)
def test_every_failure_has_a_next_step(result: Any, step: str) -> None:
    """The reason first, then what can be done now, by the kind of failure."""
    message = failed(BY_NAME["application_rollout"], result, PLACE)
    assert message.outcome is Outcome.FAILED
    assert message.next_step.startswith(step)
