"""kubectl, unmodified, does on the sandbox's cluster what it does on a real one.

The kubectl on PATH is used, or the one that `KUBECTL` names.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.integration.controllers.conftest import Workloads
from tests.kube_fixtures import Kube, eventually
from tests.kube_shapes import deployment

TIMEOUT_SECONDS = 60


class Kubectl:
    """Runs kubectl against one cluster and namespace."""

    def __init__(self, program: str, kubeconfig: Path, namespace: str, home: Path) -> None:
        self.namespace = namespace
        self._home = home
        self._command = [
            program,
            f"--kubeconfig={kubeconfig}",
            f"--cache-dir={home}",
            f"--namespace={namespace}",
        ]

    def run(self, *arguments: str, stdin: Any = None) -> subprocess.CompletedProcess[str]:
        """Run to the end; `stdin` is a manifest or a list of them."""
        documents = stdin if isinstance(stdin, list) else [stdin]
        return subprocess.run(
            [*self._command, *arguments],
            input=yaml.safe_dump_all(documents) if stdin else None,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            env={"HOME": str(self._home), "PATH": os.environ["PATH"]},
            check=False,
        )

    def __call__(self, *arguments: str, stdin: Any = None) -> str:
        """What it prints; fails with what it complains of."""
        done = self.run(*arguments, stdin=stdin)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout


@pytest.fixture
def kubectl(running_kube: Kube, workloads: Workloads, tmp_path: Path) -> Kubectl:
    """kubectl for a fresh namespace."""
    program = os.environ.get("KUBECTL") or shutil.which("kubectl")
    if not program:
        pytest.skip(
            "no kubectl on PATH; on Debian: apt install kubernetes-client, or name one in KUBECTL"
        )
    return Kubectl(program, running_kube.kubeconfig, workloads.namespace, tmp_path)


@pytest.fixture
def group(kubectl: Kubectl, cluster: httpx.Client) -> Iterator[str]:
    """A group with the kind Gadget, defined through kubectl."""
    group = f"k{secrets.token_hex(4)}.example.com"
    schema = {
        "type": "object",
        "description": "A gadget is what this test is about.",
        "properties": {
            "spec": {
                "type": "object",
                "description": "What is wanted.",
                "properties": {"size": {"type": "string", "description": "How large it is."}},
            },
            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        },
    }
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}},
        "additionalPrinterColumns": [{"name": "Size", "type": "string", "jsonPath": ".spec.size"}],
    }
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"gadgets.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {
                "plural": "gadgets",
                "singular": "gadget",
                "kind": "Gadget",
                "shortNames": ["gad"],
            },
            "versions": [version],
        },
    }
    assert kubectl("apply", "-f", "-", stdin=definition).endswith("created\n")
    kubectl("wait", "--for=condition=Established", f"crd/gadgets.{group}", "--timeout=20s")
    yield group
    cluster.delete(f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/gadgets.{group}")


def gadget(group: str, size: str = "small") -> dict[str, Any]:
    """A Gadget manifest."""
    metadata = {"name": "mine"}
    return {
        "apiVersion": f"{group}/v1",
        "kind": "Gadget",
        "metadata": metadata,
        "spec": {"size": size},
    }


def words(text: str) -> list[list[str]]:
    """A table's lines as words."""
    return [line.split() for line in text.splitlines()]


