"""What an Application becomes in the cluster: made, changed, removed, and left to others."""

from __future__ import annotations

import pytest
from kubestorm.clients.api_versions import discover_api_versions
from kubestorm.kinds.application.rollout.act import EffectExecutor
from kubestorm.kinds.application.rollout.commands import freeze
from kubestorm.kinds.application.rollout.observe import observe
from kubestorm.kinds.application.rollout.values import Autoscale, Select
from kubestorm.kinds.application.spec import parse

from tests.kube_fixtures import eventually
from tests.kube_shapes import patch

FULL = {
    "replicas": {"min": 2, "max": 4},
    "expose": {"type": "ingress", "hosts": ["cart.example.com"], "tls": False},
}
KINDS = ("deployments", "services", "ingresses", "horizontalpodautoscalers", "poddisruptionbudgets")


def unique(world, spec):
    """Hosts are the whole cluster's, and tests share one."""
    return {**spec, "expose": {**spec["expose"], "hosts": [f"cart.{world.namespace}.example.com"]}}


def test_an_application_becomes_its_objects_and_a_second_look_writes_nothing(world):
    """All are owned by it; nothing is sent where nothing differs."""
    uid = world.apply(**unique(world, FULL))["metadata"]["uid"]
    world.want_image()
    world.reconcile()
    made = {plural: world.get(plural) for plural in KINDS}
    for plural, found in made.items():
        assert found is not None, plural
        assert [owner["uid"] for owner in found["metadata"]["ownerReferences"]] == [uid], plural
    for kind in ("SpecValid", "HostClaimed", "Applied"):
        assert world.condition(kind)[0] == "True", world.condition(kind)
    # Controllers write statuses meanwhile, where there are any.
    eventually(lambda: is_at_rest(world), "a look changes nothing")
    again = world.reconcile()
    assert set(again["objects"]["objects"]) | set(again["rollout"]["objects"]) == {"unchanged"}


def is_at_rest(world):
    """Whether a look leaves every object as it is."""
    before = versions(world)
    world.reconcile()
    return versions(world) == before


def versions(world):
    """resourceVersion of everything."""
    return {
        plural: world.get(plural)["metadata"]["resourceVersion"]
        for plural in ("applications", *KINDS)
    }


def test_what_is_no_longer_wished_is_removed(world):
    """And only that."""
    world.apply(**unique(world, FULL))
    world.want_image()
    world.reconcile()
    world.apply(replicas={"min": 1})
    results = world.reconcile()
    assert set(results["objects"]["objects"]["removed"]) == {
        "Ingress cart",
        "HorizontalPodAutoscaler cart",
        "PodDisruptionBudget cart",
    }
    assert [plural for plural in KINDS if world.get(plural)] == ["deployments", "services"]
    world.apply(port=None, health={"command": ["true"]})
    world.reconcile()
    assert world.get("services") is None


def test_a_field_that_is_no_longer_wished_goes(world):
    """Server-side apply takes back what was ours alone."""
    world.apply(env={"A": "1", "B": "2"})
    world.want_image()
    world.reconcile()
    world.apply(env={"A": "1"})
    world.reconcile()
    container = world.get("deployments")["spec"]["template"]["spec"]["containers"][0]
    assert container["env"] == [{"name": "A", "value": "1"}]


def test_an_object_of_that_name_that_is_not_ours_is_not_touched(world):
    """It is told whose it is, and what to do."""
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "cart"},
        "spec": {"ports": [{"port": 1}], "selector": {"a": "b"}},
    }
    assert world.http.post(world.url("services", "").rstrip("/"), json=service).is_success
    before = world.get("services")
    world.apply()
    world.want_image()
    assert "error" in world.reconcile()
    status, reason, message = world.condition("Applied")
    assert (status, reason) == ("False", "ForeignObject")
    assert "Service cart exists already" in message
    assert "belongs to nobody" in message
    assert world.get("services") == before
    world.apply(port=None, health={"command": ["true"]})
    world.reconcile()
    assert world.get("services") == before, "what is not ours is not removed either"


