"""Two Applications that claim one ingress host, in one cluster."""

from __future__ import annotations

import secrets

import pytest

from tests.integration.application.test_application_outside import changed
from tests.kube_fixtures import eventually


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


def _made_later(world, older, host, own):
    world.http.delete(world.url("applications", "cart"))
    younger = world.apply("cart", expose={"type": "ingress", "hosts": [host, own]})
    return younger["metadata"]["creationTimestamp"] > older["metadata"]["creationTimestamp"]
