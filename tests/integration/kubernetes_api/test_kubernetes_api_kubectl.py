"""kubectl, unchanged, as a person would use it."""

from __future__ import annotations

import json
from typing import Any

import pytest

Json = dict[str, Any]

pytestmark = pytest.mark.usefixtures("needs_kubectl")


def widget(replicas: int = 1, **spec: Any) -> Json:
    body = {"engine": "mysql", "replicas": replicas, **spec}
    return {"apiVersion": "demo.io/v1", "kind": "Widget", "metadata": {"name": "a"}, "spec": body}


def test_apply_wait_scale_and_delete(cluster: Any, namespace: str) -> None:
    """The daily round: apply twice, change, wait for a condition, scale, label, delete."""
    at = ("-n", namespace)
    assert (
        cluster.kubectl(*at, "apply", "-f", "-", stdin=widget()).stdout
        == "widget.demo.io/a created\n"
    )
    assert (
        cluster.kubectl(*at, "apply", "-f", "-", stdin=widget()).stdout
        == "widget.demo.io/a unchanged\n"
    )
    assert (
        cluster.kubectl(*at, "apply", "-f", "-", stdin=widget(2)).stdout
        == "widget.demo.io/a configured\n"
    )
    status = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    path = f"/apis/demo.io/v1/namespaces/{namespace}/widgets/a"
    cluster.raw("PATCH", f"{path}/status", status, Content_Type="application/merge-patch+json")
    cluster.kubectl(*at, "wait", "--for=condition=Ready", "wd/a", "--timeout=10s")
    cluster.kubectl(*at, "scale", "wd/a", "--replicas=4")
    cluster.kubectl(*at, "label", "wd", "a", "team=x")
    cluster.kubectl(*at, "annotate", "wd", "a", "why=test")
    found = json.loads(cluster.kubectl(*at, "get", "wd", "a", "-o", "json").stdout)
    assert (found["spec"]["replicas"], found["metadata"]["labels"]) == (4, {"team": "x"})
    cluster.kubectl(*at, "delete", "wd", "a")
    assert "No resources found" in cluster.kubectl(*at, "get", "demo").stderr


def test_columns(cluster: Any, namespace: str) -> None:
    """get prints the CRD's columns, by short name and by category."""
    cluster.kubectl("-n", namespace, "apply", "-f", "-", stdin=widget())
    for name in ("wd", "demo", "widgets.demo.io"):
        header, row = cluster.kubectl("-n", namespace, "get", name).stdout.splitlines()
        assert (header.split(), row.split()) == (["NAME", "ENGINE", "READY"], ["a", "mysql"])


def test_explain_reads_the_schema(cluster: Any) -> None:
    """Field names, types and descriptions come from the CRD."""
    text = cluster.kubectl("explain", "widgets.spec").stdout
    assert "Which database engine runs." in text
    assert "engine" in text
    assert "-required-" in text


def test_apply_refuses_what_the_schema_does_not_know(cluster: Any, namespace: str) -> None:
    """Without --validate=false a misspelt field is an error, and nothing is made."""
    done = cluster.kubectl(
        "-n", namespace, "apply", "-f", "-", stdin=widget(enginee="x"), check=False
    )
    assert done.returncode == 1
    assert 'unknown field "spec.enginee"' in done.stderr
    done = cluster.kubectl(
        "-n", namespace, "apply", "-f", "-", stdin=widget(replicas=11), check=False
    )
    assert (
        "spec.replicas: Invalid value: 11: spec.replicas in body should be less than or equal to 10"
        in done.stderr
    )


def test_core_kinds_apply_by_strategic_merge(cluster: Any, namespace: str) -> None:
    """A changed image changes that container; one that another client added stays."""
    container: Json = {"name": "web", "image": "nginx:1", "ports": [{"containerPort": 80}]}
    spec: Json = {
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}},
    }
    spec["template"]["spec"] = {"containers": [container]}
    body = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": spec,
    }
    cluster.kubectl("-n", namespace, "apply", "-f", "-", stdin=body)
    side = {"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "proxy:1"}]}}}}
    cluster.apps.patch_namespaced_deployment("web", namespace, side)
    container["image"] = "nginx:2"
    cluster.kubectl("-n", namespace, "apply", "-f", "-", stdin=body)
    found = cluster.apps.read_namespaced_deployment("web", namespace)
    assert {c.name: c.image for c in found.spec.template.spec.containers} == {
        "web": "nginx:2",
        "side": "proxy:1",
    }
    assert "0/1" in cluster.kubectl("-n", namespace, "get", "deploy", "web").stdout
    assert "nginx:2" in cluster.kubectl("-n", namespace, "describe", "deploy", "web").stdout


def test_server_side_apply_and_its_conflicts(cluster: Any, namespace: str) -> None:
    """kubectl shows whose field it is, and takes it over when told to."""
    at = ("-n", namespace, "apply", "--server-side", "-f", "-")
    cluster.kubectl(*at, "--field-manager=one", stdin=widget(2))
    done = cluster.kubectl(*at, "--field-manager=two", stdin=widget(3), check=False)
    assert 'conflict with "one": .spec.replicas' in done.stderr
    assert (
        "serverside-applied"
        in cluster.kubectl(*at, "--field-manager=two", "--force-conflicts", stdin=widget(3)).stdout
    )


def test_namespaces_and_what_is_served(cluster: Any) -> None:
    """A namespace is made and goes; api-resources lists ours among the others; can-i answers."""
    cluster.kubectl("create", "namespace", "shortlived")
    cluster.kubectl("-n", "shortlived", "create", "configmap", "c", "--from-literal=a=b")
    cluster.kubectl("delete", "namespace", "shortlived")
    assert "NotFound" in cluster.kubectl("get", "namespace", "shortlived", check=False).stderr
    names = cluster.kubectl("api-resources", "-o", "name").stdout.split()
    assert {"widgets.demo.io", "deployments.apps", "pods"} <= set(names)
    assert cluster.kubectl("auth", "can-i", "delete", "widgets").stdout == "yes\n"