def test_apply_edit_and_delete_a_custom_resource(
    kubectl: Kubectl, group: str, cluster: httpx.Client
) -> None:
    """apply creates, configures and leaves unchanged; get shows the columns; delete removes."""
    name = f"gadget.{group}/mine"

    def apply(size: str, *more: str) -> str:
        return kubectl("apply", "-f", "-", *more, stdin=gadget(group, size)).strip()

    # kubectl may ask for the new kind before its schema is published.
    eventually(lambda: kubectl.run("get", "gadgets").returncode == 0, "kubectl knows gadgets")
    assert apply("small") == f"{name} created"
    assert apply("small") == f"{name} unchanged"
    assert apply("huge") == f"{name} configured"
    assert apply("small", "--server-side", "--force-conflicts") == f"{name} serverside-applied"
    header, row = words(kubectl("get", "gad"))
    assert (header, row[:2]) == (
        ["NAME", "SIZE"] if len(header) == 2 else ["NAME", "SIZE", "AGE"],
        ["mine", "small"],
    )
    assert yaml.safe_load(kubectl("get", "gad/mine", "-o", "yaml"))["spec"] == {"size": "small"}
    path = f"/apis/{group}/v1/namespaces/{kubectl.namespace}/gadgets/mine/status"
    ready = {"type": "Ready", "status": "True", "reason": "Made", "message": "It is made."}
    told = json.dumps({"status": {"conditions": [ready]}})
    cluster.patch(
        path, content=told, headers={"Content-Type": "application/merge-patch+json"}
    ).raise_for_status()
    assert (
        kubectl("wait", "--for=condition=Ready", "gad/mine", "--timeout=20s").strip()
        == f"{name} condition met"
    )
    described = kubectl("describe", "gad", "mine")
    assert "It is made." in described
    assert "Size:" in described
    assert kubectl("delete", "gad", "mine").strip() == f'gadget.{group} "mine" deleted'
    gone = kubectl.run("get", "gad", "mine")
    assert (gone.returncode, gone.stderr) == (
        1,
        f'Error from server (NotFound): gadgets.{group} "mine" not found\n',
    )


def test_explain_a_custom_resource(kubectl: Kubectl, group: str) -> None:
    """explain shows the descriptions of a newly defined kind, once its schema is published."""
    explained = eventually(
        lambda: (
            (done := kubectl.run("explain", "gadget.spec")).returncode == 0
            and "How large it is." in done.stdout
            and done.stdout
        ),
        "gadgets are explained",
    )
    assert "What is wanted." in explained


def test_deployment_from_apply_to_delete(kubectl: Kubectl) -> None:
    """apply, rollout status, get in its forms, describe, scale, set image, undo, delete."""
    assert (
        kubectl("apply", "-f", "-", stdin=deployment("web")).strip()
        == "deployment.apps/web created"
    )
    assert 'deployment "web" successfully rolled out' in kubectl(
        "rollout", "status", "deployment/web", "--timeout=30s"
    )
    header, row = words(kubectl("get", "deployment", "web"))
    assert (header, row[:4]) == (
        ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"],
        ["web", "1/1", "1", "1"],
    )
    wide_header, wide = words(kubectl("get", "deploy", "web", "-o", "wide"))
    assert (wide_header[5:], wide[5:]) == (
        ["CONTAINERS", "IMAGES", "SELECTOR"],
        ["web", "shop:1", "app=web"],
    )
    assert (
        kubectl("get", "pods", "-l", "app=web", "-o", "jsonpath={.items[*].status.phase}")
        == "Running"
    )
    pods_header, pod = words(kubectl("get", "pods"))
    assert (pods_header, pod[1:4]) == (
        ["NAME", "READY", "STATUS", "RESTARTS", "AGE"],
        ["1/1", "Running", "0"],
    )
    described = kubectl("describe", "deployment", "web")
    assert "NewReplicaSetAvailable" in described
    assert "ScalingReplicaSet" in described
    assert (
        kubectl("scale", "deployment/web", "--replicas=2").strip() == "deployment.apps/web scaled"
    )
    kubectl("wait", "--for=condition=Available", "deployment/web", "--timeout=30s")
    assert (
        kubectl("set", "image", "deployment/web", "web=shop:2").strip()
        == "deployment.apps/web image updated"
    )
    kubectl("rollout", "status", "deployment/web", "--timeout=30s")
    history = words(kubectl("rollout", "history", "deployment/web"))
    assert [line[0] for line in history[2:] if line] == ["1", "2"]
    assert kubectl("rollout", "undo", "deployment/web").strip() == "deployment.apps/web rolled back"
    kubectl("rollout", "status", "deployment/web", "--timeout=30s")
    assert (
        kubectl("get", "deploy", "web", "-o", "jsonpath={.spec.template.spec.containers[0].image}")
        == "shop:1"
    )
    assert (
        kubectl("rollout", "restart", "deployment/web").strip() == "deployment.apps/web restarted"
    )
    kubectl("rollout", "status", "deployment/web", "--timeout=30s")
    assert (
        kubectl("delete", "deployment", "web", "--timeout=30s").strip()
        == 'deployment.apps "web" deleted'
    )
    eventually(lambda: kubectl("get", "pods", "-o", "name") == "", "the pods went with it")


