"""The manifests of an Application: what is fixed, what follows from its few values, what is left to
others.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubestorm.clients.api_versions import ApiVersions, choose
from kubestorm.kinds.application import render

DIGEST = "sha256:" + "a" * 64
IMAGE = f"registry.example.com/team/cart@{DIGEST}"
NEW, OLD, OLDEST = (
    ApiVersions(),
    ApiVersions("v2beta2", "v1beta1", "v1"),
    ApiVersions("v1", None, None),
)


def deployed(app, **more):
    return render.deployment(
        app, **{"track": "stable", "image": IMAGE, "replicas": 2, "config_hash": "h", **more}
    )


@pytest.mark.parametrize(
    "track, name", [("stable", "cart"), ("canary", "cart-canary"), ("green", "cart-green")]
)
def test_a_deployment_selects_its_application_and_track(parsed, track, name):
    """From the beginning and under every strategy, as selectors cannot change."""
    manifest = deployed(parsed(), track=track)
    selector = {"kubestorm.io/application": "cart", "kubestorm.io/track": track}
    assert manifest["metadata"]["name"] == name
    assert manifest["spec"]["selector"]["matchLabels"] == selector
    assert selector.items() <= manifest["spec"]["template"]["metadata"]["labels"].items()
    assert manifest["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "kubestorm"
    assert manifest["metadata"]["ownerReferences"][0]["uid"] == "u-1"


def test_an_image_is_deployed_by_digest_alone(parsed):
    """A tag is told in an annotation of the Deployment, which rolls no pods."""
    manifest = deployed(parsed(), image_tag="1.2")
    assert manifest["spec"]["template"]["spec"]["containers"][0]["image"] == IMAGE
    assert manifest["metadata"]["annotations"]["kubestorm.io/image-tag"] == "1.2"
    assert "kubestorm.io/image-tag" not in deployed(parsed())["metadata"]["annotations"]
    with pytest.raises(ValueError, match="by its digest"):
        deployed(parsed(), image="registry.example.com/team/cart:1.2")


def test_replicas_are_left_out_for_an_autoscaler(parsed):
    """A field that is not applied is not ours."""
    assert "replicas" not in deployed(parsed(), replicas=None)["spec"]


def test_probes_follow_from_few_values(parsed):
    """Restart comes after twice as many failures as the end of requests."""
    health = {
        "http": {"path": "/ready", "livePath": "/live"},
        "startSeconds": 32,
        "failures": 4,
        "everySeconds": 7,
    }
    container = deployed(parsed(health=health))["spec"]["template"]["spec"]["containers"][0]
    get = {"port": 8080, "scheme": "HTTP"}
    assert container["startupProbe"] == {
        "httpGet": {"path": "/ready", **get}, "periodSeconds": 5, "timeoutSeconds": 2,
        "failureThreshold": 7,
    }  # fmt: skip
    assert container["readinessProbe"] == {
        "httpGet": {"path": "/ready", **get}, "periodSeconds": 7, "timeoutSeconds": 2,
        "failureThreshold": 4,
    }  # fmt: skip
    assert container["livenessProbe"] == {
        "httpGet": {"path": "/live", **get}, "periodSeconds": 7, "timeoutSeconds": 2,
        "failureThreshold": 8,
    }  # fmt: skip


PROBES = {
    "tcp": ({"tcp": {"port": 5432}}, {"tcpSocket": {"port": 5432}}),
    "command": ({"command": ["pg_isready"]}, {"exec": {"command": ["pg_isready"]}}),
}


@pytest.mark.parametrize("health, handler", PROBES.values(), ids=PROBES)
def test_each_kind_of_health_check_has_its_handler(parsed, health, handler):
    """In all three probes."""
    container = deployed(parsed(health=health))["spec"]["template"]["spec"]["containers"][0]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert handler.items() <= container[probe].items()


@given(start=st.integers(1, 3600))
def test_the_startup_probe_allows_at_least_the_time_it_may_take(parsed_health, start):
    """And less than one period more."""
    probe = parsed_health(start)["startupProbe"]
    assert (
        start <= probe["periodSeconds"] * probe["failureThreshold"] < start + probe["periodSeconds"]
    )


@pytest.fixture(scope="module")
def parsed_health():
    """The probes of a health check with that start time."""
    from kubestorm.kinds.application.values import Health

    return lambda start: render._probes(Health(http_path="/", port=80, start_seconds=start))


def test_a_service_selects_one_track_or_all(parsed):
    """All of them while a canary shares the requests."""
    one, both = (
        render.service(parsed(), tracks=tracks) for tracks in (("green",), ("stable", "canary"))
    )
    assert one["spec"]["selector"] == {
        "kubestorm.io/application": "cart",
        "kubestorm.io/track": "green",
    }
    assert both["spec"]["selector"] == {"kubestorm.io/application": "cart"}
    assert one["metadata"]["annotations"]["kubestorm.io/active-track"] == "green"
    assert one["spec"]["type"] == "ClusterIP"


def test_an_ingress_serves_the_hosts_it_may_have(parsed):
    """Another Application's host is left out of rules and certificate."""
    app = parsed(
        expose={"type": "ingress", "hosts": ["a.example.com", "b.example.com"], "path": "/cart"}
    )
    manifest = render.ingress(app, NEW, hosts=["b.example.com"])
    assert manifest is not None
    assert [rule["host"] for rule in manifest["spec"]["rules"]] == ["b.example.com"]
    assert manifest["spec"]["rules"][0]["http"]["paths"][0]["path"] == "/cart"
    assert manifest["spec"]["tls"] == [{"hosts": ["b.example.com"], "secretName": "cart-tls"}]
    assert render.ingress(app, NEW, hosts=[]) is None
    assert render.ingress(parsed(), NEW) is None


