"""From what was known and what is seen to what is dispatched."""

from __future__ import annotations

import copy
import datetime as dt
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubestorm.clients.kube import Resource
from kubestorm.sources.watching import change_detection
from kubestorm.sources.watching.change_detection import (
    REDACTED,
    Change,
    Detection,
    detect_changes,
    detect_deletion,
    is_settled,
    payload,
)
from kubestorm.sources.watching.fingerprint import LAST_APPLIED, PathTable
from kubestorm.sources.watching.wait_state import (
    FAILED,
    IN_PROGRESS,
    SETTLED,
    UNANSWERED,
    USER_ACTION,
    requeue_at,
    wait_state,
)

DATABASES = Resource("kubestorm.io", "v1alpha1", "databases")
SECRETS = Resource("", "v1", "secrets")


def changes_of(detection: Detection) -> list[str]:
    """The words of the changes alone."""
    return [change.change for change in detection.changes]


def database(uid: str = "11111111-1111-1111-1111-111111111111", **changes: Any) -> dict[str, Any]:
    return {
        "apiVersion": "kubestorm.io/v1alpha1",
        "kind": "Database",
        "metadata": {
            "name": "orders",
            "namespace": "shop",
            "uid": uid,
            "generation": 3,
            "labels": {"team": "shop"},
            "managedFields": [{"manager": "kubectl"}],
            **changes.pop("metadata", {}),
        },
        "spec": {"size": "small"},
        **changes,
    }


DELETING = {"deletionTimestamp": "2024-01-01T00:00:00Z"}
OTHER_UID = "22222222-2222-2222-2222-222222222222"


@pytest.mark.parametrize(
    "before,now,changes",
    [
        pytest.param(None, database(), ["created"], id="never seen"),
        pytest.param(
            None, database(metadata=DELETING), ["deleting"], id="never seen and being deleted"
        ),
        pytest.param(database(), database(), [], id="the same"),
        pytest.param(database(), database(status={"phase": "Ready"}), [], id="status alone"),
        pytest.param(database(), database(spec={"size": "huge"}), ["updated"], id="spec"),
        pytest.param(
            database(), database(metadata=DELETING), ["deleting"], id="deletion asked for"
        ),
        pytest.param(
            database(metadata=DELETING), database(metadata=DELETING), [], id="deletion already told"
        ),
        pytest.param(
            database(),
            database(metadata=DELETING, spec={"size": "huge"}),
            ["deleting"],
            id="changed and then deleted",
        ),
        pytest.param(
            database(metadata=DELETING),
            database(metadata=DELETING, spec={"size": "huge"}),
            ["updated"],
            id="changed while being deleted",
        ),
        pytest.param(
            database(), database(OTHER_UID), ["deleted", "created"], id="deleted and made again"
        ),
        pytest.param(
            database(),
            database(OTHER_UID, metadata=DELETING),
            ["deleted", "deleting"],
            id="made again and deleted",
        ),
    ],
)
def test_a_level_is_turned_into_changes(
    before: Any, now: dict[str, Any], changes: list[str]
) -> None:
    """What is dispatched depends on what was known and what is there, not on the event's type."""
    table = PathTable()
    record = None if before is None else detect_changes(before, None, table).record
    assert changes_of(detect_changes(now, record, table)) == changes


CREATING = {
    "phase": "Creating",
    "conditions": [{"type": "Ready", "status": "False", "reason": "Creating"}],
}
READY = {
    "phase": "Ready",
    "conditions": [{"type": "Ready", "status": "True", "reason": "Ready", "message": "a"}],
}
READY_AGAIN = {
    "phase": "Ready",
    "conditions": [{"type": "Ready", "status": "True", "reason": "Ready", "message": "b"}],
}


