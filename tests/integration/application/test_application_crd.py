"""The CustomResourceDefinition of Applications, on the sandbox's API server and on a real one of
1.20.
"""

from __future__ import annotations

import httpx
import pytest

from tests.unit.application.conftest import application

BASE = "/apis/kubestorm.io/v1alpha1"


def test_an_application_is_stored_with_all_its_fields(http, namespace, applications):
    """The schema prunes nothing that the parser reads."""
    spec = {
        "follow": {"pattern": "v(.*)", "order": "numerical", "group": 1},
        "config": [
            {"prefix": "kubestorm/test/x/", "envPrefix": "A_"},
            {"key": "k", "file": "/etc/k"},
        ],
        "secrets": [{"path": "kubestorm/test/x/y", "key": "z", "env": "Z"}],
        "databases": [{"name": "orders", "envPrefix": "ORDERS"}],
        "replicas": {"min": 2, "max": 4, "targetCPU": 70, "targetMemory": 80},
        "expose": {
            "type": "ingress",
            "hosts": ["a.example.com"],
            "path": "/a",
            "tls": True,
            "class": "nginx",
        },
        "strategy": {
            "type": "Canary",
            "steps": [{"weight": 20, "pauseSeconds": 3, "test": False}],
            "maxSurge": 1,
        },
        "test": {
            "http": [{"path": "/", "status": 200, "contains": "ok", "headers": {"a": "b"}}],
            "timeoutSeconds": 9,
        },
        "patch": {"deployment": {"spec": {"minReadySeconds": 5}}},
    }
    wanted = application(spec, namespace=namespace)
    wanted["metadata"] = {"name": "cart"}
    answer = http.post(f"{BASE}/namespaces/{namespace}/applications", json=wanted)
    assert answer.status_code == httpx.codes.CREATED, answer.text
    assert answer.json()["spec"] == wanted["spec"]


REFUSED = {
    "repository": ({"image": {}}, "spec.image.repository"),
    "strategy": ({"strategy": {"type": "Magic"}}, "spec.strategy.type"),
    "port": ({"port": 70000}, "spec.port"),
    "weight": ({"strategy": {"type": "Canary", "steps": [{"weight": 100}]}}, "weight"),
    "order": ({"follow": {"pattern": "x", "order": "best"}}, "spec.follow.order"),
    "path": ({"test": {"http": [{"path": "/a/../../secrets/b"}]}}, "spec.test.http[0].path"),
    "encoded path": ({"test": {"http": [{"path": "/a/%2E%2e/b"}]}}, "spec.test.http[0].path"),
    "header": (
        {"test": {"http": [{"path": "/", "headers": {"a": "b\r\nc"}}]}},
        "spec.test.http[0].headers.a",
    ),
}


@pytest.mark.parametrize("spec, field", REFUSED.values(), ids=REFUSED)
def test_wrong_shapes_are_refused_when_they_are_applied(http, namespace, applications, spec, field):
    """With the field's name."""
    wanted = application(spec)
    wanted["metadata"] = {"name": "cart"}
    answer = http.post(f"{BASE}/namespaces/{namespace}/applications", json=wanted)
    assert answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY
    # Kubernetes 1.20 names no index in a list.
    message = answer.json()["message"]
    assert field in message or field.replace("[0]", "") in message


def test_scaling_an_application_changes_its_fewest_pods(http, namespace, applications):
    """`kubectl scale` works on it."""
    wanted = application({"replicas": {"min": 1}})
    wanted["metadata"] = {"name": "cart"}
    url = f"{BASE}/namespaces/{namespace}/applications"
    assert http.post(url, json=wanted).is_success
    scale = http.get(f"{url}/cart/scale").json()
    assert scale["spec"]["replicas"] == 1
    scale["spec"]["replicas"] = 3
    assert http.put(f"{url}/cart/scale", json=scale).is_success
    assert http.get(f"{url}/cart").json()["spec"]["replicas"] == {"min": 3}
