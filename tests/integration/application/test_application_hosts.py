"""Two Applications that claim one ingress host, in one cluster."""

from __future__ import annotations

import secrets

import pytest
from kubestorm.clients.resources import APPLICATIONS
from kubestorm.kinds.application.input_changes import wake_changed

from tests.integration.application.test_application_input_changes import changed
from tests.kube_fixtures import eventually

CLUSTER_WIDE = r"/(api/v1|apis/[^/]+/[^/]+)/(?!namespaces/)[a-z]+(\?.*)?"
"""A list of all objects of a kind."""


@pytest.fixture
def other(http):
    """Another team's namespace."""
    name = f"test-{secrets.token_hex(4)}"
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    http.post("/api/v1/namespaces", json=body).raise_for_status()
    yield name
    http.delete(f"/api/v1/namespaces/{name}")


def test_the_older_keeps_the_host_and_the_younger_gets_it_when_that_goes(world, other, http):
    """The younger is told whose it is, serves its other host meanwhile, and needs nobody to try
    again.
    """
    host, own = f"{world.namespace}.example.com", f"own.{world.namespace}.example.com"
    older = world.apply("pay", other, expose={"type": "ingress", "hosts": [host]})
    younger = world.apply("cart", expose={"type": "ingress", "hosts": [host, own]})
    if older["metadata"]["creationTimestamp"] == younger["metadata"]["creationTimestamp"]:
        # Born within one second, the smaller uid is the older.
        eventually(lambda: _made_later(world, older, host, own), "a younger one")
    world.reconcile()
    status, reason, message = world.condition("HostClaimed")
    assert (status, reason) == ("False", "HostTaken")
    assert f"{host} belongs to Application {other}/pay" in message
    assert [rule["host"] for rule in world.get("ingresses")["spec"]["rules"]] == [own]
    world.reconcile("pay", other)
    found = http.get(f"/apis/networking.k8s.io/v1/namespaces/{other}/ingresses/pay").json()
    assert [rule["host"] for rule in found["spec"]["rules"]] == [host]
    path = f"/apis/kubestorm.io/v1alpha1/namespaces/{other}/applications/pay"
    assert "cart" not in changed(world)
    http.delete(path).raise_for_status()
    eventually(lambda: http.get(path).status_code == 404, "the older is gone")
    assert "cart" in changed(world)
    world.reconcile()
    assert "cart" not in changed(world)
    assert world.condition("HostClaimed")[:2] == ("True", "Claimed")
    assert [rule["host"] for rule in world.get("ingresses")["spec"]["rules"]] == [host, own]
    assert world.get()["status"]["url"] == f"https://{host}/"


def test_an_older_one_that_is_edited_takes_the_host(world, other, http):
    """The look at all Applications finds it; the younger one's run then asks again, and lets go."""
    host, own = f"{world.namespace}.example.com", f"own.{world.namespace}.example.com"
    older = world.apply("pay", other, expose={"type": "ingress", "hosts": [f"pay.{host}"]})
    younger = world.apply("cart", expose={"type": "ingress", "hosts": [host, own]})
    if older["metadata"]["creationTimestamp"] == younger["metadata"]["creationTimestamp"]:
        eventually(lambda: _made_later(world, older, host, own), "a younger one")
    world.reconcile()
    assert world.condition("HostClaimed")[:2] == ("True", "Claimed")
    world.apply("pay", other, expose={"type": "ingress", "hosts": [host]})
    services = world.services()
    assert "cart" in [each.name for each in wake_changed(services)]
    services.close()
    world.reconcile()
    assert world.condition("HostClaimed")[:2] == ("False", "HostTaken")
    assert [rule["host"] for rule in world.get("ingresses")["spec"]["rules"]] == [own]
    assert "cart" not in changed(world)


def test_what_has_its_hosts_lists_nothing_of_the_cluster(world, kube, faults):
    """Only a new claim reads the others'; a status that was forged is not believed."""
    if kube.is_real:
        pytest.skip("requests are counted in the sandbox's API")
    host = f"{world.namespace}.example.com"
    lists = faults.add(method="GET", path=CLUSTER_WIDE, times=None)
    world.apply(expose={"type": "ingress", "hosts": [host]})
    world.reconcile()
    assert lists.hits == 1
    world.reconcile()
    assert lists.hits == 1
    world.apply(expose={"type": "ingress", "hosts": [f"other.{host}"]})
    services = world.services()
    services.kube.patch_status(APPLICATIONS, "cart", {"hosts": [f"other.{host}"]}, world.namespace)
    services.close()
    world.reconcile()
    assert lists.hits == 2


def _made_later(world, older, host, own):
    world.http.delete(world.url("applications", "cart"))
    younger = world.apply("cart", expose={"type": "ingress", "hosts": [host, own]})
    return younger["metadata"]["creationTimestamp"] > older["metadata"]["creationTimestamp"]