@pytest.mark.parametrize(
    "before,now,changes",
    [
        pytest.param(database(), database(status=CREATING), ["status"], id="first status"),
        pytest.param(
            database(status=CREATING), database(status=READY), ["status"], id="another condition"
        ),
        pytest.param(
            database(status=READY), database(status=READY_AGAIN), [], id="another message"
        ),
        pytest.param(database(status=READY), database(status=READY), [], id="the same"),
        pytest.param(
            database(status=CREATING),
            database(status=READY, spec={"size": "huge"}),
            ["updated"],
            id="spec as well",
        ),
        pytest.param(
            database(status=READY),
            database(status=READY, spec={"size": "huge"}),
            ["updated"],
            id="spec alone",
        ),
    ],
)
def test_outcomes_are_changes_for_who_asks_for_them(
    before: Any, now: dict[str, Any], changes: list[str]
) -> None:
    """A new phase, or a condition's status or reason, is told; texts and times are not."""
    table = PathTable()
    record = detect_changes(before, None, table, status=True).record
    assert changes_of(detect_changes(now, record, table, status=True)) == changes


def test_an_outcome_names_what_changed() -> None:
    """By the paths that a rule's criterion would use."""
    table = PathTable()
    record = detect_changes(database(status=CREATING), None, table, status=True).record
    told = detect_changes(database(status=READY), record, table, status=True).changes[0]
    assert told.changed_fields == ("status.conditions.Ready", "status.phase")


def test_an_object_that_went_is_told_once() -> None:
    """Known: deleted. Unknown, or an older object of that name: nothing."""
    record = detect_changes(database(), None, PathTable()).record
    assert changes_of(detect_deletion(record)) == ["deleted"]
    assert detect_deletion(record).record is None
    assert changes_of(detect_deletion(None)) == []
    older = detect_deletion(record, OTHER_UID)
    assert (older.changes, older.record) == ((), record)


@given(st.lists(st.sampled_from(["small", "huge"]), min_size=1, max_size=10))
def test_every_state_that_differs_from_the_last_is_told(sizes: list[str]) -> None:
    """Reading the same states twice in a row tells as much as reading each once."""
    table = PathTable()
    told: list[str] = []
    record = None
    for size in [size for size in sizes for _ in range(2)]:
        detection = detect_changes(database(spec={"size": size}), record, table)
        told += changes_of(detection)
        record = detection.record
    turns = sum(one != other for one, other in zip(sizes, sizes[1:]))
    assert told == ["created"] + ["updated"] * turns


def ready(status: str, **more: Any) -> dict[str, Any]:
    return {"conditions": [{"type": "Ready", "status": status}], **more}


@pytest.mark.parametrize(
    "obj,settled",
    [
        pytest.param(database(), False, id="no status yet"),
        pytest.param(database(status=ready("True")), True, id="Ready"),
        pytest.param(
            database(status=ready("True", observedGeneration=3)),
            True,
            id="Ready for this generation",
        ),
        pytest.param(
            database(status=ready("True", observedGeneration=2)),
            False,
            id="Ready for an older generation",
        ),
        pytest.param(database(status=ready("False")), False, id="not Ready"),
        pytest.param(database(status=ready("Unknown")), False, id="unknown"),
        pytest.param(
            database(status={"conditions": [{"type": "Synced", "status": "True"}]}),
            False,
            id="no Ready",
        ),
        pytest.param(
            database(status=ready("True"), metadata=DELETING), False, id="Ready and being deleted"
        ),
        pytest.param(
            database(
                status={
                    "conditions": [{"type": "Ready", "status": "True", "observedGeneration": 1}]
                }
            ),
            False,
            id="the condition itself is of an older generation",
        ),
        pytest.param(database(status="odd"), False, id="a status that is no map"),
        pytest.param(
            database(status=ready("False", finishedAt="2026-01-01T00:00:00Z")),
            True,
            id="ended badly",
        ),
        pytest.param(
            database(status=ready("True", requeueAt="2026-01-01T00:00:00Z")),
            False,
            id="Ready, and asks for a look",
        ),
        pytest.param(
            database(status={"finishedAt": "2026-01-01T00:00:00Z", "observedGeneration": 1}),
            False,
            id="ended for an older generation",
        ),
    ],
)
def test_settled_means_ready_for_what_is_asked_now(obj: dict[str, Any], settled: bool) -> None:
    """Only an object that is Ready, observed and not going away needs no further look."""
    assert is_settled(obj) is settled


