"""A running API server of the sandbox, the official client and kubectl against it, and a kind of
our own.
"""

from __future__ import annotations

import copy
import json
import shutil
import ssl
import subprocess
import uuid
from collections.abc import Callable, Iterator
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, config

from sandbox.kubernetes import KubernetesApi, kubeconfig, kubeconfig_text
from sandbox.serving import Server, make_certificate

Json = dict[str, Any]

WIDGETS: Json = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.demo.io"},
    "spec": {
        "group": "demo.io",
        "scope": "Namespaced",
        "names": {
            "plural": "widgets",
            "kind": "Widget",
            "shortNames": ["wd"],
            "categories": ["demo"],
        },
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {
                    "status": {},
                    "scale": {
                        "specReplicasPath": ".spec.replicas",
                        "statusReplicasPath": ".status.replicas",
                    },
                },
                "additionalPrinterColumns": [
                    {"name": "Engine", "type": "string", "jsonPath": ".spec.engine"},
                    {
                        "name": "Ready",
                        "type": "string",
                        "jsonPath": '.status.conditions[?(@.type=="Ready")].status',
                    },
                ],
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "required": ["spec"],
                        "properties": {
                            "spec": {
                                "type": "object",
                                "required": ["engine"],
                                "properties": {
                                    "engine": {
                                        "type": "string",
                                        "enum": ["postgres", "mysql"],
                                        "description": "Which database engine runs.",
                                    },
                                    "replicas": {
                                        "type": "integer",
                                        "minimum": 1,
                                        "maximum": 10,
                                        "default": 1,
                                    },
                                    "port": {"x-kubernetes-int-or-string": True},
                                    "free": {
                                        "type": "object",
                                        "x-kubernetes-preserve-unknown-fields": True,
                                    },
                                    "note": {"type": "string", "nullable": True},
                                },
                            },
                            "status": {
                                "type": "object",
                                "x-kubernetes-preserve-unknown-fields": True,
                            },
                        },
                    }
                },
            }
        ],
    },
}


class Cluster:
    """The server under test, and the ways to talk to it."""

    def __init__(self, app: KubernetesApi, server: Server, folder: Path) -> None:
        self.app = app
        self.server = server
        self.config_file = folder / "kubeconfig"
        self.config_file.write_text(kubeconfig_text(server, app.token))
        self._folder = folder
        self.api_client = self.client_for(app.token)
        self.core = client.CoreV1Api(self.api_client)
        self.apps = client.AppsV1Api(self.api_client)
        self.objects = client.CustomObjectsApi(self.api_client)
        self.definitions = client.ApiextensionsV1Api(self.api_client)

    def client_for(self, token: str) -> client.ApiClient:
        return config.new_client_from_config_dict(kubeconfig(self.server, token))

    def kubectl(
        self, *arguments: str, stdin: Any = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl with caches of its own; objects given as `stdin` are sent as JSON."""
        text = None if stdin is None else json.dumps(stdin)
        base = [
            "kubectl",
            "--kubeconfig",
            str(self.config_file),
            "--cache-dir",
            str(self._folder / "cache"),
        ]
        done = subprocess.run(
            [*base, *arguments], input=text, capture_output=True, text=True, timeout=60, check=False
        )
        if check and done.returncode:
            raise AssertionError(f"kubectl {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done

    def raw(
        self, method: str, path: str, body: Any = None, token: str | None = None, **headers: str
    ) -> tuple[int, Any]:
        """One request over plain HTTP; returns the code and the JSON (or text) of the answer."""
        connection = self.connection()
        try:
            data = None if body is None else json.dumps(body)
            sent = {"Authorization": f"Bearer {self.app.token if token is None else token}"}
            sent |= {
                "Content-Type": "application/json",
                **{k.replace("_", "-"): v for k, v in headers.items()},
            }
            if token == "":
                del sent["Authorization"]
            connection.request(method, path, body=data, headers=sent)
            answer = connection.getresponse()
            text = answer.read().decode()
            return answer.status, json.loads(text) if text.startswith(("{", "[")) else text
        finally:
            connection.close()

    def connection(self) -> HTTPSConnection:
        assert self.server.certificate
        context = ssl.create_default_context(cadata=self.server.certificate.ca)
        return HTTPSConnection(self.server.host, self.server.port, context=context, timeout=120)

    def events(self, path: str, *, patience_seconds: float = 20) -> Iterator[Json]:
        """The events of a watch, until the server ends it; TimeoutError when it says nothing for so
        long.
        """
        connection = self.connection()
        connection.timeout = patience_seconds
        try:
            connection.request("GET", path, headers={"Authorization": f"Bearer {self.app.token}"})
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
            for line in answer:
                yield json.loads(line)
        finally:
            connection.close()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A server of this module's own, with the kind Widget."""
    app = KubernetesApi()
    with Server(app, certificate=make_certificate("kubernetes")) as server:
        found = Cluster(app, server, tmp_path_factory.mktemp("kube"))
        found.definitions.create_custom_resource_definition(copy.deepcopy(WIDGETS))
        yield found
        found.api_client.close()


@pytest.fixture
def namespace(cluster: Cluster) -> str:
    """A namespace of this test's own."""
    name = f"t-{uuid.uuid4().hex[:8]}"
    cluster.core.create_namespace({"metadata": {"name": name}})
    return name


@pytest.fixture
def widgets(namespace: str) -> str:
    """The path of this test's widgets."""
    return f"/apis/demo.io/v1/namespaces/{namespace}/widgets"


@pytest.fixture
def make_widget(cluster: Cluster, widgets: str) -> Callable[..., Json]:
    """Create a widget by its name; further arguments go into its metadata."""

    def make(name: str, *, engine: str = "mysql", **metadata: Any) -> Json:
        code, made = cluster.raw("POST", widgets, widget(name, engine=engine, **metadata))
        assert code == 201, made
        return dict(made)

    return make


def widget(name: str, *, engine: str = "mysql", **metadata: Any) -> Json:
    """A widget as its author writes it."""
    return {
        "apiVersion": "demo.io/v1",
        "kind": "Widget",
        "metadata": {"name": name, **metadata},
        "spec": {"engine": engine},
    }


@pytest.fixture(scope="session")
def needs_kubectl() -> None:
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not installed; these tests show that it works unchanged")
