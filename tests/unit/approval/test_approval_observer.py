"""When somebody has to be asked, of the objects that the sensor sees: once for each reason."""

from __future__ import annotations

import copy
import datetime as dt
import logging
from dataclasses import replace
from typing import Any

import pytest
from kubestorm.core.times import format_time
from kubestorm.kinds.application.rollout.approval import approval_hash
from kubestorm.kinds.common.approval import GRANTED
from kubestorm.people.approval.observer import MAX_TRIES, RETRY_SECONDS, ApprovalObserver
from kubestorm.people.approval.proposal import deletion_hash
from kubestorm.people.approval.record import Record, fields

BEGINNING = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
RULE = {
    "namespaces": ["shop"],
    "what": ["rollout", "delete"],
    "expiry_minutes": 60,
    "reminder_minutes": 20,
}
CONFIG = {"cluster": "c", "approvals": {"rules": [RULE]}}
ROLLOUT: dict[str, Any] = {
    "metadata": {"name": "cart-1", "namespace": "shop", "uid": "u1"},
    "spec": {
        "applicationRef": {"name": "cart"},
        "image": {"digest": "sha256:1"},
        "requestedBy": "ada",
    },
    "status": {"phase": "AwaitingApproval"},
}
DATABASE: dict[str, Any] = {
    "metadata": {"name": "orders", "namespace": "shop", "uid": "u2"},
    "spec": {"engine": "postgres"},
    "status": {"conditions": [{"type": "Ready", "reason": "AwaitingApproval"}]},
}


class Sensor:
    """An observer with a clock that the test moves, and the reasons that it dispatched."""

    def __init__(self, config: dict[str, Any] | None = None) -> None:
        self.seconds = 100.0
        self.events: list[dict[str, Any]] = []
        self.observer = ApprovalObserver(
            config or CONFIG,
            self.dispatch,
            logging.getLogger("test"),
            clock=lambda: self.seconds,
            now=self.now,
        )

    def now(self) -> dt.datetime:
        return BEGINNING + dt.timedelta(seconds=self.seconds - 100)

    def dispatch(self, trigger: str, payload: dict[str, Any]) -> None:
        assert trigger == "kubestorm.approval_wanted"
        self.events.append(payload)

    def see(self, obj: dict[str, Any], plural: str = "rollouts", *, fresh: bool = True) -> None:
        self.observer.observe(plural, copy.deepcopy(obj), fresh)
        self.pass_time(0)

    def pass_time(self, seconds: float) -> None:
        """Move the clock, and tick whenever something is due."""
        end = self.seconds + seconds
        while (due := self.observer.due()) is not None and due <= end:
            self.seconds = max(self.seconds, due)
            self.observer.tick()
        self.seconds = end

    @property
    def reasons(self) -> list[str]:
        return [event["reason"] for event in self.events]

    def record(self, obj: dict[str, Any], what: str = "rollout") -> Record:
        """The record that a run leaves now."""
        content = approval_hash(obj, what) if what == "rollout" else deletion_hash(obj)
        return Record(
            what,
            content,
            "shown",
            asked_at=format_time(self.now()),
            expires_at=format_time(self.now() + dt.timedelta(minutes=60)),
        )


def with_record(obj: dict[str, Any], record: Record) -> dict[str, Any]:
    return {**obj, "status": {**obj["status"], **fields(record)}}


@pytest.fixture
def sensor() -> Sensor:
    return Sensor()


@pytest.mark.parametrize(
    "plural,obj,what", [("rollouts", ROLLOUT, "rollout"), ("databases", DATABASE, "delete")]
)
def test_an_object_that_waits_is_asked_about_once(
    sensor: Sensor, plural: str, obj: dict[str, Any], what: str
) -> None:
    """However often it is seen meanwhile, and not again once its question is written down."""
    for _ in range(22):
        sensor.see(obj, plural)
    assert sensor.events == [
        {
            "cluster": "c",
            "group": "kubestorm.io",
            "version": "v1alpha1",
            "plural": plural,
            "namespace": "shop",
            "name": obj["metadata"]["name"],
            "uid": obj["metadata"]["uid"],
            "reason": "asked",
        }
    ]
    for _ in range(3):
        sensor.see(with_record(obj, sensor.record(obj, what)), plural)
    assert sensor.reasons == ["asked"]


@pytest.mark.parametrize(
    "obj",
    [
        pytest.param({**ROLLOUT, "status": {"phase": "Progressing"}}, id="under way"),
        pytest.param({**ROLLOUT, "status": {}}, id="no status"),
        pytest.param(
            {**ROLLOUT, "metadata": {**ROLLOUT["metadata"], "namespace": "dev"}},
            id="nobody has to be asked there",
        ),
        pytest.param(
            with_record(
                ROLLOUT, Record("rollout", approval_hash(ROLLOUT, "rollout"), "s", state=GRANTED)
            ),
            id="answered",
        ),
    ],
)
def test_what_needs_no_word_wakes_nobody(sensor: Sensor, obj: dict[str, Any]) -> None:
    """No event, and nothing planned."""
    sensor.see(obj)
    sensor.see({**DATABASE, "status": {"conditions": []}}, "databases")
    assert (sensor.events, sensor.observer.due()) == ([], None)


