"""The pack's Kubernetes client, Leases and Events, on the sandbox and on the real API server."""

from __future__ import annotations

import datetime as dt

import pytest
from kubestorm.clients.kube import (
    ForbiddenError,
    KubeClient,
    KubeSettings,
    Resource,
    UnauthorizedError,
    connect,
)
from kubestorm.clients.lease import LeaseLock, LeaseTakenError
from kubestorm.clients.retrying import ATTEMPTS
from kubestorm.core.errors import ConflictError, DefinitionError, NotFoundError, TemporaryError

from tests.integration.watching.conftest import ConnectAs, Fault, FaultProxy, Widgets, widget_crd
from tests.kube_fixtures import Kube

CONFIG_MAPS = Resource("", "v1", "configmaps")
NOON = dt.datetime(2024, 1, 1, 12, tzinfo=dt.UTC)


def config_map(name: str, **data: str) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def test_an_object_is_made_read_changed_and_deleted(client: KubeClient, namespace: str) -> None:
    """Every verb, on plain dictionaries."""
    made = client.create(CONFIG_MAPS, config_map("one", a="1"), namespace)
    with pytest.raises(ConflictError, match="already exists"):
        client.create(CONFIG_MAPS, config_map("one"), namespace)
    client.patch(CONFIG_MAPS, "one", {"data": {"b": "2"}}, namespace)
    client.patch(CONFIG_MAPS, "one", [{"op": "remove", "path": "/data/a"}], namespace, kind="json")
    with pytest.raises(ConflictError):
        client.update(CONFIG_MAPS, {**made, "data": {}}, namespace)
    assert client.apply(CONFIG_MAPS, config_map("one", c="3"), namespace)["data"] == {
        "b": "2",
        "c": "3",
    }
    assert client.get(CONFIG_MAPS, "one", namespace)["data"] == {"b": "2", "c": "3"}
    with pytest.raises(ConflictError):
        client.delete(CONFIG_MAPS, "one", namespace, uid="11111111-1111-1111-1111-111111111111")
    client.delete(CONFIG_MAPS, "one", namespace, uid=made["metadata"]["uid"])
    with pytest.raises(
        NotFoundError, match=f"get configmaps one in namespace {namespace}: not found"
    ):
        client.get(CONFIG_MAPS, "one", namespace)


def test_status_is_patched_apart_from_the_object(widgets: Widgets) -> None:
    """The status subresource changes no generation, an outdated resourceVersion is a conflict."""
    made = widgets.make("one")
    widgets.report("one", {"phase": "Ready"})
    now = widgets.client.get(widgets.resource, "one", widgets.namespace)
    assert (now["status"], now["metadata"]["generation"]) == ({"phase": "Ready"}, 1)
    with pytest.raises(ConflictError):
        widgets.client.patch_status(
            widgets.resource,
            "one",
            {"phase": "Other"},
            widgets.namespace,
            resource_version=made["metadata"]["resourceVersion"],
        )


def test_all_pages_are_read(client: KubeClient, namespace: str) -> None:
    """A list of several pages is one sequence."""
    for number in range(7):
        client.create(CONFIG_MAPS, config_map(f"n{number}"), namespace)
    names = {obj["metadata"]["name"] for obj in client.list_all(CONFIG_MAPS, namespace, limit=3)}
    assert {f"n{number}" for number in range(7)} <= names


