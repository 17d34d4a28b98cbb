"""Fixtures for tests that need a Kubernetes API: the sandbox's own, and a real one where its
binaries are.

`kube` runs a test twice, on both; `sandbox_kube` and `real_kube` on one of them. All last for the
whole session of one test process, so tests take a namespace of their own (`namespace`) and names of
their own for cluster-scoped objects.
"""

from __future__ import annotations

import json
import secrets
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from sandbox.faults import Faults
from sandbox.realkube import ASSETS_VARIABLE, RealKube

SKIPPED_BECAUSE = (
    f"{ASSETS_VARIABLE} is not set: no real kube-apiserver to compare with "
    "(CONTRIBUTING.md says how to get the binaries)"
)


@dataclass(frozen=True)
class Kube:
    """A running Kubernetes API as tests see it; `ca` is PEM text, `ca_file` and `kubeconfig` are
    files.

    `compact` makes the server forget all versions before now. `faults` makes the sandbox's own fail
    on purpose, and counts requests; a real one has none.
    """

    name: str
    url: str
    token: str
    plain_token: str | None
    ca: str
    ca_file: Path
    kubeconfig: Path
    compact: Callable[[], object]
    faults: Faults | None = None
    authorizer: Any = None
    """Of the sandbox's API; a real one shows none."""

    @property
    def is_real(self) -> bool:
        """Whether this is kube-apiserver itself."""
        return self.name == "real"


def kube_of(real: RealKube) -> Kube:
    """A real control plane as the tests see it."""
    return Kube(
        name="real",
        url=real.url,
        token=real.token,
        plain_token=real.plain_token,
        ca=real.ca,
        ca_file=real.ca_file,
        kubeconfig=real.kubeconfig,
        compact=real.compact,
    )


def eventually(check: Callable[[], Any], what: str, seconds: float = 120.0) -> Any:
    """What `check` returns once that is true; fails naming `what` and the last value. For other
    processes' work.
    """
    deadline = time.monotonic() + seconds
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds:.0f} s: {what}; last seen: {value!r}")
        time.sleep(0.02)


@pytest.fixture(scope="session")
def real_kube(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealKube]:
    """kube-apiserver, etcd and kube-controller-manager on loopback; skips where there are no
    binaries.
    """
    assets = RealKube.assets_from_environment()
    if assets is None:
        pytest.skip(SKIPPED_BECAUSE)
    with RealKube(assets, tmp_path_factory.mktemp("realkube")) as kube:
        yield kube


@pytest.fixture(scope="session")
def sandbox_kube(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kube]:
    """The sandbox's Kubernetes API with TLS on a free port, without controllers."""
    from sandbox.kubernetes import KubernetesApi
    from sandbox.serving import Server, make_certificate

    folder = tmp_path_factory.mktemp("sandboxkube")
    certificate = make_certificate("kubernetes")
    app = KubernetesApi()
    (folder / "ca.crt").write_text(certificate.ca)
    with Server(app, certificate=certificate) as server:
        cluster = {"server": server.url, "certificate-authority": str(folder / "ca.crt")}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "sandbox",
            "clusters": [{"name": "sandbox", "cluster": cluster}],
            "users": [{"name": "sandbox", "user": {"token": app.token}}],
            "contexts": [
                {
                    "name": "sandbox",
                    "context": {"cluster": "sandbox", "user": "sandbox", "namespace": "default"},
                }
            ],
        }
        kubeconfig = folder / "kubeconfig"
        kubeconfig.touch(mode=0o600)
        kubeconfig.write_text(json.dumps(config))
        yield Kube(
            name="sandbox",
            url=server.url,
            token=app.token,
            plain_token=getattr(app, "plain_token", None),
            ca=certificate.ca,
            ca_file=folder / "ca.crt",
            kubeconfig=kubeconfig,
            compact=app.store.compact,
            faults=app.faults,
            authorizer=app.authorizer,
        )


@pytest.fixture
def faults(sandbox_kube: Kube) -> Iterator[Faults]:
    """What can be made to fail in the sandbox's API; ended with the test."""
    assert sandbox_kube.faults is not None
    yield sandbox_kube.faults
    sandbox_kube.faults.clear()


@pytest.fixture(
    scope="session", params=["sandbox", pytest.param("real", marks=pytest.mark.realkube)]
)
def kube(request: pytest.FixtureRequest) -> Kube:
    """First the sandbox's API, then the real one."""
    if request.param == "sandbox":
        return request.getfixturevalue("sandbox_kube")
    return kube_of(request.getfixturevalue("real_kube"))


@pytest.fixture
def api_client(kube: Kube) -> Iterator[Any]:
    """The official client's ApiClient for `kube`, as administrator."""
    from kubernetes import client, config

    configuration = client.Configuration()
    config.load_kube_config(str(kube.kubeconfig), client_configuration=configuration)
    with client.ApiClient(configuration) as api:
        yield api


def http_client(kube: Kube, token: str | None) -> httpx.Client:
    """A bare HTTP client for `kube`, as the bearer of `token` or as nobody."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    context = ssl.create_default_context(cadata=kube.ca)
    return httpx.Client(
        base_url=kube.url, verify=context, headers=headers, timeout=120, trust_env=False
    )


@pytest.fixture
def http(kube: Kube) -> Iterator[httpx.Client]:
    """A bare HTTP client for `kube`, as administrator."""
    with http_client(kube, kube.token) as client:
        yield client


@pytest.fixture
def namespace(http: httpx.Client) -> Iterator[str]:
    """A namespace of the test's own, deleted afterwards without waiting for its end."""
    name = f"test-{secrets.token_hex(4)}"
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    http.post("/api/v1/namespaces", json=body).raise_for_status()
    yield name
    http.delete(f"/api/v1/namespaces/{name}")