def test_broken_image_is_shown(kubectl: Kubectl) -> None:
    """get pods and describe show why a pod does not start."""
    kubectl("apply", "-f", "-", stdin=deployment("web", "shop:broken"))
    eventually(lambda: "ImagePullBackOff" in kubectl("get", "pods"), "ImagePullBackOff is shown")
    assert "Back-off pulling image" in kubectl("describe", "pods")


def test_small_changes(kubectl: Kubectl) -> None:
    """label, annotate, patch, create, get all, and deletion of several at once."""
    assert (
        kubectl("create", "configmap", "one", "--from-literal=a=1").strip()
        == "configmap/one created"
    )
    assert kubectl("label", "configmap", "one", "tier=back").strip() == "configmap/one labeled"
    assert kubectl("annotate", "configmap", "one", "why=test").strip() == "configmap/one annotated"
    changed = kubectl(
        "patch", "configmap", "one", "--type=merge", "-p", '{"data":{"a":"2"}}'
    ).strip()
    assert changed == "configmap/one patched"
    assert (
        kubectl("patch", "configmap", "one", "-p", '{"data":{"b":"3"}}').strip()
        == "configmap/one patched"
    )
    stored = json.loads(kubectl("get", "cm", "one", "-o", "json"))
    assert (stored["data"], stored["metadata"]["labels"], stored["metadata"]["annotations"]) == (
        {"a": "2", "b": "3"},
        {"tier": "back"},
        {"why": "test"},
    )
    kubectl("create", "service", "clusterip", "front", "--tcp=80:8080")
    assert "service/front" in kubectl("get", "all")
    kubectl("create", "secret", "generic", "hidden", "--from-literal=a=b")
    assert kubectl("get", "secret", "hidden", "-o", "jsonpath={.data.a}") == "Yg=="
    assert kubectl("delete", "configmap", "-l", "tier=back").strip() == 'configmap "one" deleted'


def test_discovery(kubectl: Kubectl) -> None:
    """api-resources knows the built-in kinds, and version answers."""
    listed = kubectl("api-resources", "--api-group=apps", "-o", "name").split()
    assert {"deployments.apps", "replicasets.apps", "statefulsets.apps"} <= set(listed)
    assert "Server Version" in kubectl("version")


def test_explain_a_built_in_kind(kubectl: Kubectl, running_kube: Kube) -> None:
    """explain knows the fields of built-in kinds; the sandbox publishes schemas of defined kinds
    alone, and says so.
    """
    if not running_kube.is_real:
        pytest.skip("the sandbox publishes the schemas of CustomResourceDefinitions only")
    assert "replicas" in kubectl("explain", "deployment.spec")


def test_job_and_its_end(kubectl: Kubectl) -> None:
    """create job and wait for its completion."""
    kubectl("create", "job", "task", "--image=task:1")
    assert kubectl("wait", "--for=condition=Complete", "job/task", "--timeout=30s").strip() == (
        "job.batch/task condition met"
    )


def test_logs_answer(kubectl: Kubectl) -> None:
    """logs of a running pod answers something, or says that there is no kubelet to ask."""
    kubectl("apply", "-f", "-", stdin=deployment("web"))
    kubectl("rollout", "status", "deployment/web", "--timeout=30s")
    done = kubectl.run("logs", "deployment/web")
    assert done.returncode == 0 or "dial tcp 127.0.0.1:" in done.stderr


def test_namespace_from_create_to_delete(kubectl: Kubectl, cluster: httpx.Client) -> None:
    """delete namespace waits until it is empty and gone."""
    name = f"brief-{secrets.token_hex(4)}"
    kubectl("create", "namespace", name)
    kubectl("create", "configmap", "one", "-n", name)
    assert (
        kubectl("delete", "namespace", name, "--timeout=40s").strip()
        == f'namespace "{name}" deleted'
    )
    assert cluster.get(f"/api/v1/namespaces/{name}").status_code == 404
