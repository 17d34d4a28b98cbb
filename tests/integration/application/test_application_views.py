"""Applications as people read them."""

from __future__ import annotations

import json

import pytest
from kubestorm.clients.resources import DEPLOYMENTS
from kubestorm.kinds.application.commands import (
    application_status,
    list_applications,
    show_application,
)


def test_a_list_a_status_and_the_whole(world):
    """The same facts in three sizes, each naming what is wrong."""
    world.apply(replicas={"min": 2}, databases=[{"name": "orders"}])
    world.want_image()
    world.reconcile()
    world.apply("other", health=None)
    world.reconcile("other")
    services = world.services()
    lines = {line["name"]: line for line in list_applications(services, world.namespace)}
    assert list(lines) == ["cart", "other"]
    assert (lines["cart"]["ready"], lines["cart"]["reason"]) == ("False", "WaitingForDatabase")
    assert (lines["other"]["ready"], lines["other"]["reason"]) == ("False", "InvalidSpec")
    status = application_status(services, world.namespace, "cart")
    assert "WaitingForDatabase: spec.databases: there is no Database orders" in status["summary"]
    assert [item["type"] for item in status["conditions"]] == [
        "SpecValid",
        "HostClaimed",
        "Applied",
        "RolledOut",
        "Ready",
    ]
    shown = show_application(services, world.namespace, "cart")
    services.close()
    there = {item["kind"]: item["exists"] for item in shown["objects"]}
    assert there == {
        "Deployment": False,
        "Service": True,
        "PodDisruptionBudget": True,
        "ConfigMap": False,
        "Secret": False,
    }
    assert [rollout["tag"] for rollout in shown["rollouts"]] == ["1.a"]
    json.dumps([lines, status, shown])


def test_an_application_that_is_well_is_said_to_be(world, kube):
    """One sentence with the version and the pods."""
    if kube.is_real:
        pytest.skip(
            "a real controller writes the Deployment's status, and there is no node for its pods"
        )
    world.apply()
    world.want_image()
    world.reconcile()
    status = {
        "observedGeneration": 1,
        "replicas": 1,
        "updatedReplicas": 1,
        "availableReplicas": 1,
        "readyReplicas": 1,
    }
    services = world.services()
    services.kube.patch_status(DEPLOYMENTS, "cart", status, world.namespace)
    world.reconcile()
    found = application_status(services, world.namespace, "cart")
    services.close()
    assert found["summary"] == f"{world.namespace}/cart runs 1.a, 1 of 1 pods available: ready."
    assert found["ready"] == "True"