def at(reason: str, status: str = "False", **more: Any) -> dict[str, Any]:
    return {"conditions": [{"type": "Ready", "status": status, "reason": reason}], **more}


@pytest.mark.parametrize(
    "obj, kind",
    [
        pytest.param(database(), UNANSWERED, id="nobody has looked at it"),
        pytest.param(database(status=at("Reconciling")), UNANSWERED, id="between two steps"),
        pytest.param(database(status=at("Ready", "True")), SETTLED, id="Ready"),
        pytest.param(
            database(status=at("Ready", "True", observedGeneration=2)),
            UNANSWERED,
            id="edited since",
        ),
        pytest.param(
            database(status=at("Ready", "True", observedGeneration=0)),
            SETTLED,
            id="a kind whose generation counts our own writes",
        ),
        pytest.param(database(status=at("Creating")), IN_PROGRESS, id="RDS is at it"),
        pytest.param(database(status=at("RollingOut")), IN_PROGRESS, id="pods are replaced"),
        pytest.param(database(status=at("VaultUnavailable")), FAILED, id="a step failed"),
        pytest.param(
            database(status=at("AwaitingApproval")), USER_ACTION, id="somebody has to approve"
        ),
        pytest.param(database(status=at("Frozen")), USER_ACTION, id="frozen"),
        pytest.param(
            database(
                status={
                    "conditions": [
                        {"type": "SpecValid", "status": "False", "reason": "StorageShrinkRefused"},
                        {"type": "Ready", "status": "False", "reason": "StorageShrinkRefused"},
                    ]
                }
            ),
            USER_ACTION,
            id="asks for what cannot be",
        ),
        pytest.param(
            database(status=at("Ready", "True", requestedSnapshot={"state": "Creating"})),
            IN_PROGRESS,
            id="a snapshot is made of one that is Ready",
        ),
        pytest.param(
            database(status=at("Ready", "True", requestedSnapshot={"state": "Available"})),
            SETTLED,
            id="its snapshot is there",
        ),
        pytest.param(
            database(status=at("Ready", "True"), metadata=DELETING),
            UNANSWERED,
            id="its deletion has just been asked for",
        ),
        pytest.param(
            database(status=at("Snapshotting"), metadata=DELETING), IN_PROGRESS, id="being deleted"
        ),
        pytest.param(
            database(status=at("InvalidSpec"), metadata=DELETING),
            FAILED,
            id="being deleted, and its spec was invalid before",
        ),
        pytest.param(
            database(status=at("Deleting", observedGeneration=2), metadata=DELETING),
            UNANSWERED,
            id="nobody has answered its deletion",
        ),
        pytest.param(
            database(status=at("ConfirmationMissing"), metadata=DELETING),
            USER_ACTION,
            id="a deletion that waits for its second key",
        ),
    ],
)
def test_an_object_says_what_it_waits_for(obj: dict[str, Any], kind: str) -> None:
    """By its conditions: who wakes it, or when it is looked at."""
    assert wait_state(obj).kind == kind


@pytest.mark.parametrize(
    "before, after, outcome_changed, changes",
    [
        pytest.param(at("Creating"), at("Creating"), False, [], id="nothing new"),
        pytest.param(at("Creating"), at("Ready", "True"), True, [], id="another outcome"),
        pytest.param(
            at("Creating", lastRunId="1"), at("Creating", lastRunId="2"), False, [], id="a new run"
        ),
    ],
)
def test_a_new_outcome_is_noted_and_is_no_event(
    before: Any, after: Any, outcome_changed: bool, changes: list[str]
) -> None:
    """For kinds of ours, whose news and approvals are decided by the sensor."""
    table = PathTable()
    record = detect_changes(database(status=before), None, table, outcome_counts=True).record
    detection = detect_changes(database(status=after), record, table, outcome_counts=True)
    assert (detection.outcome_changed, changes_of(detection)) == (outcome_changed, changes)


