"""Every manifest that is rendered is one that a real API server takes, in the versions that it
serves.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from kubestorm.clients.api_versions import ApiVersions, discover_api_versions
from kubestorm.clients.kube import KubeSettings, connect
from kubestorm.kinds.application import render
from kubestorm.kinds.application.spec import parse

from tests.kube_shapes import apply_patch
from tests.unit.application.conftest import application, pack_settings

IMAGE = "registry.example.com/team/cart@sha256:" + "a" * 64
EVERYTHING: dict[str, Any] = {
    "command": ["./cart"],
    "args": ["--serve"],
    "env": {"A": "1", "B": "2"},
    "health": {"http": {"path": "/ready", "livePath": "/live"}, "startSeconds": 33},
    "config": [
        {"prefix": "kubestorm/test/NS/shop/"},
        {"key": "kubestorm/test/NS/app.yaml", "file": "/etc/cart/app.yaml"},
    ],
    "secrets": [
        {"path": "kubestorm/test/NS/stripe"},
        {"path": "kubestorm/test/NS/tls", "key": "k", "file": "/etc/k.pem"},
    ],
    "databases": [{"name": "orders"}],
    "replicas": {"min": 2, "max": 6, "targetCPU": 70, "targetMemory": 80},
    "expose": {
        "type": "ingress",
        "hosts": ["cart.example.com", "*.cart.example.com"],
        "class": "nginx",
    },
    "pullSecret": "pull",
    "serviceAccount": "cart",
}
SPECS: dict[str, dict[str, Any]] = {
    "everything": EVERYTHING,
    "little": {},
    "no port": {"port": None, "health": {"command": ["true"]}, "spread": "nodes"},
    "node port": {"expose": {"type": "nodePort"}, "health": {"tcp": {}}, "spread": "none"},
    "load balancer": {"expose": {"type": "loadBalancer", "port": 443}},
    "recreate": {"strategy": {"type": "Recreate"}},
    "surge by number": {"strategy": {"maxSurge": 1, "maxUnavailable": "10%"}},
    "patched": {
        "patch": {
            "deployment": {
                "spec": {
                    "minReadySeconds": 5,
                    "template": {
                        "spec": {
                            "containers": [
                                {"name": "app", "tty": True},
                                {"name": "log", "image": "l:1"},
                            ]
                        }
                    },
                }
            },
            "service": {"metadata": {"annotations": {"a/b": "c"}}},
        }
    },
}


def manifests(app, api: ApiVersions) -> list[dict[str, Any]]:
    """All objects of an Application, both tracks."""
    made = [
        render.deployment(
            app, track="stable", image=IMAGE, replicas=2, config_hash="h", image_tag="1.2"
        ),
        render.deployment(app, track="canary", image=IMAGE, replicas=None, config_hash="h"),
        render.autoscaler(app, "cart", api),
        render.disruption_budget(app, api),
        render.ingress(app, api),
        render.config_map(app, render.config_map_name(app.name), {"A": "b"}, "h"),
        render.secret(app, render.secret_name(app.name), {"A": "Yg=="}, "h"),
    ]
    if app.port is not None:
        made += [render.service(app, tracks=("stable",))]
    return [manifest for manifest in made if manifest is not None]


def spec_of(name: str, namespace: str, uid: str) -> Any:
    """One of SPECS, parsed for a namespace that may patch and read its own."""
    text = json.dumps(SPECS[name]).replace("/NS/", f"/{namespace}/")
    return parse(
        application(json.loads(text), namespace=namespace, uid=uid),
        pack_settings(allow_patch=["*"]),
    )


PLURALS = {
    "Deployment": "deployments",
    "Service": "services",
    "Ingress": "ingresses",
    "ConfigMap": "configmaps",
    "Secret": "secrets",
    "HorizontalPodAutoscaler": "horizontalpodautoscalers",
    "PodDisruptionBudget": "poddisruptionbudgets",
}


def url_of(manifest: dict[str, Any]) -> str:
    version = manifest["apiVersion"]
    base = f"/apis/{version}" if "/" in version else f"/api/{version}"
    metadata = manifest["metadata"]
    return (
        f"{base}/namespaces/{metadata['namespace']}/{PLURALS[manifest['kind']]}/{metadata['name']}"
    )


@pytest.mark.parametrize("name", SPECS)
def test_the_api_server_takes_what_is_rendered_and_keeps_every_field(
    kube, http, namespace, applications, name
):
    """Applied twice, the second changes nothing; no field is dropped or written another way."""
    client = connect(KubeSettings(kubeconfig=str(kube.kubeconfig)))
    # Without an owner that exists the garbage collector would take it all away.
    owner = http.post(applications, json={**application(), "metadata": {"name": "cart"}}).json()
    app = spec_of(name, namespace, owner["metadata"]["uid"])
    for manifest in manifests(app, discover_api_versions(client)):
        answer = apply_patch(http, url_of(manifest), manifest, "kubestorm")
        assert answer.is_success, answer.text
        stored = answer.json()
        assert missing(manifest, stored) == []
        again = apply_patch(http, url_of(manifest), manifest, "kubestorm").json()
        # Not resourceVersion: controllers write statuses meanwhile, where there are any.
        assert again["metadata"].get("generation") == stored["metadata"].get("generation")
        assert owned(again) == owned(stored)
    client.close()


def owned(stored: dict[str, Any]) -> list[Any]:
    """What our own manager has applied, and when."""
    return [
        entry for entry in stored["metadata"]["managedFields"] if entry["manager"] == "kubestorm"
    ]


def missing(wanted: Any, found: Any, path: str = "") -> list[str]:
    """The places where what is stored is not what was asked for."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        return [
            place
            for key in wanted
            for place in missing(wanted[key], found.get(key), f"{path}.{key}")
        ]
    if isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        pairs = zip(wanted, found, strict=True)
        return [
            place
            for n, (ours, theirs) in enumerate(pairs)
            for place in missing(ours, theirs, f"{path}[{n}]")
        ]
    return [] if wanted == found else [f"{path}: {wanted!r} is {found!r}"]


def test_discovery_finds_what_the_cluster_serves(kube):
    """1.20 has autoscaling/v2beta2 and policy/v1beta1; the sandbox the versions of today."""
    client = connect(KubeSettings(kubeconfig=str(kube.kubeconfig)))
    found = discover_api_versions(client)
    client.close()
    assert found in (ApiVersions("v2", "v1", "v1"), ApiVersions("v2beta2", "v1beta1", "v1"))
    assert kube.is_real or found == ApiVersions("v2", "v1", "v1")
