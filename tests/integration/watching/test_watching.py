"""What rules hear of objects, on the sandbox's API and on the real one: everything once, through
any trouble.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from kubestorm.clients.kube import KubeClient, Resource

from tests.integration.watching.conftest import (
    CRDS,
    ConnectAs,
    Fault,
    FaultProxy,
    Recorder,
    StartWatching,
    Widgets,
    define,
    trigger,
    unique,
    watch_settings,
    widget_crd,
)
from tests.kube_fixtures import Kube, eventually


def test_a_life_is_told_once_and_status_is_not(
    widgets: Widgets, start_watching: StartWatching
) -> None:
    """Created, updated with its fields, deleting, deleted; nothing for status and finalizers."""
    recorder = Recorder()
    hub = start_watching(widgets.client, recorder, widgets.parameters)
    recorder.wait_line("watch.listed")
    widgets.make("one", finalizers=["example.org/hold"], labels={"team": "shop"})
    recorder.wait_told(("created", "one"))
    widgets.report("one", {"phase": "Working"})
    widgets.change("one", size=2, colour="red")
    recorder.wait_told(("created", "one"), ("updated", "one"))
    widgets.delete("one")
    recorder.wait_told(("created", "one"), ("updated", "one"), ("deleting", "one"))
    widgets.release("one")
    recorder.wait_told(
        ("created", "one"), ("updated", "one"), ("deleting", "one"), ("deleted", "one")
    )
    created, updated, _, deleted = recorder.payloads
    assert updated["changed_fields"] == ["spec.colour", "spec.size"]
    assert "managedFields" not in updated["object"]["metadata"]
    assert updated["object"]["status"] == {"phase": "Working"}
    identity = {
        "cluster": "dev",
        **widgets.resource._asdict(),
        "kind": "Widget",
        "namespace": widgets.namespace,
        "name": "one",
        "uid": created["object"]["metadata"]["uid"],
        "labels": {"team": "shop"},
    }
    for payload in (created, updated, deleted):
        assert {key: payload[key] for key in identity} == identity
    expected = {"type": "kubestorm.resource_event", "parameters": widgets.parameters}
    assert recorder.triggers == [expected] * 4
    hub.stop()


def test_a_restart_repeats_nothing_and_misses_nothing(
    widgets: Widgets, start_watching: StartWatching
) -> None:
    """Unchanged objects stay silent; what changed, went, came or was replaced meanwhile is told."""
    before = Recorder()
    for name in ("kept", "changed", "gone", "replaced", "touched"):
        widgets.make(name, labels={"team": name})
    hub = start_watching(widgets.client, before, widgets.parameters)
    before.wait(lambda: len(before.payloads) == 5, "five objects")
    hub.stop()
    widgets.change("changed", size=2)
    widgets.report("touched", {"phase": "Ready"})
    for name in ("gone", "replaced"):
        widgets.delete(name)
    widgets.make("replaced")
    widgets.make("new")
    after = Recorder(before.values)
    start_watching(widgets.client, after, widgets.parameters)
    after.wait(lambda: len(after.payloads) >= 5, "what happened during the downtime")
    widgets.make("last")
    after.wait(lambda: ("created", "last") in after.told, "the last")
    assert sorted(after.told) == sorted(
        [
            ("updated", "changed"),
            ("deleted", "gone"),
            ("deleted", "replaced"),
            ("created", "replaced"),
            ("created", "new"),
            ("created", "last"),
        ]
    )
    gone = next(payload for payload in after.payloads if payload["name"] == "gone")
    assert gone["labels"] == {"team": "gone"}
    changed = next(payload for payload in after.payloads if payload["name"] == "changed")
    assert changed["changed_fields"] == ["spec.size"]


def test_a_version_too_old_is_listed_anew_with_the_differences(
    widgets: Widgets,
    kube: Kube,
    proxy: FaultProxy,
    connect_as: ConnectAs,
    start_watching: StartWatching,
) -> None:
    """410 on the resumed watch: only differences from the known are told, deletions included."""
    before = Recorder()
    for name in ("kept", "changed", "gone"):
        widgets.make(name)
    hub = start_watching(widgets.client, before, widgets.parameters)
    before.wait(lambda: len(before.payloads) == 3, "three objects")
    hub.stop()
    widgets.change("changed", size=2)
    widgets.delete("gone")
    proxy.faults.append(Fault("watch=true", 410))
    after = Recorder(before.values)
    start_watching(connect_as(proxy.url, kube.token, ""), after, widgets.parameters)
    after.wait(lambda: len(after.payloads) >= 2, "the differences")
    widgets.make("last")
    after.wait(lambda: len(after.payloads) >= 3, "the last")
    assert sorted(after.told) == [("created", "last"), ("deleted", "gone"), ("updated", "changed")]
    assert [path for path in proxy.requests if "watch=true" not in path], "it listed"


def test_a_crash_between_dispatch_and_record_repeats_only_that(
    widgets: Widgets, start_watching: StartWatching
) -> None:
    """What was written before the crash is not told again; what was told but not yet written is."""
    before = Recorder()
    for name in ("one", "two"):
        widgets.make(name)
    hub = start_watching(widgets.client, before, widgets.parameters)
    before.wait(lambda: len(before.payloads) == 2, "two objects")
    eventually(
        lambda: "resource_version" in before.values.get(head_of(before), ""), "they are written"
    )
    hub.stop()
    written = dict(before.values)
    hub = start_watching(widgets.client, before, widgets.parameters)
    widgets.change("one", size=2)
    before.wait(lambda: before.told[-1] == ("updated", "one"), "the change")
    hub.stop()
    after = Recorder(written)
    start_watching(widgets.client, after, widgets.parameters)
    after.wait(lambda: len(after.payloads) >= 1, "the repeated change")
    widgets.make("last")
    after.wait_told(("updated", "one"), ("created", "last"))


def head_of(recorder: Recorder) -> str:
    return next((name for name in list(recorder.values) if name.endswith(".head")), "")


def test_what_could_not_be_dispatched_is_dispatched_later(
    widgets: Widgets, start_watching: StartWatching
) -> None:
    """A message bus that fails loses no event."""
    recorder = Recorder()
    start_watching(widgets.client, recorder, widgets.parameters)
    recorder.wait_line("watch.listed")
    recorder.fail_next = 2
    widgets.make("one")
    recorder.wait_told(("created", "one"))
    widgets.change("one", size=2)
    recorder.wait_told(("created", "one"), ("updated", "one"))


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Fault("", 429, headers={"Retry-After": "0"}), id="429"),
        pytest.param(Fault("", 500), id="500"),
        pytest.param(Fault(""), id="dropped"),
    ],
)
@pytest.mark.parametrize("phase", ["limit=", "watch=true"], ids=["list", "watch"])
def test_trouble_passes(
    fault: Fault,
    phase: str,
    widgets: Widgets,
    kube: Kube,
    proxy: FaultProxy,
    connect_as: ConnectAs,
    start_watching: StartWatching,
) -> None:
    """Whatever the server answers three times, each object is told once, and one line says what was
    wrong.
    """
    proxy.faults.extend(Fault(phase, fault.status, headers=fault.headers) for _ in range(3))
    widgets.make("one")
    recorder = Recorder()
    start_watching(connect_as(proxy.url, kube.token, ""), recorder, widgets.parameters)
    recorder.wait(lambda: len(recorder.payloads) >= 1, "the object")
    eventually(lambda: not proxy.faults, "all faults are used")
    recorder.wait_line("watch.recovered")
    widgets.make("two")
    recorder.wait_told(("created", "one"), ("created", "two"))
    assert sum("watch.unavailable" in line for line in recorder.lines) == 1


def test_a_refused_connection_is_tried_until_it_is_accepted(
    widgets: Widgets,
    kube: Kube,
    proxy: FaultProxy,
    connect_as: ConnectAs,
    start_watching: StartWatching,
) -> None:
    """The sensor may start before the API server."""
    recorder = Recorder()
    closed = FaultProxy(kube)
    closed.stop()
    hub = start_watching(connect_as(closed.url, kube.token, ""), recorder, widgets.parameters)
    recorder.wait_line("watch.unavailable: no answer from")
    hub.stop()


def test_a_watch_that_goes_silent_is_opened_anew(
    widgets: Widgets,
    kube: Kube,
    proxy: FaultProxy,
    connect_as: ConnectAs,
    start_watching: StartWatching,
) -> None:
    """Nothing for longer than the server's own timeout is a dead connection."""
    recorder = Recorder()
    proxy.faults.append(Fault("watch=true", silent=True))
    settings = watch_settings(watch={"timeout_seconds": 1, "stall_seconds": 0.2})
    start_watching(
        connect_as(proxy.url, kube.token, ""), recorder, widgets.parameters, settings=settings
    )
    assert proxy.hit.wait(30)
    widgets.make("one")
    recorder.wait_told(("created", "one"))


