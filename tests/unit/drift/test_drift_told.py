"""What is told to people and rules, and what is remembered of it."""

from __future__ import annotations

import dataclasses

import pytest
from kubestorm.core.errors import DefinitionError
from kubestorm.kinds.database.drift.poller import remaining
from kubestorm.kinds.database.drift.report import (
    as_result,
    digests,
    key_of,
    payload,
    sentence,
    summary,
)
from kubestorm.kinds.database.drift.settings import DriftSettings
from kubestorm.kinds.database.drift.values import CONSUL, RDS, VAULT, ObservedState

from tests.unit.drift.conftest import PLACE, PUBLISHED, judge, make_desired, make_state

WRONG_HOST = make_state(published={PLACE: {**PUBLISHED, "host": "elsewhere"}})
LOST = make_state(instances=(), published={}, secrets={})


def finding(state, databases=None):
    (found,) = judge([make_desired()] if databases is None else databases, state).findings
    return found


def test_the_payload_names_the_object_and_the_difference():
    """Identity for a rule, the difference for a person."""
    told = payload(finding(WRONG_HOST), "test")
    assert (told["cluster"], told["kind"], told["namespace"], told["name"]) == (
        "test",
        "Database",
        *PLACE,
    )
    assert (told["group"], told["version"], told["plural"]) == (
        "kubestorm.io",
        "v1alpha1",
        "databases",
    )
    assert (told["repairable"], told["orphan"]) == (True, False)
    assert told["differences"] == [
        {
            "service": CONSUL,
            "field": "host",
            "wished": "orders.example.com",
            "found": "elsewhere",
            "what": "different",
            "repairable": True,
        }
    ]


@pytest.mark.parametrize(
    "found, words",
    [
        (
            finding(WRONG_HOST),
            [
                "Consul has host elsewhere instead of orders.example.com",
                "database_reconcile repairs",
            ],
        ),
        (finding(make_state(instances=())), ["AWS RDS has no instance", "spec.restoreFrom"]),
        (finding(make_state(), []), ["No Database for", "not changed"]),
    ],
    ids=["repairable", "lost instance", "orphan"],
)
def test_a_finding_in_words(found, words):
    """It says what differs and what follows."""
    assert [word for word in words if word not in sentence(found)] == []


def test_the_result_says_what_is_unknown():
    """A service that cannot be asked is a line of its own, and the rest is judged."""
    state = dataclasses.replace(WRONG_HOST, secrets=None, unknown={VAULT: "Vault is sealed."})
    result = as_result(judge([make_desired()], state))
    assert [row["field"] for row in result["drift"]] == ["host"]
    assert result["unknown"] == [{"service": VAULT, "message": "Vault is sealed."}]
    assert "Unknown" in result["message"]


def test_a_summary_of_nothing():
    """Nothing wrong is said as plainly."""
    assert (
        summary(judge([make_desired()], make_state()))
        == "1 Database checked, none with drift, no orphans."
    )


def test_a_digest_follows_the_drift_alone():
    """The same for the same drift, another for another value, one for each service."""
    again = digests(finding(WRONG_HOST))
    assert digests(finding(WRONG_HOST)) == again
    elsewhere = make_state(published={PLACE: {**PUBLISHED, "host": "third"}})
    assert digests(finding(elsewhere)) != again
    assert set(digests(finding(LOST))) == {RDS, VAULT, CONSUL}


TOLD = {"default/orders": {CONSUL: "1", VAULT: "2"}, "orphan:default/old": {VAULT: "3"}}
MEMORY_CASES = {
    "all is well again": (judge([make_desired()], make_state()), {}),
    "Consul cannot be asked": (
        judge([make_desired()], make_state(published=None, unknown={CONSUL: "away"})),
        {"default/orders": {CONSUL: "1"}},
    ),
    "the Database is under way": (
        judge([make_desired(under_way="it changes")], make_state()),
        {"default/orders": TOLD["default/orders"]},
    ),
    "RDS cannot be asked": (
        judge([make_desired()], make_state(instances=None, unknown={RDS: "away"})),
        {"orphan:default/old": {VAULT: "3"}},
    ),
    "nothing can be asked": (
        judge(
            [make_desired()],
            ObservedState(
                None, frozenset(), None, None, dict.fromkeys((RDS, VAULT, CONSUL), "away")
            ),
        ),
        TOLD,
    ),
}


@pytest.mark.parametrize("report, expected", MEMORY_CASES.values(), ids=MEMORY_CASES.keys())
def test_what_was_not_looked_at_stays_remembered(report, expected):
    """The rest is forgotten, so that it is told again when it comes back."""
    assert remaining(TOLD, report) == expected


def test_a_database_and_what_an_older_one_left_are_remembered_apart():
    """They have one place."""
    assert key_of(finding(WRONG_HOST)) != key_of(finding(make_state(), []))


@pytest.mark.parametrize(
    "section, word",
    [
        ({"interval": 5}, "drift.interval"),
        ({"interval_seconds": -1}, "interval_seconds"),
        ({"interval_seconds": True}, "interval_seconds"),
    ],
    ids=["unknown key", "negative", "no number"],
)
def test_settings_that_cannot_be(section, word):
    """They are refused by name."""
    with pytest.raises(DefinitionError, match=word):
        DriftSettings.from_config({"drift": section})


def test_settings_have_a_default():
    """A quarter of an hour."""
    assert DriftSettings.from_config({}).interval_seconds == 900
