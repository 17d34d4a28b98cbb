"""The world around image builds: a Kubernetes API, Vault, a real registry, git repositories, this
host's buildah.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from kubestorm.clients.services import Services
from kubestorm.core import conditions
from kubestorm.core.errors import Error
from kubestorm.core.naming import identity_of
from kubestorm.core.settings import load_settings
from kubestorm.kinds.build import act
from kubestorm.kinds.build.execution import run_build
from kubestorm.kinds.build.run import BuildRun
from kubestorm.kinds.build.status import images_of

from sandbox.registry import RegistryProcess, is_installed
from sandbox.vault.server import VaultServer
from tests.declared import section
from tests.integration.building.git_servers import Repository
from tests.kube_fixtures import Kube, eventually, http_client

ROOT = Path(__file__).resolve().parents[3]
IMAGE_BUILDS = "/apis/kubestorm.io/v1alpha1/namespaces/{}/imagebuilds"
USER, PASSWORD = "pusher", "registry-password-7"
BUSYBOX = next(
    (Path(each) for each in ("/bin/busybox", "/usr/bin/busybox") if Path(each).exists()), None
)


def is_static(path: Path | None) -> bool:
    return path is not None and b"ld-linux" not in path.read_bytes()[:4096]


@pytest.fixture(scope="session")
def busybox() -> bytes:
    """A program that runs in an image FROM scratch."""
    if not is_static(BUSYBOX):
        pytest.skip("busybox-static is not installed: nothing could run in an image FROM scratch")
    assert BUSYBOX is not None
    return BUSYBOX.read_bytes()


@pytest.fixture(scope="session")
def buildah() -> None:
    """buildah is there, and may build here."""
    for program in ("buildah", "git"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    trial = ["unshare", "--net", "true"] if os.geteuid() == 0 else ["buildah", "unshare", "true"]
    if subprocess.run(trial, check=False).returncode:
        pytest.skip("this machine does not let buildah make namespaces")


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryProcess]:
    """A registry that asks for user and password."""
    if not is_installed():
        pytest.skip("docker-registry is not installed")
    with RegistryProcess(tmp_path_factory.mktemp("registry"), users={USER: PASSWORD}) as process:
        yield process


@pytest.fixture
def vault() -> Iterator[VaultServer]:
    """A Vault that is unsealed and has a KV version 2 engine at secret/."""
    with VaultServer(dev=True) as server:
        yield server


def store(vault: VaultServer, path: str, values: Mapping[str, str]) -> None:
    """Put a secret into Vault."""
    answer = httpx.post(
        f"{vault.url}/v1/secret/data/{path}",
        json={"data": dict(values)},
        headers={"X-Vault-Token": vault.root_token},
    )
    answer.raise_for_status()


class World:
    """One namespace with ImageBuilds, and what stands around it."""

    def __init__(
        self, http: httpx.Client, namespace: str, config: dict[str, Any], repository: Repository
    ) -> None:
        self.http, self.namespace, self.config, self.repository = (
            http,
            namespace,
            config,
            repository,
        )
        self.dispatched: list[tuple[str, dict[str, Any]]] = []
        self.said: list[str] = []
        self.has_controllers = False
        self._runs = itertools.count(1)

    def services(self, **build: Any) -> Services:
        """Fresh clients, as each action of a run has; keywords replace settings of `build`, and
        `registries` the registries: the first one's host is the default.
        """
        config = {**self.config}
        entries = build.pop("registries", None)
        if entries:
            config["registries"] = section(entries, entries[0]["host"])
        return Services(load_settings({**config, "build": {**self.config["build"], **build}}))

    @property
    def folder(self) -> Path:
        """Where builds live on this host."""
        return Path(self.config["build"]["folder"])

    def apply(self, name: str = "shop", **spec: Any) -> dict[str, Any]:
        """Create the ImageBuild, or give it this spec."""
        whole = {
            "source": {"url": self.repository.url, "branch": "main"},
            "images": [{"name": "cart", "context": "cart", "repository": f"{self.namespace}/cart"}],
            **spec,
        }
        url = IMAGE_BUILDS.format(self.namespace)
        body = {
            "apiVersion": "kubestorm.io/v1alpha1",
            "kind": "ImageBuild",
            "metadata": {"name": name},
            "spec": {key: value for key, value in whole.items() if value is not None},
        }
        answer = self.http.post(url, json=body)
        if answer.status_code == httpx.codes.CONFLICT:
            body["metadata"] = self.get(name)["metadata"]
            answer = self.http.put(f"{url}/{name}", json=body)
        assert answer.is_success, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def get(self, name: str = "shop") -> dict[str, Any]:
        answer = self.http.get(f"{IMAGE_BUILDS.format(self.namespace)}/{name}")
        found: dict[str, Any] = answer.raise_for_status().json()
        return found

    def exists(self, name: str = "shop") -> bool:
        return self.http.get(f"{IMAGE_BUILDS.format(self.namespace)}/{name}").is_success

    def annotate(self, name: str = "shop", **annotations: str | None) -> None:
        """Write annotations of the pack's own prefix; underscores stand for hyphens."""
        named = {
            f"kubestorm.io/{key.replace('_', '-')}": value for key, value in annotations.items()
        }
        self.http.patch(
            f"{IMAGE_BUILDS.format(self.namespace)}/{name}",
            json={"metadata": {"annotations": named}},
            headers={"Content-Type": "application/merge-patch+json"},
        ).raise_for_status()

    def run(self, name: str = "shop", **build: Any) -> BuildRun:
        """One step's view of an object; what it dispatches is kept."""
        identity = identity_of("test", "imagebuilds", self.get(name))
        return BuildRun(
            self.services(**build),
            identity,
            f"run-{next(self._runs)}",
            say=self.said.append,
            dispatch=lambda trigger, payload: self.dispatched.append((trigger, dict(payload))),
        )

    def reconcile(self, name: str = "shop", **build: Any) -> dict[str, Any]:
        """The step that an event leads to."""
        run = self.run(name, **build)
        is_deleting = self.get(name)["metadata"].get("deletionTimestamp")
        step = act.teardown if is_deleting else act.reconcile
        try:
            run.handle.while_leased(lambda: step(run))
        except Error as error:
            self.said.append(f"failed: {error}")
        return self.get(name) if self.exists(name) else {}

    def build(self, name: str = "shop", **build: Any) -> dict[str, Any]:
        """A whole build: the step that requests it, and the execution that builds."""
        self.reconcile(name, **build)
        assert self.take("build_requested"), self.condition("Ready", name)
        return run_build(self.run(name, **build))

    def take(self, trigger: str) -> list[dict[str, Any]]:
        """The payloads dispatched for a trigger since the last time."""
        found = [payload for name, payload in self.dispatched if name == f"kubestorm.{trigger}"]
        self.dispatched = [each for each in self.dispatched if each[0] != f"kubestorm.{trigger}"]
        return found

    def image(self, image: str = "cart", name: str = "shop") -> dict[str, Any]:
        return next(each for each in images_of(self.get(name)["status"]) if each["name"] == image)

    def condition(self, kind: str, name: str = "shop") -> tuple[str, str, str]:
        found = (
            conditions.find((self.get(name).get("status") or {}).get("conditions") or [], kind)
            or {}
        )
        return found.get("status", "Unknown"), found.get("reason", ""), found.get("message", "")

    def left_over(self) -> list[str]:
        """What builds have left on this host, beyond fetched sources and logs."""
        runs = self.folder / "runs"
        mounts = [
            line
            for line in Path("/proc/self/mountinfo").read_text().splitlines()
            if str(self.folder) in line
        ]
        return [str(path) for path in (runs.rglob("*") if runs.exists() else ())] + mounts