def test_watches_that_end_are_resumed(
    widgets: Widgets,
    kube: Kube,
    proxy: FaultProxy,
    connect_as: ConnectAs,
    start_watching: StartWatching,
) -> None:
    """The server's timeout is no trouble: the watch goes on from its version without a list."""
    recorder = Recorder()
    settings = watch_settings(watch={"timeout_seconds": 1})
    start_watching(
        connect_as(proxy.url, kube.token, ""), recorder, widgets.parameters, settings=settings
    )
    eventually(lambda: sum("watch=true" in path for path in proxy.requests) >= 3, "three watches")
    widgets.make("one")
    recorder.wait_told(("created", "one"))
    assert sum("watch=true" not in path for path in proxy.requests) == 1
    assert not [line for line in recorder.lines if "unavailable" in line]


def test_many_objects_come_in_pages(
    widgets: Widgets,
    kube: Kube,
    proxy: FaultProxy,
    connect_as: ConnectAs,
    start_watching: StartWatching,
) -> None:
    """500 objects in pages of 50, although the list expires in its middle."""
    for number in range(500):
        widgets.make(f"w{number}")
    recorder = Recorder()
    proxy.faults.append(Fault("continue=", 410))
    settings = watch_settings(watch={"page_size": 50})
    start_watching(
        connect_as(proxy.url, kube.token, ""), recorder, widgets.parameters, settings=settings
    )
    recorder.wait_line("500 objects")
    widgets.make("last")
    recorder.wait(lambda: ("created", "last") in recorder.told, "the last")
    assert sorted(recorder.told) == sorted(
        [("created", f"w{number}") for number in range(500)] + [("created", "last")]
    )
    # The first page, the one that expired, and then ten.
    assert sum("limit=50" in path for path in proxy.requests) == 12