@pytest.mark.parametrize(
    "before, after, changes",
    [
        pytest.param({"abort": {"by": "x"}}, {}, [], id="acted upon"),
        pytest.param({"abort": {}, "promote": {"by": "x"}}, {"promote": {"by": "x"}}, [], id="one"),
        pytest.param({"freeze": {"by": "x"}}, {}, ["updated"], id="a person took it away"),
        pytest.param({}, {"abort": {"by": "x"}}, ["updated"], id="asked for"),
        pytest.param(
            {"promote": {"by": "x", "stage": 1}},
            {"promote": {"by": "x", "stage": 2}},
            ["updated"],
            id="asked again",
        ),
        pytest.param(
            {"abort": {"by": "x"}}, {"freeze": {"by": "y"}}, ["updated"], id="and asked for another"
        ),
    ],
)
@pytest.mark.parametrize("status", [False, True], ids=["", "with outcomes"])
def test_what_people_ask_is_a_change_until_it_was_acted_upon(
    before: Any, after: Any, status: bool, changes: list[str]
) -> None:
    """Otherwise each command would lead to a second run."""
    table = PathTable()
    first, then = (database(status={"requests": each}) for each in (before, after))
    record = detect_changes(first, None, table, status=status, outcome_counts=True).record
    detection = detect_changes(then, record, table, status=status, outcome_counts=True)
    assert changes_of(detection) == changes


def test_an_answer_to_a_question_is_a_change() -> None:
    """In whatever field; of kinds that are not ours, no status is."""
    table = PathTable()
    waiting, granted = (
        database(status={"approval": {"state": state}}) for state in ("waiting", "granted")
    )
    for ours, changes in ((True, ["updated"]), (False, [])):
        record = detect_changes(waiting, None, table, outcome_counts=ours).record
        assert changes_of(detect_changes(granted, record, table, outcome_counts=ours)) == changes


@pytest.mark.parametrize(
    "before, after, changes",
    [
        pytest.param({"kubestorm.io/recreate": "x"}, {}, [], id="acted upon"),
        pytest.param(
            {"kubestorm.io/recreate": "x", "note": "1"}, {"note": "1"}, [], id="with others"
        ),
        pytest.param({"note": "x"}, {}, ["updated"], id="a person took it away"),
        pytest.param({}, {"kubestorm.io/recreate": "x"}, ["updated"], id="asked for"),
        pytest.param(
            {"kubestorm.io/recreate": "x"}, {"note": "2"}, ["updated"], id="acted upon and changed"
        ),
    ],
)
def test_an_annotation_that_was_acted_upon_is_no_change(
    before: dict[str, str], after: dict[str, str], changes: list[str]
) -> None:
    """The same for what whoever may write the spec asks."""
    table = PathTable()
    record = detect_changes(
        database(metadata={"annotations": before}), None, table, outcome_counts=True
    ).record
    detection = detect_changes(
        database(metadata={"annotations": after}), record, table, outcome_counts=True
    )
    assert changes_of(detection) == changes


@pytest.mark.parametrize(
    "said, moment",
    [
        pytest.param(
            "2026-01-01T00:00:00Z", dt.datetime(2026, 1, 1, tzinfo=dt.timezone.utc), id="seconds"
        ),
        pytest.param(
            "2026-01-01T00:00:00.250Z",
            dt.datetime(2026, 1, 1, 0, 0, 0, 250000, dt.timezone.utc),
            id="milliseconds",
        ),
        pytest.param(
            "2026-01-01T01:00:00+01:00",
            dt.datetime(2026, 1, 1, tzinfo=dt.timezone.utc),
            id="another zone",
        ),
        pytest.param("soon", None, id="no time"),
        pytest.param(5, None, id="a number"),
        pytest.param(None, None, id="nothing"),
    ],
)
def test_an_object_may_say_when_it_is_to_be_looked_at(
    said: Any, moment: dt.datetime | None
) -> None:
    """In `status.requeueAt`; what is no time is as good as nothing."""
    assert requeue_at(database(status={"requeueAt": said})) == moment


