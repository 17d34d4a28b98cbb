"""What wakes an object of ours: RDS, its own word, an answer that came; and what does not."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest
from kubestorm.clients import rds
from kubestorm.clients.kube import connect
from kubestorm.clients.lease import LeaseLock
from kubestorm.core.naming import Identity, owner_tags
from kubestorm.core.secrets import Secret
from kubestorm.core.settings import AwsSettings
from kubestorm.kinds.database.plan_changes import create_parameters
from kubestorm.sources.watching.settings import WatchSettings
from kubestorm.sources.watching.watch_manager import WatchManager

from sandbox.aws.server import AwsServer
from sandbox.clock import ManualClock
from tests.integration.database.test_database_fields import parse
from tests.integration.watching.conftest import Recorder, Widgets, trigger, watch_settings
from tests.kube_fixtures import eventually

READY = {"type": "Ready", "status": "True", "reason": "Ready"}
CREATING = {"type": "Ready", "status": "False", "reason": "Creating"}
LONG_AGO = "2020-01-01T00:00:00Z"


@pytest.fixture
def clock() -> ManualClock:
    """AWS's time."""
    return ManualClock()


@pytest.fixture
def aws(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[AwsServer]:
    """RDS that is done as soon as its clock is moved."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with AwsServer(clock=clock, provision_seconds=10) as server:
        yield server


@pytest.fixture
def rds_client(aws: AwsServer) -> rds.RdsClient:
    """The pack's own client of it."""
    return rds.connect(AwsSettings(region="eu-central-1", endpoint_url=aws.url))


def ours(widgets: Widgets, **changes: Any) -> WatchSettings:
    """Settings under which widgets are a kind of the pack's own, read as Databases."""
    settings = watch_settings(**changes)
    return WatchSettings(
        cluster=settings.cluster,
        resync=settings.resync,
        watch=settings.watch,
        aws=AwsSettings(watch_seconds=0.05, watch_idle_seconds=0.05),
        database_kinds=((widgets.resource.group, widgets.resource.plural),),
    )


@pytest.fixture
def start(widgets: Widgets, rds_client: rds.RdsClient) -> Iterator[Any]:
    """Watch widgets as a kind of the pack's own; gives the recorder of what was dispatched."""
    hubs: list[WatchManager] = []

    def begin(**changes: Any) -> Recorder:
        recorder = Recorder()
        hub = WatchManager(recorder, recorder.dispatch, log=recorder.get_logger("test"))
        hubs.append(hub)
        hub.add(trigger("kubestorm.t", {**widgets.parameters, "resync": True}))
        # The pack's own namespace, where its Leases are.
        settings = dataclasses.replace(widgets.client.settings, namespace=widgets.namespace)
        hub.start(ours(widgets, **changes), connect(settings), rds=lambda: rds_client)
        recorder.wait_line("watch.listed")
        return recorder

    yield begin
    for hub in hubs:
        hub.stop()


def resyncs(recorder: Recorder, name: str) -> list[str]:
    """The reasons of the looks at one object."""
    return [
        one["reason"]
        for one in recorder.payloads
        if one["change"] == "resync" and one["name"] == name
    ]


def create_instance(client: rds.RdsClient, widget: dict[str, Any]) -> str:
    """An instance that belongs to a widget."""
    metadata = widget["metadata"]
    identity = Identity(
        "dev", "g", "v1", "widgets", metadata["namespace"], metadata["name"], metadata["uid"]
    )
    identifier = f"ks-{metadata['name']}"
    client.create(
        identifier,
        create_parameters(parse({"engine": "postgres", "version": "16", "size": "small"})),
        username="dbadmin",
        password=Secret("p" * 20),
        tags=owner_tags(identity),
    )
    return identifier


def test_an_owner_is_woken_when_rds_is_done(
    widgets: Widgets, start: Any, rds_client: rds.RdsClient, clock: ManualClock
) -> None:
    """Not while RDS creates, and once when it has; the event says why it comes."""
    recorder = start()
    one = widgets.make("one")
    recorder.wait_told(("created", "one"))
    create_instance(rds_client, one)
    widgets.report("one", {"lastRunId": "1", "observedGeneration": 1, "conditions": [CREATING]})
    widgets.make("other")
    recorder.wait(lambda: ("created", "other") in recorder.told, "the other")
    assert resyncs(recorder, "one") == []
    clock.advance(60)
    recorder.wait(lambda: resyncs(recorder, "one") == ["instance"], "the look after RDS")
    widgets.report("one", {"lastRunId": "2", "conditions": [READY]})
    rds_client.tag(rds_client.describe("ks-one").arn, {"note": "x"})
    widgets.make("third")
    recorder.wait(lambda: ("created", "third") in recorder.told, "the third")
    assert resyncs(recorder, "one") == ["instance"]


def run_without_a_write(widgets: Widgets, obj: dict[str, Any]) -> None:
    """What a step leaves that finds nothing to do: its Lease, given back."""
    uid = obj["metadata"]["uid"]
    lease = LeaseLock(widgets.client, uid, holder="run-1", namespace=widgets.namespace)
    assert lease.acquire()
    lease.release()


def test_a_look_waits_for_the_answer_to_the_last_event(
    widgets: Widgets, start: Any, rds_client: rds.RdsClient, clock: ManualClock
) -> None:
    """A run that waits for its turn would otherwise be followed by another of the same."""
    recorder = start()
    one = widgets.make("one")
    recorder.wait_told(("created", "one"))
    widgets.report("one", {"observedGeneration": 1, "conditions": [CREATING]})
    create_instance(rds_client, one)
    clock.advance(60)
    widgets.make("other")
    recorder.wait(lambda: ("created", "other") in recorder.told, "the other")
    assert resyncs(recorder, "one") == []
    widgets.report("one", {"lastRunId": "1"})
    recorder.wait(lambda: resyncs(recorder, "one") == ["instance"], "the look that was put off")


def test_a_step_that_writes_nothing_is_an_answer(
    widgets: Widgets, start: Any, rds_client: rds.RdsClient, clock: ManualClock
) -> None:
    """It held the Lease after the event and gave it back: the look need not wait any longer."""
    recorder = start()
    one = widgets.make("one")
    recorder.wait_told(("created", "one"))
    widgets.report("one", {"observedGeneration": 1, "conditions": [CREATING]})
    run_without_a_write(widgets, one)
    create_instance(rds_client, one)
    clock.advance(60)
    recorder.wait(lambda: resyncs(recorder, "one") == ["instance"], "the look after RDS")


def test_a_ready_object_whose_run_died_is_looked_at(widgets: Widgets, start: Any) -> None:
    """Nothing in its status says that somebody asked for something; and once the run has ended, no
    more looks come.
    """
    recorder = start(resync={"unheard_seconds": 0.3, "max_seconds": 600.0})
    one = widgets.make("one")
    widgets.report("one", {"lastRunId": "1", "observedGeneration": 1, "conditions": [READY]})
    recorder.wait(lambda: ("created", "one") in recorder.told, "it is known")
    widgets.annotate("one", wish="granted")
    recorder.wait(lambda: "backstop" in resyncs(recorder, "one"), "a look at it")
    run_without_a_write(widgets, one)
    looks = len(resyncs(recorder, "one"))
    widgets.make("other")
    recorder.wait(lambda: resyncs(recorder, "other").count("backstop") >= 3, "looks at another")
    assert len(resyncs(recorder, "one")) <= looks + 1


def test_what_waits_for_people_is_left_alone(widgets: Widgets, start: Any) -> None:
    """However short the pauses: no look, while one whose step failed is looked at again."""
    recorder = start(resync={"initial_seconds": 0.05, "max_seconds": 0.1, "unheard_seconds": 0.05})
    for name, reason in (("asks", "AwaitingApproval"), ("frozen", "Frozen"), ("fails", "Broken")):
        widgets.make(name)
        condition = {"type": "Ready", "status": "False", "reason": reason}
        widgets.report(name, {"lastRunId": "1", "observedGeneration": 1, "conditions": [condition]})
    recorder.wait(lambda: resyncs(recorder, "fails").count("retry") >= 3, "looks at what failed")
    settled = len(recorder.payloads)
    recorder.wait(lambda: len(recorder.payloads) >= settled + 3, "more of them")
    assert {one["name"] for one in recorder.payloads[settled:]} == {"fails"}


def test_a_time_that_was_asked_for_is_served_once(widgets: Widgets, start: Any) -> None:
    """Though the object still says it, as the run for it has died; then it counts as unheard of."""
    recorder = start(resync={"unheard_seconds": 600.0})
    widgets.make("one")
    recorder.wait_told(("created", "one"))
    status = {"lastRunId": "1", "observedGeneration": 1, "conditions": [READY]}
    widgets.report("one", {**status, "requeueAt": LONG_AGO})
    recorder.wait(lambda: resyncs(recorder, "one") == ["requeue"], "the look that it asked for")
    widgets.report("one", {"note": "1"})
    widgets.make("other")
    recorder.wait(lambda: ("created", "other") in recorder.told, "the other")
    assert resyncs(recorder, "one") == ["requeue"]


def test_what_nobody_answers_is_looked_at_after_a_while(widgets: Widgets, start: Any) -> None:
    """The run for it has died with the machine that it ran on."""
    recorder = start(resync={"unheard_seconds": 0.05, "max_seconds": 0.1})
    widgets.make("one")
    recorder.wait(lambda: resyncs(recorder, "one")[:2] == ["backstop"] * 2, "two looks")


def test_nothing_is_written_at_rest(widgets: Widgets, start: Any) -> None:
    """Each value in the datastore is an event on StackStorm: a status without a new outcome is not
    remembered.
    """
    recorder = start()
    widgets.make("one")
    recorder.wait_told(("created", "one"))
    widgets.report("one", {"lastRunId": "1", "observedGeneration": 1, "conditions": [READY]})
    widgets.make("two")
    recorder.wait(lambda: ("created", "two") in recorder.told, "the second")
    eventually(lambda: any("two" in value for value in recorder.values.values()), "two is written")
    before = dict(recorder.values)
    for number in range(5):
        widgets.report("one", {"note": str(number)})
    widgets.report("two", {"requeueAt": LONG_AGO, "lastRunId": "1"})
    recorder.wait(lambda: resyncs(recorder, "two") == ["requeue"], "the watch is past the notes")
    changed = [name for name, value in recorder.values.items() if before.get(name) != value]
    assert len(changed) <= 1