def test_a_definition_that_does_not_exist_yet_is_waited_for(
    client: KubeClient, namespace: str, start_watching: StartWatching
) -> None:
    """It is said once, and when the CRD comes the objects are told."""
    group = f"{unique('later')}.example.org"
    recorder = Recorder()
    start_watching(
        client,
        recorder,
        {"group": group, "version": "v1", "plural": "widgets", "namespace": namespace},
    )
    recorder.wait_line("watch.absent")
    resource = define(client, group)
    Widgets(client, resource, namespace).make("one")
    recorder.wait_told(("created", "one"))
    assert sum("watch.absent" in line for line in recorder.lines) == 1
    assert "waiting for its definition" in next(
        line for line in recorder.lines if "watch.absent" in line
    )
    client.delete(CRDS, widget_crd(group)["metadata"]["name"])


def test_what_is_forbidden_is_named_and_works_once_it_is_granted(
    widgets: Widgets, plain_client: KubeClient, start_watching: StartWatching
) -> None:
    """One line with the missing rule, and events after it is granted."""
    recorder = Recorder()
    start_watching(plain_client, recorder, widgets.parameters)
    recorder.wait_line("watch.forbidden")
    line = next(line for line in recorder.lines if "watch.forbidden" in line)
    assert (
        f'a Role in namespace "{widgets.namespace}" with the rule '
        f'{{apiGroups: ["{widgets.resource.group}"], resources: ["widgets"], verbs: ["list"]}}'
    ) in line
    rbac = {"group": "rbac.authorization.k8s.io", "version": "v1"}
    rule = {
        "apiGroups": [widgets.resource.group],
        "resources": ["widgets"],
        "verbs": ["list", "watch"],
    }
    widgets.client.create(
        Resource(**rbac, plural="roles"),
        {
            "apiVersion": f"{rbac['group']}/v1",
            "kind": "Role",
            "metadata": {"name": "see"},
            "rules": [rule],
        },
        widgets.namespace,
    )
    widgets.client.create(
        Resource(**rbac, plural="rolebindings"),
        {
            "apiVersion": f"{rbac['group']}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "see"},
            "roleRef": {"apiGroup": rbac["group"], "kind": "Role", "name": "see"},
            "subjects": [
                {"kind": "ServiceAccount", "name": "plain", "namespace": widgets.namespace}
            ],
        },
        widgets.namespace,
    )
    recorder.wait_line("watch.listed")
    widgets.make("one")
    recorder.wait_told(("created", "one"))
    assert sum("watch.forbidden" in line for line in recorder.lines) == 1


