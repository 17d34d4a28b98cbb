"""What of an object is worth telling."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from kubestorm.people.notifications.notifications import (
    BAD,
    GOOD,
    INFO,
    MAX_SENTENCE,
    WARNING,
    news_of,
)

DIGEST = "sha256:" + "ab" * 32


def rollout(phase: str, **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "cart-abab-1", "namespace": "shop", "uid": "u1"},
        "spec": {
            "applicationRef": {"name": "cart"},
            "image": {"repository": "team/cart", "tag": "1.4.2", "digest": DIGEST},
            "requestedBy": "ada",
            "strategy": {"type": "Canary"},
        },
        "status": {"phase": phase, **status},
    }


def condition(kind: str, status: str, reason: str, message: str = "") -> dict[str, Any]:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": "2026-01-01T10:00:00Z",
    }


def database(*conditions: dict[str, Any], generation: int = 2, **metadata: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "name": "orders",
            "namespace": "shop",
            "uid": "u2",
            "generation": generation,
            **metadata,
        },
        "spec": {"engine": "postgres", "size": "small"},
        "status": {"conditions": list(conditions)},
    }


@pytest.mark.parametrize(
    "phase,status,tone,sentence",
    [
        pytest.param(
            "Progressing", {}, INFO, "Rollout of cart 1.4.2 in shop started.", id="started"
        ),
        pytest.param(
            "Paused",
            {"step": 2},
            WARNING,
            "Rollout of cart 1.4.2 in shop is waiting to be promoted or aborted.",
            id="paused",
        ),
        pytest.param(
            "Complete", {}, GOOD, "Rollout of cart 1.4.2 in shop is complete.", id="complete"
        ),
        pytest.param(
            "Failed",
            {"reason": "CrashLoopBackOff", "message": "pod cart-1 exits with 3"},
            BAD,
            "Rollout of cart 1.4.2 in shop failed: pod cart-1 exits with 3.",
            id="failed with its reason",
        ),
        pytest.param(
            "Aborted", {}, WARNING, "Rollout of cart 1.4.2 in shop was aborted.", id="aborted"
        ),
    ],
)
def test_a_rollout_tells_how_it_goes(
    phase: str, status: dict[str, Any], tone: str, sentence: str
) -> None:
    """Each phase that a team waits for is a sentence."""
    news = news_of("rollouts", rollout(phase, **status))
    assert news is not None
    assert (news.tone, news.sentence, news.name) == (tone, sentence, "cart")
    assert ("requested by", "ada") in news.facts


@pytest.mark.parametrize(
    "phase", ["", "Pending", "AwaitingApproval", "Testing", "Promoting", "Returning", "Superseded"]
)
def test_phases_on_the_way_tell_nothing(phase: str) -> None:
    """Nobody waits for them, and approval has its own message."""
    assert news_of("rollouts", rollout(phase)) is None


UNREACHABLE = condition("CredentialsStored", "False", "VaultUnavailable", "Vault does not answer.")


@pytest.mark.parametrize(
    "obj,tone,sentence",
    [
        pytest.param(
            database(condition("Ready", "True", "Ready")),
            GOOD,
            "Database shop/orders is ready.",
            id="ready",
        ),
        pytest.param(
            database(
                condition("Ready", "False", "AWSRDSRefused"),
                condition("InstanceAvailable", "False", "AWSRDSRefused", "RDS refuses the class."),
            ),
            BAD,
            "Database shop/orders is in trouble: RDS refuses the class.",
            id="refused",
        ),
        pytest.param(
            database(condition("Ready", "False", "VaultUnavailable"), UNREACHABLE),
            BAD,
            "Database shop/orders is in trouble: Vault does not answer.",
            id="a service is away",
        ),
        pytest.param(
            database(
                condition("Ready", "False", "ConfirmationMissing"),
                condition(
                    "InstanceAvailable",
                    "False",
                    "ConfirmationMissing",
                    "Confirm with an annotation.",
                ),
                deletionTimestamp="2026-01-01T10:00:00Z",
            ),
            BAD,
            "Database shop/orders is in trouble: Confirm with an annotation.",
            id="a deletion that waits for a person",
        ),
    ],
)
def test_a_database_tells_when_it_is_ready_or_in_trouble(
    obj: dict[str, Any], tone: str, sentence: str
) -> None:
    """The sentence names it and why."""
    news = news_of("databases", obj)
    assert news is not None
    assert (news.tone, news.sentence) == (tone, sentence)
    assert news.since == dt.datetime(2026, 1, 1, 10, tzinfo=dt.timezone.utc)


@pytest.mark.parametrize(
    "obj",
    [
        pytest.param(database(), id="nothing known"),
        pytest.param({"metadata": {"name": "orders", "namespace": "shop"}}, id="no status"),
        pytest.param(database(condition("Ready", "False", "Reconciling")), id="reconciling"),
        pytest.param(
            database(
                condition("Ready", "False", "Creating"),
                condition("InstanceAvailable", "False", "Creating"),
            ),
            id="being made",
        ),
        pytest.param(
            database(
                condition("Ready", "False", "WaitingForInstance"),
                condition("Published", "False", "WaitingForInstance"),
            ),
            id="waiting",
        ),
        pytest.param(
            database({**condition("Ready", "True", "Ready"), "observedGeneration": 1}),
            id="ready for an older wish",
        ),
        pytest.param(
            database(condition("Ready", "True", "Ready"), deletionTimestamp="2026-01-01T10:00:00Z"),
            id="being deleted",
        ),
    ],
)
def test_what_is_under_way_is_no_news(obj: dict[str, Any]) -> None:
    """A team is told of ends, not of steps."""
    assert news_of("databases", obj) is None


def test_only_trouble_that_passes_is_waited_with() -> None:
    """A service out of reach may come back; a refusal will not."""
    away = news_of(
        "databases", database(condition("Ready", "False", "VaultUnavailable"), UNREACHABLE)
    )
    refused = news_of(
        "databases",
        database(
            condition("Ready", "False", "X"),
            condition("SpecValid", "False", "ConfigurationError", "No size."),
        ),
    )
    assert away is not None
    assert refused is not None
    assert (away.passing, refused.passing) == (True, False)


def test_a_change_that_was_carried_out_is_news_again() -> None:
    """The generation is part of what was told: resized and ready again is told, the same ready
    twice is not.
    """
    first = news_of("databases", database(condition("Ready", "True", "Ready"), generation=2))
    again = news_of("databases", database(condition("Ready", "True", "Ready"), generation=3))
    assert first is not None
    assert again is not None
    assert (first.subject, first.state) != (again.subject, again.state)
    assert first.subject == again.subject


def test_other_kinds_tell_nothing() -> None:
    """Rules of the operator's own may pass anything."""
    assert news_of("widgets", database(condition("Ready", "True", "Ready"))) is None


def test_a_reason_of_any_length_is_one_short_sentence() -> None:
    """Chat is no place for a log."""
    news = news_of("rollouts", rollout("Failed", message="line\nafter line " * 500))
    assert news is not None
    assert len(news.sentence) <= MAX_SENTENCE
    assert "\n" not in news.sentence