def test_an_autoscaler_is_written_as_the_cluster_knows_it(parsed):
    """Metrics, or the one field of autoscaling/v1; none at all for a fixed number."""
    app = parsed(replicas={"min": 2, "max": 5, "targetCPU": 70, "targetMemory": 60})
    for api in (NEW, OLD):
        manifest = render.autoscaler(app, "cart-green", api)
        assert manifest is not None
        assert manifest["apiVersion"] == f"autoscaling/{api.autoscaling}"
        assert manifest["spec"]["scaleTargetRef"]["name"] == "cart-green"
        named = {
            m["resource"]["name"]: m["resource"]["target"]["averageUtilization"]
            for m in manifest["spec"]["metrics"]
        }
        assert named == {"cpu": 70, "memory": 60}
    oldest = render.autoscaler(app, "cart", OLDEST)
    assert oldest is not None
    assert oldest["spec"]["targetCPUUtilizationPercentage"] == 70
    assert render.autoscaler(parsed(replicas={"min": 3}), "cart", NEW) is None


def test_a_disruption_budget_is_for_two_pods_or_more(parsed):
    """One pod alone could never be drained, or is not protected: it has none."""
    assert render.disruption_budget(parsed(), NEW) is None
    manifest = render.disruption_budget(parsed(replicas={"min": 2}), OLD)
    assert manifest is not None
    assert manifest["apiVersion"] == "policy/v1beta1"
    assert manifest["spec"]["selector"]["matchLabels"] == {"kubestorm.io/application": "cart"}


def test_what_comes_from_outside_reaches_the_pod(parsed):
    """Variables of both objects, the Secret last; files at their paths."""
    own = "kubestorm/test/shop"
    app = parsed(
        config=[
            {"prefix": f"{own}/flags/"},
            {"key": f"{own}/app.yaml", "file": "/etc/cart/app.yaml"},
        ],
        secrets=[{"path": f"{own}/tls", "key": "key", "file": "/etc/cart/key.pem"}],
        databases=[{"name": "orders"}],
    )
    pod = deployed(app)["spec"]["template"]["spec"]
    assert pod["containers"][0]["envFrom"] == [
        {"configMapRef": {"name": "cart-config"}},
        {"secretRef": {"name": "cart-secrets"}},
    ]
    mounts = {
        mount["mountPath"]: (mount["name"], mount["subPath"])
        for mount in pod["containers"][0]["volumeMounts"]
    }
    assert mounts == {
        "/etc/cart/app.yaml": ("config-files", "etc.cart.app.yaml"),
        "/etc/cart/key.pem": ("secret-files", "etc.cart.key.pem"),
    }


