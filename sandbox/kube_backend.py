"""One face for both Kubernetes APIs that the environment can stand on: the sandbox's own and a real
one.
"""

from __future__ import annotations

import base64
import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import kubernetes

from sandbox.faults import Faults
from sandbox.kubernetes import KubernetesApi
from sandbox.kubernetes.controllers import Controllers
from sandbox.kubernetes.kubelet import Kubelet
from sandbox.realkube import ASSETS_VARIABLE, RealKube, RealKubeError
from sandbox.serving import Server, make_certificate

CRD_TIMEOUT_SECONDS = 20.0
POLL_SECONDS = 0.05
TOKEN_LIFETIME_SECONDS = 86400


class KubeBackend:
    """An API server that answers: where it is, whom to trust, and an administrator's token.

    `faults` makes the sandbox's own answer badly on purpose; a real one has none, and can be
    stopped instead (`real`). `compact` lets it forget the past, so that watches which go on from
    there are answered 410.
    """

    def __init__(
        self,
        url: str,
        token: str,
        ca: str,
        *,
        compact: Callable[[], object],
        faults: Faults | None = None,
        real: RealKube | None = None,
    ) -> None:
        self.url = url
        self.token = token
        self.ca = ca
        self.compact = compact
        self.faults = faults
        self.real = real

    def kubeconfig(self, token: str | None = None, *, url: str | None = None) -> dict[str, Any]:
        """A kubeconfig document; without a token it is the administrator's."""
        authority = base64.b64encode(self.ca.encode()).decode()
        name = "kubestorm"
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": name,
            "clusters": [
                {
                    "name": name,
                    "cluster": {"server": url or self.url, "certificate-authority-data": authority},
                }
            ],
            "users": [{"name": name, "user": {"token": token or self.token}}],
            "contexts": [
                {"name": name, "context": {"cluster": name, "user": name, "namespace": "default"}}
            ],
        }

    def client(self) -> Any:
        """The official client, as administrator; close it."""
        return kubernetes.config.new_client_from_config_dict(self.kubeconfig())

    def service_account_token(self, namespace: str, name: str) -> str:
        """A token of a service account, by the TokenRequest API."""
        with self.client() as api_client:
            request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest"}
            answer = kubernetes.client.CoreV1Api(
                api_client
            ).create_namespaced_service_account_token(
                name,
                namespace,
                {**request, "spec": {"audiences": [], "expirationSeconds": TOKEN_LIFETIME_SECONDS}},
            )
            return str(answer.status.token)

    def wait_for_crds(self) -> None:
        """Return once every custom resource definition is served. Raises TimeoutError."""
        deadline = time.monotonic() + CRD_TIMEOUT_SECONDS
        with self.client() as api_client:
            api = kubernetes.client.ApiextensionsV1Api(api_client)
            while not all(
                _is_established(crd) for crd in api.list_custom_resource_definition().items
            ):
                if time.monotonic() > deadline:
                    raise TimeoutError(
                        "a custom resource definition is not established; kubectl describe crd says why"
                    )
                time.sleep(POLL_SECONDS)


@contextlib.contextmanager
def start_kubernetes(kind: Literal["sandbox", "real"], folder: Path) -> Iterator[KubeBackend]:
    """Start the chosen API with controllers and a pretend node, for the length of the block.

    Raises RealKubeError where a real one is wanted and KUBEBUILDER_ASSETS names none.
    """
    with contextlib.ExitStack() as stack:
        if kind == "real":
            assets = RealKube.assets_from_environment()
            if assets is None:
                raise RealKubeError(
                    f"a real API server needs {ASSETS_VARIABLE}: a folder with kube-apiserver and etcd "
                    "(setup-envtest makes one), or leave KUBE=real away"
                )
            real = stack.enter_context(RealKube(assets, folder))
            backend = KubeBackend(real.url, real.token, real.ca, compact=real.compact, real=real)
            stack.enter_context(Kubelet(backend.url, backend.token, backend.ca))
        else:
            api = KubernetesApi()
            certificate = make_certificate("kubernetes")
            server = stack.enter_context(Server(api, certificate=certificate))
            backend = KubeBackend(
                server.url, api.token, certificate.ca, compact=api.compact, faults=api.faults
            )
            stack.enter_context(Controllers(backend.url, backend.token, backend.ca))
        yield backend


def _is_established(crd: Any) -> bool:
    conditions = (crd.status and crd.status.conditions) or ()
    return any(
        condition.type == "Established" and condition.status == "True" for condition in conditions
    )
