"""A Database begins with its own namespace's data, or with what operations allow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import pytest
from kubestorm.clients.rds import ObservedSnapshot, RdsClient
from kubestorm.core.naming import Identity
from kubestorm.core.settings import load_settings
from kubestorm.kinds.database.observe import source_tags
from kubestorm.kinds.database.plan import refuse_restore, restore_source
from kubestorm.kinds.database.status import Reason

from tests.unit.instances import make_instance

IDENTITY = Identity("test", "kubestorm.io", "v1alpha1", "databases", "team-a", "orders", "uid")
OURS = {"kubestorm.io/cluster": "test", "kubestorm.io/namespace": "team-a"}
THEIRS = {**OURS, "kubestorm.io/namespace": "team-b"}
SNAPSHOT = {"snapshot": "s-1"}
POINT = {"pointInTime": {"sourceInstance": "i-1"}}


class Account:
    """An account with one snapshot and one instance of these tags; None has neither."""

    def __init__(self, tags: Mapping[str, str] | None) -> None:
        self.tags, self.asked = tags, list[str]()

    def describe_snapshot(self, identifier: str) -> ObservedSnapshot | None:
        self.asked.append(identifier)
        return None if self.tags is None else ObservedSnapshot(identifier, "available", self.tags)

    def describe(self, identifier: str) -> Any:
        self.asked.append(identifier)
        return None if self.tags is None else make_instance(identifier=identifier, tags=self.tags)


def refusal(account, spec, identity, allowed):
    """As the instance step finds it."""
    source = restore_source(spec)
    if source is None or source.is_allowed(allowed):
        return None
    return refuse_restore(source, source_tags(cast(RdsClient, account), source), identity)


CASES: Mapping[str, tuple[Mapping[str, str] | None, bool]] = {
    "of this namespace": (OURS, True),
    "of another namespace": (THEIRS, False),
    "of that namespace in another cluster": ({**OURS, "kubestorm.io/cluster": "prod"}, False),
    "of no namespace": ({"kubestorm.io/cluster": "test"}, False),
    "without tags": ({}, False),
    "not there": (None, False),
}


@pytest.mark.parametrize("source", [SNAPSHOT, POINT], ids=["snapshot", "point in time"])
@pytest.mark.parametrize("tags, may", CASES.values(), ids=CASES.keys())
def test_whose_it_is_is_told_by_its_tags(parsed, source, tags, may):
    """Nothing but both tags together makes it the namespace's own; a refusal names the field."""
    account = Account(tags)
    found = refusal(account, parsed(restoreFrom=source), IDENTITY, ())
    assert len(account.asked) == 1
    assert (found is None) is may
    if found is not None:
        field = "snapshot" if "snapshot" in source else "pointInTime.sourceInstance"
        assert found.message.startswith(f"spec.restoreFrom.{field}: ")
        assert (found.reason, found.change) == (Reason.RESTORE_REFUSED, True)


def test_a_refusal_does_not_tell_what_is_there(parsed):
    """Another's snapshot and none at all are told in the same words."""
    spec = parsed(restoreFrom=SNAPSHOT)
    told = {refusal(Account(tags), spec, IDENTITY, ()) for tags in (THEIRS, {}, None)}
    assert len(told) == 1


@pytest.mark.parametrize(
    "patterns, may",
    [(["s-*"], True), (["S-1"], True), (["other", "*"], True), (["s-"], False), ([], False)],
    ids=["pattern", "another case", "all", "a part", "none"],
)
def test_operations_allow_more_by_name(parsed, patterns, may):
    """By shell patterns of identifiers, and RDS's names are the same in any case."""
    found = refusal(Account(THEIRS), parsed(restoreFrom=SNAPSHOT), IDENTITY, patterns)
    assert (found is None) is may


def test_an_empty_beginning_asks_nothing(parsed):
    """RDS is asked only where something is to be restored."""
    account = Account(THEIRS)
    assert refusal(account, parsed(), IDENTITY, ()) is None
    assert account.asked == []


def test_nothing_more_is_allowed_by_default():
    """Not by an entry that says nothing of it either."""
    limits = [{"namespaces": ["dev-*"]}, {"namespaces": ["qa"], "restore_from": ["seed-*"]}]
    settings = load_settings({"cluster": "test", "database": {"limits": limits}})
    assert [each.restore_from for each in settings.database.limits] == [(), ("seed-*",)]