def test_pods_get_no_token_unless_they_run_as_somebody(parsed):
    """A service account that is named is one that is used."""
    assert deployed(parsed())["spec"]["template"]["spec"]["automountServiceAccountToken"] is False
    pod = deployed(parsed(serviceAccount="cart"))["spec"]["template"]["spec"]
    assert (pod["serviceAccountName"], pod["automountServiceAccountToken"]) == ("cart", True)


def test_pods_are_spread_over_zones_by_default(parsed):
    """As a wish: no pod stays pending for it."""
    pod = deployed(parsed())["spec"]["template"]["spec"]
    assert pod["topologySpreadConstraints"][0]["whenUnsatisfiable"] == "ScheduleAnyway"
    assert pod["topologySpreadConstraints"][0]["topologyKey"] == "topology.kubernetes.io/zone"
    none = deployed(parsed(spread="none"))["spec"]["template"]["spec"]
    assert not {"affinity", "topologySpreadConstraints"} & set(none)


def test_a_patch_changes_what_it_names_and_never_whose_it_is(parsed):
    """Lists of named objects are merged by name; image, labels and config stay the pack's."""
    change = {
        "metadata": {"labels": {"team": "x", "kubestorm.io/application": "other"}},
        "spec": {
            "template": {
                "metadata": {
                    "labels": {"kubestorm.io/track": "other"},
                    "annotations": {"kubestorm.io/config-hash": "x"},
                },
                "spec": {
                    "containers": [
                        {"name": "app", "image": "evil:1", "tty": True},
                        {"name": "log", "image": "log:1"},
                    ]
                },
            }
        },
    }
    manifest = deployed(parsed({"allow_patch": ["*"]}, patch={"deployment": change}))
    template = manifest["spec"]["template"]
    ours, log = template["spec"]["containers"]
    assert (ours["image"], ours["tty"], log["name"]) == (IMAGE, True, "log")
    assert manifest["metadata"]["labels"]["team"] == "x"
    assert manifest["metadata"]["labels"]["kubestorm.io/application"] == "cart"
    assert template["metadata"]["labels"]["kubestorm.io/track"] == "stable"
    assert template["metadata"]["annotations"]["kubestorm.io/config-hash"] == "h"


CHANGES = {
    "set": ({"a": 1}, {"b": 2}, {"a": 1, "b": 2}),
    "remove": ({"a": 1, "b": 2}, {"a": None}, {"b": 2}),
    "nested": ({"a": {"b": 1, "c": 2}}, {"a": {"c": 3}}, {"a": {"b": 1, "c": 3}}),
    "plain list": ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
    "named list": (
        {"a": [{"name": "x", "v": 1}, {"name": "y"}]},
        {"a": [{"name": "x", "v": 2}, {"name": "z"}]},
        {"a": [{"name": "x", "v": 2}, {"name": "y"}, {"name": "z"}]},
    ),
}


@pytest.mark.parametrize("value, change, merged", CHANGES.values(), ids=CHANGES)
def test_merge_patch(value, change, merged):
    """As RFC 7386, and named lists by name."""
    assert render.merge_patch(value, change) == merged


SERVED = {
    "new": (["v2", "v1"], "v2"),
    "1.20": (["v1", "v2beta1", "v2beta2"], "v2beta2"),
    "old": (["v1"], "v1"),
    "none": ([], None),
}


@pytest.mark.parametrize("served, chosen", SERVED.values(), ids=SERVED)
def test_the_best_known_version_is_chosen(served, chosen):
    """Out of those that the cluster serves."""
    group = {"versions": [{"version": version} for version in served]}
    assert choose(group, ("v2", "v2beta2", "v1")) == chosen