EXPOSURES = {
    "node port to internal": ({"type": "nodePort"}, {"type": "internal"}, "ClusterIP"),
    "internal to load balancer": ({"type": "internal"}, {"type": "loadBalancer"}, "LoadBalancer"),
    "another port": ({"port": 80}, {"port": 8081}, "ClusterIP"),
}


@pytest.mark.parametrize("before, after, type_", EXPOSURES.values(), ids=EXPOSURES)
def test_exposure_can_change(world, before, after, type_):
    """The Service stays the same object."""
    world.apply(expose=before)
    world.reconcile()
    uid = world.get("services")["metadata"]["uid"]
    world.apply(expose=after)
    results = world.reconcile()
    assert "error" not in results, results
    service = world.get("services")
    assert (service["metadata"]["uid"], service["spec"]["type"]) == (uid, type_)
    assert [port["port"] for port in service["spec"]["ports"]] == [after.get("port", 80)]


def test_what_others_add_stays(world):
    """Annotations, labels and variables of another field manager survive a change of ours."""
    world.apply(env={"A": "1"})
    world.want_image()
    world.reconcile()
    theirs = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "cart", "annotations": {"other.io/note": "x"}},
        "spec": {
            "template": {
                "spec": {
                    "containers": [{"name": "app", "env": [{"name": "INJECTED", "value": "1"}]}]
                }
            }
        },
    }
    assert world.apply_as("injector", "deployments", theirs).is_success
    world.apply(env={"A": "2"})
    world.reconcile()
    found = world.get("deployments")
    assert found["metadata"]["annotations"]["other.io/note"] == "x"
    env = {
        item["name"]: item["value"]
        for item in found["spec"]["template"]["spec"]["containers"][0]["env"]
    }
    assert env == {"A": "2", "INJECTED": "1"}
    assert world.condition("Applied")[0] == "True"


@pytest.mark.parametrize("subresource", ["", "/scale"], ids=["edit", "scale"])
def test_a_person_who_scales_keeps_the_number_and_it_is_told(world, kube, subresource):
    """It is theirs from then on, until somebody takes it back."""
    if kube.is_real and subresource:
        pytest.skip("1.20 keeps no account of who used the scale subresource (later versions do)")
    world.apply(replicas={"min": 2})
    world.want_image()
    world.reconcile()
    url = world.url("deployments", "cart") + subresource
    patch(
        world.http, url, {"spec": {"replicas": 5}}, "merge", fieldManager="kubectl"
    ).raise_for_status()
    world.reconcile()
    assert world.get("deployments")["spec"]["replicas"] == 5
    message = world.condition("RolledOut")[2]
    assert "spec.replicas of Deployment cart is left to kubectl" in message
    assert "kubestorm.io/take-fields" in message
    world.apply(replicas={"min": 2}, env={"NEW": "1"})
    world.reconcile()
    found = world.get("deployments")
    assert found["spec"]["replicas"] == 5
    assert found["spec"]["template"]["spec"]["containers"][0]["env"] == [
        {"name": "NEW", "value": "1"}
    ]
    world.annotate(**{"kubestorm.io/take-fields": "yes"})
    world.reconcile()
    assert world.get("deployments")["spec"]["replicas"] == 2
    assert "kubestorm.io/take-fields" not in (world.get()["metadata"].get("annotations") or {})
    world.reconcile()
    assert "left to" not in world.condition("RolledOut")[2]


def test_a_field_that_another_tool_took_is_told_by_name_and_not_forced(world):
    """The rest of the object still follows the Application."""
    world.apply(expose={"port": 80})
    world.reconcile()
    theirs = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "cart"},
        "spec": {"ports": [{"port": 80, "protocol": "TCP", "targetPort": 9999}]},
    }
    assert world.apply_as("mesh", "services", theirs).is_success
    world.apply(expose={"port": 80}, port=8081, health={"tcp": {}})
    world.reconcile()
    assert world.get("services")["spec"]["ports"][0]["targetPort"] == 9999
    status, reason, message = world.condition("Applied")
    assert (status, reason) == ("False", "FieldsOwnedByOthers")
    assert "targetPort of Service cart is left to mesh" in message


