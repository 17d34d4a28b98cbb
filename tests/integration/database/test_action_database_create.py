"""Asking for a Database from a chat or a terminal: a resource is written, or a sentence says why
not.
"""

from __future__ import annotations

import pytest


def test_a_database_is_asked_for_in_somebodys_name(world, act):
    """What is not given is left to operations; who asked is on the object and in an Event, and the
    journey goes on.
    """
    succeeded, result = act(
        "database_create",
        engine="postgres",
        size="small",
        spec={"backup": {"retentionDays": 3}},
        requested_by="alice",
    )
    assert succeeded, result
    assert result["changed"]
    found = world.get()
    assert found["spec"] == {"engine": "postgres", "size": "small", "backup": {"retentionDays": 3}}
    assert found["metadata"]["annotations"]["kubestorm.io/requested-by"] == "alice"
    assert [each["reason"] for each in world.events() if "alice" in each["message"]] == [
        "Requested"
    ]
    world.until_ready()


def test_asking_again_for_the_same_changes_nothing(world, act):
    """The action is safe to repeat."""
    act("database_create", engine="postgres", requested_by="alice")
    before = world.get()
    succeeded, result = act("database_create", engine="postgres", requested_by="bob")
    assert succeeded
    assert not result["changed"]
    assert world.get() == before


REFUSED = {
    "size": (
        {"engine": "postgres", "size": "gigantic"},
        "spec.size: 'gigantic' is not offered here",
    ),
    "engine": ({"engine": "oracle"}, "spec.engine: 'oracle' is not offered here"),
    "version": ({"engine": "postgres", "version": "9"}, "spec.version: '9' is not offered"),
    "storage": (
        {"engine": "postgres", "storage_gib": 5},
        "spec.storage.sizeGiB: 5 is not between 20",
    ),
    "policy": (
        {"engine": "postgres", "deletion_policy": "Keep"},
        "spec.deletionPolicy: 'Keep' is not offered",
    ),
    "name": ({"engine": "postgres", "name": "My_Orders"}, "'My_Orders' is not a valid name"),
    "namespace": (
        {"engine": "postgres", "namespace": "not-there"},
        "Namespace not-there does not exist",
    ),
}


@pytest.mark.parametrize("parameters, says", REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_is_refused_in_a_sentence(world, act, parameters, says):
    """And nothing is written."""
    succeeded, result = act("database_create", **parameters)
    assert not succeeded
    assert says in result["message"]
    assert world.get() is None


def test_another_database_of_that_name_is_left_as_it_is(world, act):
    """Creating is not a way around database_resize."""
    world.apply(size="small")
    succeeded, result = act("database_create", engine="postgres", size="huge")
    assert not succeeded
    assert "already exists" in result["message"]
    assert world.get()["spec"]["size"] == "small"