@contextlib.contextmanager
def a_world(
    kube: Kube,
    vault: VaultServer,
    tmp_path: Path,
    registry: str,
    *,
    registries: list[dict[str, Any]] | None = None,
    **build: Any,
) -> Iterator[World]:
    """A namespace of its own on one Kubernetes API, with an ImageBuild's CRD."""
    (tmp_path / "git").mkdir()
    repository = Repository(tmp_path / "git" / "shop.git")
    token = tmp_path / "vault-token"
    token.write_text(vault.root_token)
    store(vault, "registries/main", {"username": USER, "password": PASSWORD})
    namespace = f"test-{secrets.token_hex(4)}"
    main = {"host": registry, "insecure_http": True, "push_vault_path": "registries/main"}
    config = {
        "cluster": "test",
        "kubernetes": {"kubeconfig": str(kube.kubeconfig), "namespace": namespace},
        "vault": {"url": vault.url, "auth": {"method": "token", "token_file": str(token)}},
        "build": {
            "builders": ["buildkit", "buildah", "kaniko", "host-buildah"],
            "folder": str(tmp_path / "builds"),
            "host": {"enabled": True, "allow_root": True},
            "source": {"protocols": ["file", "http", "ssh"], "hosts": ["*", "127.0.0.1"]},
            "retry_seconds": 0.01,
            **build,
        },
        "registries": section(registries or [main], registry),
    }
    with http_client(kube, kube.token) as http:
        install_crd(http, "imagebuilds")
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
        http.post("/api/v1/namespaces", json=body).raise_for_status()
        yield World(http, namespace, config, repository)
        http.delete(f"/api/v1/namespaces/{namespace}")


@pytest.fixture
def world(
    sandbox_kube: Kube, vault: VaultServer, registry: RegistryProcess, tmp_path: Path, buildah: None
) -> Iterator[World]:
    """Builds by this host's buildah, pushed to a real registry."""
    with a_world(sandbox_kube, vault, tmp_path, registry.host, builder="host-buildah") as made:
        yield made


def install_crd(http: httpx.Client, plural: str) -> None:
    """Make a kind of ours known to the API server. Safe to repeat."""
    crd = yaml.safe_load((ROOT / "crds" / f"{plural}.kubestorm.io.yaml").read_text())
    answer = http.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", json=crd)
    assert answer.is_success or answer.status_code == httpx.codes.CONFLICT, answer.text
    eventually(
        lambda: http.get(f"/apis/kubestorm.io/v1alpha1/{plural}").is_success, "the CRD is served"
    )


@pytest.fixture
def source(world: World, busybox: bytes) -> str:
    """One service whose Dockerfile runs something; the commit."""
    dockerfile = (
        "FROM scratch\nCOPY busybox /bin/busybox\nCOPY main /main\n"
        'RUN ["/bin/busybox", "sh", "-c", "echo made of $(/bin/busybox cat /main) > /made"]\n'
    )
    return world.repository.commit(
        {"cart/Dockerfile": dockerfile, "cart/main": "one", "cart/busybox": busybox}
    )