def test_the_image_is_the_packs_alone(world):
    """`kubectl set image` does not last: the pods run what the Application says they run."""
    world.apply()
    world.want_image("a")
    world.reconcile()
    body = {"spec": {"template": {"spec": {"containers": [{"name": "app", "image": "evil:1"}]}}}}
    patch(
        world.http,
        world.url("deployments", "cart"),
        body,
        "strategic-merge",
        fieldManager="kubectl-set",
    )
    world.reconcile()
    image = world.get("deployments")["spec"]["template"]["spec"]["containers"][0]["image"]
    assert image == f"registry.example.com/team/cart@sha256:{'a' * 64}"


def test_the_number_of_pods_is_handed_over_to_an_autoscaler_without_a_drop(world):
    """From a fixed number to an autoscaled one and on: never back to 1 in between."""
    world.apply(replicas={"min": 3})
    world.want_image()
    world.reconcile()
    world.apply(replicas={"min": 2, "max": 6})
    world.reconcile()
    assert world.get("deployments")["spec"]["replicas"] == 3
    world.reconcile()
    assert world.get("deployments")["spec"]["replicas"] == 3
    url = f"{world.url('deployments', 'cart')}/scale"
    patch(
        world.http, url, {"spec": {"replicas": 5}}, "merge", fieldManager="kube-controller-manager"
    ).raise_for_status()
    world.apply(replicas={"min": 2, "max": 6}, env={"A": "1"})
    world.reconcile()
    found = world.get("deployments")
    assert found["spec"]["replicas"] == 5
    assert world.condition("Applied")[:2] == ("True", "Applied")
    assert "left to" not in world.condition("RolledOut")[2]


@pytest.mark.parametrize("scaled", [False, True], ids=["untouched", "scaled by the autoscaler"])
def test_a_fixed_number_of_pods_follows_an_autoscaled_one(world, scaled):
    """What our own autoscaler has left is taken back, once; what a person sets after that is theirs
    again.
    """
    world.apply(replicas={"min": 2, "max": 6})
    world.want_image()
    world.reconcile()
    world.reconcile()
    if scaled:
        url = f"{world.url('deployments', 'cart')}/scale"
        hpa = "kube-controller-manager"
        patch(
            world.http, url, {"spec": {"replicas": 5}}, "merge", fieldManager=hpa
        ).raise_for_status()
        world.reconcile()
        assert world.get("deployments")["spec"]["replicas"] == 5
    world.apply(replicas={"min": 3})
    world.reconcile()
    found = world.get("deployments")
    assert found["spec"]["replicas"] == 3
    assert "left to" not in world.condition("RolledOut")[2]
    assert "kubestorm.io/autoscaled" not in found["metadata"]["annotations"]
    body = {"spec": {"replicas": 4}}
    patch(
        world.http, world.url("deployments", "cart"), body, "merge", fieldManager="kubectl"
    ).raise_for_status()
    world.reconcile()
    assert world.get("deployments")["spec"]["replicas"] == 4


def test_an_application_without_an_image_waits_and_says_so(world):
    """Its other objects are there already; a registry that is away is asked again."""
    world.apply()
    world.reconcile()
    assert world.condition("RolledOut")[:2] == ("Unknown", "RegistryUnavailable")
    assert world.get("services") is not None
    assert world.get("deployments") is None
    world.apply(follow=None)
    world.reconcile()
    assert world.condition("RolledOut")[:2] == ("Unknown", "WaitingForImage")


def test_an_invalid_spec_touches_nothing(world):
    """What runs goes on as it was."""
    world.apply()
    world.want_image()
    world.reconcile()
    before = world.get("deployments")["metadata"]["generation"]
    world.apply(health=None)
    results = world.reconcile()
    assert {result["skipped"] for result in results.values()} == {True}
    assert "InvalidSpec: spec.health" in results["configuration"]["message"]
    assert world.condition("SpecValid")[:2] == ("False", "InvalidSpec")
    assert world.condition("Ready")[:2] == ("False", "InvalidSpec")
    assert world.get("deployments")["metadata"]["generation"] == before