def test_selectors_and_namespaces_are_watches_of_their_own(
    widgets: Widgets, start_watching: StartWatching
) -> None:
    """Each trigger hears what it asked for; an object that leaves a selector is deleted for it."""
    recorder = Recorder()
    selective = {**widgets.parameters, "label_selector": "team=shop"}
    hub = start_watching(widgets.client, recorder, selective)
    recorder.wait_line("watch.listed")
    widgets.make("other", labels={"team": "other"})
    widgets.make("ours", labels={"team": "shop"})
    recorder.wait_told(("created", "ours"))
    widgets.client.patch(
        widgets.resource, "ours", {"metadata": {"labels": {"team": "x"}}}, widgets.namespace
    )
    recorder.wait_told(("created", "ours"), ("deleted", "ours"))
    hub.add(trigger("kubestorm.everything", {**widgets.parameters, "namespace": ""}))
    recorder.wait(
        lambda: {("created", "other"), ("created", "ours")} <= set(recorder.told[2:]),
        "both, unselected",
    )
    assert len(hub.watches()) == 2


def test_watches_come_and_go_with_the_triggers(
    widgets: Widgets, start_watching: StartWatching
) -> None:
    """The first trigger starts a watch, another shares it, the last one's end ends it."""
    recorder = Recorder()
    hub = start_watching(widgets.client, recorder)
    assert hub.watches() == []
    one, same = (
        trigger("a", widgets.parameters),
        trigger("b", {**widgets.parameters, "label_selector": ""}),
    )
    for asked in (one, same, one):
        hub.add(asked)
    assert len(hub.watches()) == 1
    widgets.make("one")
    recorder.wait_told(("created", "one"), ("created", "one"))
    hub.remove(one)
    assert len(hub.watches()) == 1
    widgets.change("one", size=2)
    recorder.wait_told(("created", "one"), ("created", "one"), ("updated", "one"))
    hub.remove(same)
    assert hub.watches() == []
    widgets.change("one", size=3)
    hub.add(same)
    recorder.wait(lambda: len(recorder.payloads) >= 4, "what happened while no rule asked")
    assert recorder.told[3:] == [("updated", "one")]


def test_a_trigger_that_differs_in_resync_alone_hears_of_what_exists(
    widgets: Widgets, start_watching: StartWatching
) -> None:
    """It has a memory of its own, so that the objects which the other has been told of are news to
    it.
    """
    recorder = Recorder()
    widgets.make("one")
    hub = start_watching(widgets.client, recorder, widgets.parameters)
    recorder.wait_told(("created", "one"))
    hub.add(trigger("later", {**widgets.parameters, "resync": False}))
    recorder.wait_told(("created", "one"), ("created", "one"))
    widgets.change("one", size=2)
    recorder.wait(lambda: recorder.told.count(("updated", "one")) == 2, "the change, for both")
    assert [one["parameters"].get("resync") for one in recorder.triggers[:2]] == [None, False]


def test_a_trigger_that_names_no_kind_stops_nothing(
    widgets: Widgets, start_watching: StartWatching
) -> None:
    """It is said which parameter is missing, and the others are watched."""
    recorder = Recorder()
    start_watching(widgets.client, recorder, {"group": "example.org"}, widgets.parameters)
    recorder.wait_line("needs the parameter version")
    widgets.make("one")
    recorder.wait_told(("created", "one"))


def test_what_is_not_ready_comes_again_as_resync(
    widgets: Widgets, start_watching: StartWatching
) -> None:
    """Looks repeat until Ready for the current generation, with the object as it is then."""
    recorder = Recorder()
    settings = watch_settings(resync={"initial_seconds": 0.05, "max_seconds": 0.1})
    start_watching(
        widgets.client, recorder, {**widgets.parameters, "resync": True}, settings=settings
    )
    recorder.wait_line("watch.listed")
    widgets.make("one")
    recorder.wait(lambda: recorder.told.count(("resync", "one")) >= 3, "three looks")
    widgets.report("one", {"step": "x", "conditions": [{"type": "Ready", "status": "False"}]})
    recorder.wait(
        lambda: recorder.payloads[-1]["object"].get("status", {}).get("step") == "x",
        "the new state",
    )
    assert recorder.told[0] == ("created", "one")
    assert set(recorder.told[1:]) == {("resync", "one")}
    widgets.report("one", {"conditions": [{"type": "Ready", "status": "True"}]})
    widgets.make("two")
    recorder.wait(lambda: ("resync", "two") in recorder.told, "a look at the other")
    settled_at = len(recorder.told)
    recorder.wait(
        lambda: recorder.told[settled_at:].count(("resync", "two")) >= 3, "more looks at the other"
    )
    assert ("resync", "one") not in recorder.told[settled_at:]