def test_an_invalid_object_names_its_field(client: KubeClient) -> None:
    """422 becomes a sentence for the author, with the path of the first field that is wrong."""
    crd = widget_crd("invalid.example.org")
    crd["spec"]["scope"] = "Sometimes"
    with pytest.raises(DefinitionError, match=r"spec\.scope") as caught:
        client.create(Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions"), crd)
    assert caught.value.field == "spec.scope"


def test_forbidden_names_the_rule_that_is_missing(plain_client: KubeClient, namespace: str) -> None:
    """The sentence can be pasted into a Role."""
    with pytest.raises(ForbiddenError) as caught:
        plain_client.list_page(Resource("kubestorm.io", "v1alpha1", "databases"), "shop")
    assert (
        'a Role in namespace "shop" with the rule '
        '{apiGroups: ["kubestorm.io"], resources: ["databases"], verbs: ["list"]}'
    ) in str(caught.value)
    assert f"user system:serviceaccount:{namespace}:plain" in str(caught.value)


def test_wrong_credentials_are_told_from_missing_rights(kube: Kube, connect_as: ConnectAs) -> None:
    """401 is an error of its own, and does not repeat the token."""
    wrong = connect_as(kube.url, "made-up-token", str(kube.ca_file))
    with pytest.raises(UnauthorizedError, match="did not accept the credentials") as caught:
        wrong.get(CONFIG_MAPS, "x", "default")
    assert "made-up-token" not in str(caught.value)


def test_a_certificate_nobody_vouches_for_is_refused(kube: Kube, connect_as: ConnectAs) -> None:
    """TLS is verified, and the error says where the authority belongs."""
    with pytest.raises(Exception, match="certificate-authority"):
        connect_as(kube.url, kube.token).get(CONFIG_MAPS, "x", "default")


def test_busy_and_broken_servers_are_worth_another_try(
    kube: Kube, proxy: FaultProxy, connect_as: ConnectAs
) -> None:
    """429 carries its Retry-After, which is not waited for where it is long; 500 (that stays) and a
    dropped connection are temporary too.
    """
    through = connect_as(proxy.url, kube.token, "")
    for fault, times, after in (
        (Fault("/x", 429, headers={"Retry-After": "70"}), 1, 70.0),
        (Fault("/x", 500), ATTEMPTS, None),
        (Fault("/x"), 1, None),
    ):
        proxy.faults.extend([fault] * times)
        with pytest.raises(TemporaryError) as caught:
            through.get(CONFIG_MAPS, "x", "default")
        assert (caught.value.service, caught.value.retry_after_seconds) == ("Kubernetes", after)


def test_a_kubeconfig_that_is_not_there_is_a_sentence(tmp_path: object) -> None:
    """Connecting names the file and the setting."""
    with pytest.raises(DefinitionError, match=r"cannot use .*nowhere") as caught:
        connect(KubeSettings(kubeconfig=f"{tmp_path}/nowhere"))
    assert caught.value.field == "kubernetes.kubeconfig"


def test_events_of_the_same_words_are_counted(widgets: Widgets) -> None:
    """What `kubectl describe` shows is one line with a count."""
    made = widgets.make("one")
    for _ in range(3):
        event = widgets.client.create_event(
            made, reason="Waiting", message="the instance is being made", now=NOON
        )
    assert (event["count"], event["reason"], event["involvedObject"]["uid"]) == (
        3,
        "Waiting",
        made["metadata"]["uid"],
    )
    assert event["lastTimestamp"] == "2024-01-01T12:00:00Z"


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> dt.datetime:
        return self.now


def test_a_lease_is_held_by_one_and_overtaken_when_it_runs_out(
    client: KubeClient, namespace: str
) -> None:
    """Taken, refused, run out, overtaken; the first then finds out that it lost it."""
    clock = Clock()
    first = LeaseLock(
        client, "uid-1", namespace=namespace, holder="first", duration_seconds=60, now=clock
    )
    second = LeaseLock(
        client, "uid-1", namespace=namespace, holder="second", duration_seconds=60, now=clock
    )
    assert first.acquire()
    assert not second.acquire()
    assert second.held_by == "first"
    clock.now += dt.timedelta(seconds=50)
    assert first.renew()
    clock.now += dt.timedelta(seconds=61)
    assert not second.acquire()
    clock.now += dt.timedelta(seconds=3)
    assert second.acquire()
    assert not first.renew()
    first.release()
    assert second.renew()


def test_a_released_lease_is_free_at_once(client: KubeClient, namespace: str) -> None:
    """The next run need not wait for the duration; within a `with` a taken lease is an error that
    says whose.
    """
    second = LeaseLock(client, "uid-2", namespace=namespace, holder="second")
    with LeaseLock(client, "uid-2", namespace=namespace, holder="first"):
        with pytest.raises(LeaseTakenError, match="held by first"):
            second.__enter__()
        assert second.held_by == "first"
    with LeaseLock(client, "uid-2", namespace=namespace, holder="second") as lease:
        assert lease.renew()