def test_the_active_track_is_the_services(world):
    """After a switch to green, the Deployment that follows changes is the green one."""
    world.apply()
    world.reconcile()
    body = {"metadata": {"annotations": {"kubestorm.io/active-track": "green"}}}
    patch(
        world.http, world.url("services", "cart"), body, "merge", fieldManager="kubestorm"
    ).raise_for_status()
    world.want_image()
    world.reconcile()
    assert world.get("deployments") is None
    assert world.get("deployments", "cart-green") is not None
    assert world.get("services")["spec"]["selector"]["kubestorm.io/track"] == "green"
    assert world.get()["status"]["activeTrack"] == "green"


def test_a_wish_begins_a_rollout_and_leaves_it_its_objects(world):
    """While it goes on, Deployments, the Service's selector and the autoscaler are the Rollout's
    alone.
    """
    world.apply(replicas={"min": 2, "max": 4})
    world.want_image("a")
    world.reconcile()
    wish = (
        f'{{"tag": "1.b", "digest": "sha256:{"b" * 64}", "pushed_at": "2026-01-01T00:00:00Z", '
        '"event_id": "e1"}'
    )
    world.annotate(**{"kubestorm.io/wanted-image": wish})
    begun = world.reconcile()["rollout"]["rollout"]
    assert begun.startswith("cart-bbbbbbbb-")
    carry_out(world, Select(()), Autoscale("stable", 3))
    before = world.get("deployments")["metadata"]["generation"]
    world.apply(replicas={"min": 2, "max": 4}, env={"A": "1"})
    assert world.reconcile()["rollout"]["rollout"] == begun
    assert world.get("deployments")["metadata"]["generation"] == before
    assert world.get("services")["spec"]["selector"] == {"kubestorm.io/application": "cart"}
    assert world.get("horizontalpodautoscalers")["spec"]["maxReplicas"] == 3
    finish(world, begun)
    world.reconcile()
    container = world.get("deployments")["spec"]["template"]["spec"]["containers"][0]
    assert container["image"].endswith("b" * 64)
    assert container["env"] == [{"name": "A", "value": "1"}]
    assert world.get("services")["spec"]["selector"]["kubestorm.io/track"] == "stable"
    assert world.get("horizontalpodautoscalers")["spec"]["maxReplicas"] == 4


def carry_out(world, *effects):
    """What the Rollout's own run does to the Application's objects."""
    services, resource = world.services(), world.get()
    api = discover_api_versions(services.kube)
    spec = parse(resource, services.settings)
    observed = observe(services.kube, resource, autoscalers=api.autoscalers)
    EffectExecutor(services.kube, resource, spec, api, config_hash="", tags={}).execute(
        effects, observed
    )
    services.close()


def finish(world, name):
    """The Rollout has come to all pods."""
    url = f"/apis/kubestorm.io/v1alpha1/namespaces/{world.namespace}/rollouts/{name}/status"
    patch(world.http, url, {"status": {"phase": "Complete"}}, "merge").raise_for_status()


def test_a_frozen_application_says_who_froze_it(world):
    """Its pods are well, and a newer image waits."""
    world.apply()
    world.want_image("a")
    world.reconcile()
    wish = (
        f'{{"tag": "1.b", "digest": "sha256:{"b" * 64}", "pushed_at": "2026-01-01T00:00:00Z", '
        '"event_id": "e1"}'
    )
    world.annotate(**{"kubestorm.io/wanted-image": wish})
    freeze(world.services(), world.namespace, "cart", "ada", "release day")
    assert world.reconcile()["rollout"]["rollout"] == ""
    container = world.get("deployments")["spec"]["template"]["spec"]["containers"][0]
    assert container["image"].endswith("a" * 64)