def test_what_is_not_ready_comes_again_after_a_restart_with_no_event_at_all(
    widgets: Widgets, start_watching: StartWatching
) -> None:
    """What is remembered is on the schedule from the start; no event has to remind of it."""
    before = Recorder()
    widgets.make("one")
    hub = start_watching(widgets.client, before, {**widgets.parameters, "resync": True})
    before.wait_told(("created", "one"))
    before.wait_line("watch.listed")
    hub.stop()
    after = Recorder(before.values)
    settings = watch_settings(resync={"initial_seconds": 0.05, "max_seconds": 0.1})
    start_watching(widgets.client, after, {**widgets.parameters, "resync": True}, settings=settings)
    after.wait(lambda: after.told.count(("resync", "one")) >= 2, "looks at it")


def test_everything_comes_again_at_its_interval(
    widgets: Widgets, start_watching: StartWatching
) -> None:
    """Also what is Ready."""
    for name in ("one", "two"):
        widgets.make(name)
        widgets.report(name, {"conditions": [{"type": "Ready", "status": "True"}]})
    recorder = Recorder()
    settings = watch_settings(resync={"all_seconds": 0.2})
    start_watching(
        widgets.client, recorder, {**widgets.parameters, "resync": True}, settings=settings
    )
    recorder.wait(
        lambda: (
            recorder.told.count(("resync", "one")) >= 2
            and recorder.told.count(("resync", "two")) >= 2
        ),
        "two rounds",
    )


def test_the_values_of_secrets_stay_where_they_are(
    client: KubeClient, namespace: str, start_watching: StartWatching
) -> None:
    """A rule may watch Secrets; their values are neither dispatched nor kept nor logged."""
    recorder = Recorder()
    secrets = Resource("", "v1", "secrets")
    start_watching(
        client,
        recorder,
        {**secrets._asdict(), "namespace": namespace, "label_selector": "mine=yes"},
    )
    recorder.wait_line("watch.listed")
    body: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "login", "labels": {"mine": "yes"}},
        "stringData": {"password": "hunter2"},
    }
    client.create(secrets, body, namespace)
    recorder.wait_told(("created", "login"))
    client.patch(secrets, "login", {"stringData": {"password": "hunter3"}}, namespace)
    recorder.wait_told(("created", "login"), ("updated", "login"))
    assert recorder.payloads[1]["changed_fields"] == ["data"]
    everything = json.dumps([recorder.payloads, recorder.values, recorder.lines])
    for value in ("hunter2", "hunter3", "aHVudGVyMg==", "aHVudGVyMw=="):
        assert value not in everything


def test_an_object_may_say_when_it_is_to_be_looked_at(
    widgets: Widgets, start_watching: StartWatching
) -> None:
    """Long before the schedule would, also when it is Ready; what has ended is not looked at."""
    recorder = Recorder()
    settings = watch_settings(resync={"initial_seconds": 600, "max_seconds": 600})
    start_watching(
        widgets.client, recorder, {**widgets.parameters, "resync": True}, settings=settings
    )
    recorder.wait_line("watch.listed")
    long_ago = "2020-01-01T00:00:00.500Z"
    widgets.make("one")
    widgets.report(
        "one", {"conditions": [{"type": "Ready", "status": "True"}], "requeueAt": long_ago}
    )
    recorder.wait(lambda: ("resync", "one") in recorder.told, "the look that it asked for")
    ended = {
        "conditions": [{"type": "Ready", "status": "False"}],
        "finishedAt": long_ago,
        "requeueAt": None,
    }
    widgets.report("one", ended)
    widgets.make("two")
    widgets.report(
        "two", {"conditions": [{"type": "Ready", "status": "False"}], "requeueAt": long_ago}
    )
    recorder.wait(lambda: ("resync", "two") in recorder.told, "a look at the other")
    assert recorder.told.count(("resync", "one")) == 1
