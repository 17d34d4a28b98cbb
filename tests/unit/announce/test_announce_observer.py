"""What the sensor dispatches of the status changes that it sees."""

from __future__ import annotations

import datetime as dt
import logging
from typing import Any

import pytest
from kubestorm.core.errors import TemporaryError
from kubestorm.people.notifications.observer import COLLECT_SECONDS, RETRY_SECONDS, NewsObserver

BEGINNING = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
CHANNEL = {"announcements": {"channel": "#team", "through": "slack"}}


class Sensor:
    """An observer with a clock that the test moves, and what it dispatched."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.seconds = 100.0
        self.events: list[dict[str, Any]] = []
        self.namespaces: dict[str, Any] = {}
        self.reads = 0
        self.failing: Exception | None = None
        self.observer = NewsObserver(
            config,
            self.read,
            self.dispatch,
            logging.getLogger("test"),
            clock=lambda: self.seconds,
            now=self.now,
        )

    def now(self) -> dt.datetime:
        return BEGINNING + dt.timedelta(seconds=self.seconds - 100)

    def read(self, name: str) -> Any:
        self.reads += 1
        if self.failing is not None:
            raise self.failing
        return self.namespaces.get(name)

    def dispatch(self, trigger: str, payload: dict[str, Any]) -> None:
        assert trigger == "kubestorm.news"
        self.events.append(payload)

    def see(self, name: str, reason: str = "", *, fresh: bool = True, **more: Any) -> None:
        """A Database that is Ready, or has a reason not to be."""
        self.observer.observe("databases", self.database(name, reason, **more), fresh)

    def database(self, name: str, reason: str, since: float = 0.0, **metadata: Any) -> Any:
        stamp = (self.now() - dt.timedelta(seconds=since)).strftime("%Y-%m-%dT%H:%M:%SZ")
        status = "False" if reason else "True"
        conditions = [
            {
                "type": kind,
                "status": status,
                "reason": reason or "Ready",
                "message": "",
                "lastTransitionTime": stamp,
            }
            for kind in ("InstanceAvailable", "Ready")
        ]
        return {
            "metadata": {"name": name, "namespace": "shop", "uid": f"u-{name}", **metadata},
            "spec": {"engine": "postgres"},
            "status": {"conditions": conditions},
        }

    def pass_time(self, seconds: float) -> None:
        """Move the clock, and tick whenever something is due."""
        end = self.seconds + seconds
        while (due := self.observer.due()) is not None and due <= end:
            self.seconds = max(self.seconds, due)
            self.observer.tick()
        self.seconds = end

    def texts(self) -> list[str]:
        return [message["text"] for event in self.events for message in event["messages"]]


@pytest.fixture
def sensor() -> Sensor:
    return Sensor(CHANNEL)


def test_what_comes_together_is_one_event(sensor: Sensor) -> None:
    """Two Databases that become ready within a second are two messages of one event."""
    sensor.see("orders")
    sensor.see("carts")
    assert sensor.events == []
    sensor.pass_time(COLLECT_SECONDS)
    assert len(sensor.events) == 1
    assert sensor.texts() == ["Database shop/orders is ready.", "Database shop/carts is ready."]
    assert sensor.observer.due() is None


def test_nothing_is_dispatched_where_nobody_listens() -> None:
    """Off, without any channel, for a kind that is not told, or where a namespace wants silence."""
    for section in (
        {"through": "off", "channel": "#team"},
        {"by_namespace": False},
        {"channel": "#team", "tell": ["rollouts"]},
        {"channels": [{"namespaces": ["other"], "channel": "#other"}]},
    ):
        sensor = Sensor({"announcements": section})
        sensor.see("orders")
        sensor.pass_time(600)
        assert (sensor.events, sensor.observer.due()) == ([], None), section
    silent = Sensor(CHANNEL)
    silent.namespaces["shop"] = {"metadata": {"annotations": {"kubestorm.io/channel": "none"}}}
    silent.see("orders")
    silent.pass_time(600)
    assert silent.events == []


def test_a_namespace_names_its_channel_and_is_read_once_a_minute(sensor: Sensor) -> None:
    """Not for each change."""
    sensor.namespaces["shop"] = {"metadata": {"labels": {"kubestorm.io/channel": "shop"}}}
    for name in "ab":
        sensor.see(name)
        sensor.pass_time(5)
    assert {message["channel"] for event in sensor.events for message in event["messages"]} == {
        "shop"
    }
    assert sensor.reads == 1
    sensor.pass_time(60)
    sensor.see("c")
    sensor.pass_time(60)
    assert sensor.reads == 2


def test_a_burst_is_three_messages_and_a_summary(sensor: Sensor) -> None:
    """Fifty Databases that become ready at once are two events."""
    for number in range(50):
        sensor.see(f"db{number:02d}")
    sensor.pass_time(120)
    assert [len(event["messages"]) for event in sensor.events] == [3, 1]
    assert sensor.texts()[3].startswith("47 databases ready in shop: db03, ")


def test_for_a_bot_each_message_is_an_event() -> None:
    """The announcement runner takes one."""
    sensor = Sensor({"announcements": {"channel": "#team", "through": "chatops"}})
    sensor.see("orders")
    sensor.see("carts")
    sensor.pass_time(5)
    assert [event["text"].splitlines()[0] for event in sensor.events] == [
        "✔ Database shop/orders is ready.",
        "✔ Database shop/carts is ready.",
    ]


def test_trouble_that_passes_is_not_told(sensor: Sensor) -> None:
    """A Vault that is away for a minute; one that stays away is told of after two."""
    sensor.see("orders")
    sensor.pass_time(5)
    sensor.see("orders", "VaultUnavailable")
    sensor.pass_time(60)
    sensor.see("orders")
    sensor.pass_time(600)
    assert len(sensor.texts()) == 1
    sensor.see("orders", "VaultUnavailable")
    sensor.pass_time(119)
    assert len(sensor.texts()) == 1
    sensor.pass_time(2)
    assert sensor.texts()[1].startswith("Database shop/orders is in trouble")


def test_trouble_lasts_through_a_retry(sensor: Sensor) -> None:
    """A step that tries again meanwhile (under way is not news) does not make it wait anew."""
    sensor.see("orders", "VaultUnavailable")
    sensor.pass_time(60)
    sensor.see("orders", "Reconciling", since=60)
    sensor.see("orders", "VaultUnavailable", since=60)
    sensor.pass_time(61)
    assert len(sensor.texts()) == 1


def test_the_same_state_again_is_told_once(sensor: Sensor) -> None:
    """Also when the sensor has begun anew and only lists the object; another state is told."""
    sensor.see("orders", fresh=False)
    sensor.see("orders", "Reconciling")
    sensor.see("orders")
    sensor.pass_time(60)
    assert sensor.events == []
    sensor.see("orders", "AWSRDSRefused")
    sensor.pass_time(5)
    sensor.see("orders")
    sensor.pass_time(5)
    assert len(sensor.texts()) == 2


def test_what_is_held_back_and_no_longer_so_is_not_told() -> None:
    """The latest state counts."""
    sensor = Sensor({"announcements": {"channel": "#team", "burst": 0}})
    sensor.see("orders", "AWSRDSRefused")
    sensor.pass_time(10)
    sensor.see("orders")
    sensor.pass_time(60)
    assert sensor.texts() == ["Database shop/orders is ready."]


def test_old_news_is_not_told(sensor: Sensor) -> None:
    """A new installation finds hundreds of Databases that have long been ready."""
    sensor.see("orders", since=3600)
    sensor.pass_time(60)
    assert sensor.events == []


def test_what_cannot_be_dispatched_is_dispatched_later(sensor: Sensor) -> None:
    """A message bus, or a Kubernetes API, that does not answer for a while."""
    sensor.failing = TemporaryError("Kubernetes does not answer.", service="Kubernetes")
    sensor.see("orders")
    sensor.pass_time(5)
    assert sensor.events == []
    sensor.failing = None
    dispatch, broken = sensor.dispatch, RuntimeError("no bus")

    def refuse(trigger: str, payload: dict[str, Any]) -> None:
        raise broken

    sensor.observer._dispatch = refuse
    sensor.pass_time(30)
    sensor.observer._dispatch = dispatch
    sensor.pass_time(RETRY_SECONDS)
    assert sensor.texts() == ["Database shop/orders is ready."]


def test_another_groups_kind_is_not_ours(sensor: Sensor) -> None:
    """Rules of an operator's own make the sensor watch it."""
    other = {**sensor.database("orders", ""), "apiVersion": "example.com/v1"}
    sensor.observer.observe("databases", other, True)
    sensor.pass_time(60)
    assert sensor.events == []


def test_a_wrong_configuration_is_logged_and_tells_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The sensor goes on with its other work."""
    sensor = Sensor({"announcements": {"burst": "many"}})
    sensor.see("orders")
    sensor.pass_time(60)
    assert sensor.events == []
    assert "announcements.burst" in caplog.text