def test_an_object_written_before_the_field_was_renamed_is_still_served() -> None:
    """`nextLookAt` counts while nothing has written `requeueAt`; it is not settled meanwhile."""
    before, after = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
    old = database(status=ready("True", nextLookAt=before))
    assert requeue_at(old) == dt.datetime(2026, 1, 1, tzinfo=dt.timezone.utc)
    assert not is_settled(old)
    both = database(status=ready("True", nextLookAt=before, requeueAt=after))
    assert requeue_at(both) == dt.datetime(2026, 1, 2, tzinfo=dt.timezone.utc)


def shape(change: Change, obj: Any, **more: Any) -> dict[str, Any]:
    settings = {
        "cluster": "dev",
        "resource": DATABASES,
        "kind": "Database",
        "sensitive": False,
        **more,
    }
    return payload(change, obj, key="shop/orders", **settings)


def test_the_payload_names_the_object_and_carries_it_without_managed_fields() -> None:
    """Every field of the trigger's payload, from one object."""
    obj = database(metadata={"annotations": {"note": "x"}})
    expected = copy.deepcopy(obj)
    del expected["metadata"]["managedFields"]
    assert shape(Change("updated", ("spec.size",)), obj) == {
        "change": "updated",
        "reason": "",
        "deleting": False,
        "cluster": "dev",
        "group": "kubestorm.io",
        "version": "v1alpha1",
        "plural": "databases",
        "kind": "Database",
        "namespace": "shop",
        "name": "orders",
        "uid": "11111111-1111-1111-1111-111111111111",
        "generation": 3,
        "labels": {"team": "shop"},
        "annotations": {"note": "x"},
        "changed_fields": ["spec.size"],
        "object": expected,
    }


def test_of_an_object_that_went_unseen_the_payload_has_identity_and_labels() -> None:
    """A rule that matches on labels hears of a deletion during downtime as well."""
    record = detect_changes(database(), None, PathTable()).record
    said = shape(detect_deletion(record).changes[0], None)
    assert (said["change"], said["uid"], said["labels"]) == (
        "deleted",
        "11111111-1111-1111-1111-111111111111",
        {"team": "shop"},
    )
    assert said["object"] == {
        "apiVersion": "kubestorm.io/v1alpha1",
        "kind": "Database",
        "metadata": {
            "name": "orders",
            "namespace": "shop",
            "uid": "11111111-1111-1111-1111-111111111111",
            "labels": {"team": "shop"},
        },
    }


def test_the_values_of_a_secret_neither_travel_nor_are_kept() -> None:
    """Payload and record hold the keys alone; a change is still noticed, by the resourceVersion."""
    word = "hunter2"
    secret = {
        "metadata": {
            "name": "login",
            "namespace": "shop",
            "uid": "u",
            "resourceVersion": "1",
            "annotations": {
                LAST_APPLIED: json.dumps({"stringData": {"password": word}}),
                "note": "x",
            },
        },
        "data": {"password": word},
        "stringData": {"password": word},
        "type": "Opaque",
    }
    table = PathTable()
    assert change_detection.is_sensitive(SECRETS)
    first = detect_changes(secret, None, table, sensitive=True)
    same_value = detect_changes(
        {**secret, "data": {"password": "other"}}, first.record, table, sensitive=True
    )
    assert same_value.record == first.record
    written = {**secret, "metadata": {**secret["metadata"], "resourceVersion": "2"}}  # type: ignore[dict-item]
    assert detect_changes(written, first.record, table, sensitive=True).changes[
        0
    ].changed_fields == ("data",)
    said = shape(Change("created"), secret, resource=SECRETS, kind="Secret", sensitive=True)
    assert word not in json.dumps(said)
    assert said["object"]["data"] == {"password": REDACTED}
    assert said["annotations"] == {"note": "x"}


@pytest.mark.parametrize(
    "value",
    [None, [], "x", {}, {"metadata": None}, {"metadata": {}}, {"metadata": {"name": 3}}],
    ids=repr,
)
def test_what_has_no_name_is_no_object(value: Any) -> None:
    """Such things are skipped, not judged."""
    assert not change_detection.is_object(value)
