"""Lists in pages and watches that resume: what informers and sensors are built on."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from kubernetes import client, watch

Json = dict[str, Any]

MERGE = {"Content_Type": "application/merge-patch+json"}


def seen(event: Json) -> tuple[str, str]:
    return event["type"], event["object"]["metadata"]["name"]


def test_a_watch_resumes_after_a_version(
    cluster: Any, widgets: str, make_widget: Callable[..., Json]
) -> None:
    """Everything after the named version comes once, in order; a deletion carries the last state at
    its own version.
    """
    start = make_widget("a")["metadata"]["resourceVersion"]
    make_widget("b")
    cluster.raw("PATCH", f"{widgets}/a", {"spec": {"replicas": 2}}, **MERGE)
    cluster.raw("DELETE", f"{widgets}/b")
    events = cluster.events(f"{widgets}?watch=1&resourceVersion={start}&timeoutSeconds=10")
    got = list(itertools.islice(events, 3))
    assert [seen(event) for event in got] == [("ADDED", "b"), ("MODIFIED", "a"), ("DELETED", "b")]
    versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in got]
    assert versions == sorted(versions)


def test_a_watch_from_nowhere_begins_with_what_is_there(
    cluster: Any, widgets: str, make_widget: Callable[..., Json]
) -> None:
    """Without a version, or from 0, the present objects come as ADDED; then what changes."""
    make_widget("a")
    for query in ("watch=1", "watch=1&resourceVersion=0"):
        events = cluster.events(f"{widgets}?{query}&timeoutSeconds=10")
        assert seen(next(events)) == ("ADDED", "a")
        cluster.raw(
            "PATCH", f"{widgets}/a", {"metadata": {"labels": {"n": str(len(query))}}}, **MERGE
        )
        assert seen(next(events)) == ("MODIFIED", "a")
        events.close()


def test_leaving_and_entering_a_selection(
    cluster: Any, widgets: str, make_widget: Callable[..., Json]
) -> None:
    """An object that stops matching is DELETED for this watch, one that starts to is ADDED."""
    make_widget("a", labels={"team": "x"})
    events = cluster.events(f"{widgets}?watch=1&labelSelector=team%3Dx&timeoutSeconds=10")
    assert seen(next(events)) == ("ADDED", "a")
    cluster.raw("PATCH", f"{widgets}/a", {"metadata": {"labels": {"team": "y"}}}, **MERGE)
    gone = next(events)
    assert (seen(gone), gone["object"]["metadata"]["labels"]) == (("DELETED", "a"), {"team": "x"})
    cluster.raw("PATCH", f"{widgets}/a", {"metadata": {"labels": {"team": "x"}}}, **MERGE)
    assert seen(next(events)) == ("ADDED", "a")
    events.close()


def test_a_version_that_is_too_old(
    cluster: Any, widgets: str, make_widget: Callable[..., Json]
) -> None:
    """The watch is answered 200 with one ERROR event, a Status of code 410, and ends."""
    start = make_widget("a")["metadata"]["resourceVersion"]
    make_widget("b")
    cluster.app.compact()
    (event,) = cluster.events(f"{widgets}?watch=1&resourceVersion={start}&timeoutSeconds=10")
    assert (event["type"], event["object"]["code"], event["object"]["reason"]) == (
        "ERROR",
        410,
        "Expired",
    )
    assert event["object"]["message"].startswith(f"too old resource version: {start} (")


def test_the_official_client_sees_410(
    cluster: Any, namespace: str, make_widget: Callable[..., Json]
) -> None:
    """The Python client raises ApiException 410 from the ERROR event."""
    start = make_widget("a")["metadata"]["resourceVersion"]
    cluster.app.compact()
    make_widget("b")
    cluster.app.compact()
    stream = watch.Watch().stream(
        cluster.objects.list_namespaced_custom_object,
        "demo.io", "v1", namespace, "widgets", resource_version=start, timeout_seconds=10,
    )  # fmt: skip
    with pytest.raises(client.ApiException) as expired:
        next(stream)
    assert expired.value.status == 410


def test_a_watch_ends_in_time_with_a_bookmark(
    cluster: Any, widgets: str, make_widget: Callable[..., Json]
) -> None:
    """timeoutSeconds ends it; with allowWatchBookmarks the last line tells where to go on."""
    make_widget("a")
    make_widget("b")
    version = cluster.raw("GET", widgets)[1]["metadata"]["resourceVersion"]
    (event,) = cluster.events(
        f"{widgets}?watch=1&resourceVersion={version}&allowWatchBookmarks=true&timeoutSeconds=1"
    )
    assert (event["type"], event["object"]["kind"]) == ("BOOKMARK", "Widget")
    assert int(event["object"]["metadata"]["resourceVersion"]) >= int(version)
    assert (
        list(cluster.events(f"{widgets}?watch=1&resourceVersion={version}&timeoutSeconds=1")) == []
    )


def test_pages_are_one_snapshot(
    cluster: Any, widgets: str, make_widget: Callable[..., Json]
) -> None:
    """Later pages show the collection as it was at the first one, whatever changed between."""
    for name in "abcde":
        make_widget(name)
    _, first = cluster.raw("GET", f"{widgets}?limit=2")
    assert (
        [i["metadata"]["name"] for i in first["items"]],
        first["metadata"]["remainingItemCount"],
    ) == (["a", "b"], 3)
    cluster.raw("DELETE", f"{widgets}/c")
    cluster.raw("PATCH", f"{widgets}/d", {"spec": {"replicas": 7}}, **MERGE)
    make_widget("cc")
    _, second = cluster.raw("GET", f"{widgets}?limit=2&continue={first['metadata']['continue']}")
    assert [(i["metadata"]["name"], i["spec"]["replicas"]) for i in second["items"]] == [
        ("c", 1),
        ("d", 1),
    ]
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    _, third = cluster.raw("GET", f"{widgets}?limit=2&continue={second['metadata']['continue']}")
    assert [i["metadata"]["name"] for i in third["items"]] == ["e"]
    assert "continue" not in third["metadata"]


def test_a_page_of_a_forgotten_snapshot(
    cluster: Any, widgets: str, make_widget: Callable[..., Json]
) -> None:
    """410, with a token that goes on from there inconsistently."""
    for name in "abc":
        make_widget(name)
    _, first = cluster.raw("GET", f"{widgets}?limit=1")
    make_widget("bb")
    cluster.app.compact()
    code, status = cluster.raw("GET", f"{widgets}?limit=5&continue={first['metadata']['continue']}")
    assert (code, status["reason"]) == (410, "Expired")
    _, rest = cluster.raw("GET", f"{widgets}?limit=5&continue={status['metadata']['continue']}")
    assert [item["metadata"]["name"] for item in rest["items"]] == ["b", "bb", "c"]


def test_a_list_from_the_future_and_a_bad_selector(cluster: Any, widgets: str) -> None:
    """504 asks to wait; a selector that cannot be read is 400."""
    code, status = cluster.raw("GET", f"{widgets}?resourceVersion=99999999")
    assert (code, status["details"]["causes"][0]["reason"]) == (504, "ResourceVersionTooLarge")
    code, status = cluster.raw("GET", f"{widgets}?labelSelector=a%20in%20b")
    assert (code, status["message"]) == (
        400,
        "unable to parse requirement: found 'b' expected: '('",
    )
    code, status = cluster.raw("GET", f"{widgets}?fieldSelector=spec.x%3D1")
    assert (code, status["message"]) == (400, "field label not supported: spec.x")


def test_a_deleted_collection(cluster: Any, widgets: str, make_widget: Callable[..., Json]) -> None:
    """Only what is selected goes."""
    make_widget("a", labels={"x": "1"})
    make_widget("b")
    code, gone = cluster.raw("DELETE", f"{widgets}?labelSelector=x")
    assert (code, [item["metadata"]["name"] for item in gone["items"]]) == (200, ["a"])
    assert [item["metadata"]["name"] for item in cluster.raw("GET", widgets)[1]["items"]] == ["b"]


def test_metadata_alone(cluster: Any, widgets: str, make_widget: Callable[..., Json]) -> None:
    """A client that asks for PartialObjectMetadataList gets no spec."""
    make_widget("a")
    accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
    _, found = cluster.raw("GET", widgets, Accept=accept)
    assert (found["kind"], found["items"][0].keys()) == (
        "PartialObjectMetadataList",
        {"kind", "apiVersion", "metadata"},
    )


def test_faults(cluster: Any, widgets: str, make_widget: Callable[..., Json]) -> None:
    """A fault answers, drops, or silences exactly what it names; then all is well again."""
    make_widget("a")
    cluster.app.faults.add(
        method="GET", path=f"{widgets}/a", status=503, headers={"Retry-After": "1"}, body="busy"
    )
    assert cluster.raw("GET", f"{widgets}/a") == (503, "busy")
    assert cluster.raw("GET", f"{widgets}/a")[0] == 200
    cluster.app.faults.add(path=f"{widgets}/a", drop=True)
    with pytest.raises(ConnectionError):
        cluster.raw("GET", f"{widgets}/a")
    version = cluster.raw("GET", widgets)[1]["metadata"]["resourceVersion"]
    silence = cluster.app.faults.add(path=f"{widgets}.*watch=1.*", silent=True, times=None)
    make_widget("b")
    with pytest.raises(TimeoutError):  # neither an event nor the end that was asked for
        next(
            cluster.events(
                f"{widgets}?watch=1&resourceVersion={version}&timeoutSeconds=1", patience_seconds=2
            )
        )
    cluster.app.faults.remove(silence)
    events = cluster.events(f"{widgets}?watch=1&resourceVersion={version}&timeoutSeconds=5")
    assert seen(next(events)) == ("ADDED", "b")
    events.close()