def test_other_kinds_are_asked_about_where_they_ask_for_databases() -> None:
    """By the mapping of the configuration; the same name in another group is not ours."""
    kinds = [{"group": "prsn.io", "version": "v1", "plural": "mysqldbs"}]
    sensor = Sensor({**CONFIG, "database": {"kinds": kinds}})
    sensor.see({**ROLLOUT, "apiVersion": "argoproj.io/v1alpha1"})
    sensor.see({**DATABASE, "apiVersion": "v1"}, "pods")
    assert sensor.events == []
    sensor.see({**DATABASE, "apiVersion": "prsn.io/v1"}, "mysqldbs")
    (event,) = sensor.events
    assert (event["group"], event["version"], event["plural"]) == ("prsn.io", "v1", "mysqldbs")


def test_reminder_and_expiry_come_at_their_time(sensor: Sensor) -> None:
    """By the record, also after a restart that only lists the object."""
    record = sensor.record(ROLLOUT)
    sensor.see(with_record(ROLLOUT, record), fresh=False)
    sensor.pass_time(20 * 60 - 1)
    assert sensor.events == []
    sensor.pass_time(1)
    assert sensor.reasons == ["due"]
    reminded = replace(record, reminded_at=format_time(sensor.now()))
    sensor.see(with_record(ROLLOUT, reminded))
    sensor.pass_time(20 * 60)
    again = replace(record, reminded_at=format_time(sensor.now() + dt.timedelta(minutes=15)))
    sensor.see(with_record(ROLLOUT, again))
    sensor.pass_time(20 * 60)
    assert sensor.reasons == ["due", "due", "due"]
    assert sensor.now() == BEGINNING + dt.timedelta(minutes=60)
    sensor.see(with_record(ROLLOUT, replace(again, state="expired")))
    assert sensor.observer.due() is None


def test_another_content_is_another_question(sensor: Sensor) -> None:
    """The spec of a Rollout is another question; the variables of its Application, which the
    question shows, change it.
    """
    record = sensor.record(ROLLOUT)
    sensor.see({"metadata": {"name": "cart", "namespace": "shop"}, "spec": {}}, "applications")
    sensor.see(with_record(ROLLOUT, record))
    changed = {**ROLLOUT, "spec": {**ROLLOUT["spec"], "requestedBy": "linus"}}
    sensor.see(with_record(changed, record))
    assert sensor.reasons == ["asked"]
    sensor.see(with_record(changed, sensor.record(changed)))
    application = {"metadata": {"name": "cart", "namespace": "shop"}, "spec": {"env": {"A": "1"}}}
    sensor.see(application, "applications")
    sensor.see({**application, "spec": {"env": {"A": "1"}, "port": 1}}, "applications")
    assert sensor.reasons == ["asked", "changed"]


def test_without_its_record_it_is_asked_anew(sensor: Sensor) -> None:
    """Which operations may take away; a record of another content counts as none."""
    sensor.see(with_record(DATABASE, sensor.record(DATABASE, "delete")), "databases")
    assert sensor.events == []
    sensor.see(DATABASE, "databases")
    sensor.see(with_record(DATABASE, Record("delete", "other", "s")), "databases")
    assert sensor.reasons == ["asked"]


def test_a_run_that_left_nothing_is_repeated_a_few_times(sensor: Sensor) -> None:
    """Ever later, and not for ever: the object may be gone."""
    sensor.see(ROLLOUT)
    sensor.pass_time(RETRY_SECONDS)
    assert sensor.reasons == ["asked"] * 2
    sensor.pass_time(86400)
    assert (len(sensor.events), sensor.observer.due()) == (MAX_TRIES, None)


def test_what_cannot_be_dispatched_is_dispatched_later(sensor: Sensor) -> None:
    """A message bus that is away."""
    dispatch, broken = sensor.dispatch, RuntimeError("no bus")

    def refuse(trigger: str, payload: dict[str, Any]) -> None:
        raise broken

    sensor.observer._dispatch = refuse
    sensor.see(ROLLOUT)
    sensor.pass_time(600)
    sensor.observer._dispatch = dispatch
    sensor.pass_time(10)
    assert sensor.reasons == ["asked"]


def test_a_wrong_configuration_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The sensor goes on with its other work."""
    sensor = Sensor({"cluster": "c", "approvals": {"rules": [{"quorum": 0}]}})
    sensor.see(ROLLOUT)
    assert sensor.events == []
    assert "approvals.rules[0].quorum" in caplog.text
