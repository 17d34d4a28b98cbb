"""The whole outside world of the pack on loopback, with the credentials and the configuration that
the pack needs.

`Environment(folder)` starts a Kubernetes API (the sandbox's, or a real one), AWS, Consul and Vault,
installs what `crds/` and `deploy/` hold as an operator would, and leaves in the folder:

    kubeconfig                 for the person who tries things (cluster administrator)
    pack/kubeconfig            for the pack: a service account, with what kubestorm-rbac grants
    pack/vault-secret-id       half of the pack's AppRole, bound to deploy/vault-policy.hcl
    pack/consul-token          a token with the rules of deploy/consul-policy.hcl
    pack/aws-credentials       keys that the sandbox's AWS takes
    pack/registry-token        what a registry sends with each report of a push
    configs/kubestorm.yaml     the pack's configuration, which names these files
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import boto3
import consul
import hvac
import kubernetes
import yaml
from kubernetes.dynamic import DynamicClient
from kubestorm.core.parts import KINDS
from kubestorm.entrypoints.rbac import Wish, grant

from sandbox.aws.server import AwsServer
from sandbox.consul import ConsulServer
from sandbox.engine_process import EngineProcess
from sandbox.faults import FaultMiddleware, Faults
from sandbox.kube_backend import KubeBackend, start_kubernetes
from sandbox.pretend_registry import PretendRegistry
from sandbox.proxy import Proxy
from sandbox.registry import RegistryProcess, Webhook, is_installed, push_image
from sandbox.serving import AsgiApp
from sandbox.vault import VaultServer

ROOT = Path(__file__).resolve().parent.parent
DEPLOY = ROOT / "deploy"
PACK_NAMESPACE = "kubestorm"
SERVICE_ACCOUNT = "kubestorm"
FIELD_MANAGER = "kubestorm-sandbox"
REGISTRY_SOURCE = "sandbox"
VAULT_POLICY = "kubestorm"
AWS_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "sandbox",
    "AWS_SECRET_ACCESS_KEY": "sandbox",
    "AWS_DEFAULT_REGION": "eu-central-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
AWS_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")

Json = dict[str, Any]
KubeKind = Literal["sandbox", "real"]


class Environment:
    """Everything outside the engine. Use as a context manager, or `start` and `stop`.

    `provision_seconds` is how long RDS takes to make an instance. With `proxied` the pack reaches
    each service through `proxies[...]`, which can be told to misbehave on the wire. `faults[...]`
    makes the service itself answer badly, to everybody; a real API server has none. With `registry`
    there is a container registry (docker-registry where it is installed) whose pushes are reported
    to the pack.
    """

    cluster = "demo"

    def __init__(
        self,
        folder: Path,
        *,
        kube: KubeKind = "sandbox",
        provision_seconds: float = 3.0,
        proxied: bool = False,
        registry: bool = False,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder = folder
        self.proxies: dict[str, Proxy] = {}
        self.faults = {name: Faults() for name in ("aws", "vault", "consul")}
        self._settings = dict(settings or {})
        self._kube = kube
        # The sensor looks at RDS a few times while an instance is made.
        self._watch_rds = {"watch_seconds": max(provision_seconds / 5, 0.1)}
        self._proxied = proxied
        self._registry_wanted = registry
        self.registry: RegistryProcess | PretendRegistry | None = None
        self._registry_config: Json = {}
        self._stack = contextlib.ExitStack()
        self.aws = AwsServer(provision_seconds=provision_seconds, faults=self._faulty("aws"))
        self._vault_token = secrets.token_urlsafe(24)
        self.vault = VaultServer(
            dev=True, root_token=self._vault_token, faults=self._faulty("vault")
        )
        self._consul_token = secrets.token_urlsafe(24)
        self.consul = ConsulServer(
            management_token=self._consul_token, faults=self._faulty("consul")
        )
        self.kubernetes: KubeBackend

    def start(self) -> Self:
        """Start everything and prepare it for the pack. On failure what has started is stopped
        again.
        """
        with contextlib.ExitStack() as stack:
            (self.folder / "pack").mkdir(parents=True, exist_ok=True)
            for server in (self.aws, self.vault, self.consul):
                stack.enter_context(server)
            self.kubernetes = stack.enter_context(
                start_kubernetes(self._kube, self.folder / "kube")
            )
            if self.kubernetes.faults:
                self.faults["kubernetes"] = self.kubernetes.faults
            urls = {
                "kubernetes": self.kubernetes.url,
                "aws": self.aws.url,
                "vault": self.vault.url,
                "consul": self.consul.url,
            }
            if self._proxied:
                self.proxies = {name: stack.enter_context(Proxy(url)) for name, url in urls.items()}
                urls = {name: proxy.url for name, proxy in self.proxies.items()}
            if self._registry_wanted:
                self._start_registry(stack)
            self.write_private("kubeconfig", self.kubernetes.kubeconfig())
            self._prepare_consul()
            self._write_config(urls, role_id=self._prepare_vault())
            self._install_in_kubernetes(urls["kubernetes"])
            self._stack = stack.pop_all()
        return self

    def stop(self) -> None:
        """Stop everything. Safe to repeat."""
        self._stack.close()

    @property
    def kubeconfig(self) -> Path:
        """A cluster administrator's kubeconfig."""
        return self.folder / "kubeconfig"

    def engine(self, folder: Path | None = None) -> EngineProcess:
        """stormcell with this pack and this environment's configuration; not started yet."""
        return EngineProcess(
            folder or self.folder / "engine",
            packs=[ROOT],
            configs=self.folder / "configs",
        )

    def push_image(self, repository: str, tag: str, **more: Any) -> str:
        """Push an image to the registry; its digest. `sandbox.registry.push_image` says what else
        there is.
        """
        if self.registry is None:
            raise RuntimeError("this environment has no registry; make it with registry=True")
        with self.registry.client() as client:
            return push_image(client, repository, tag, **more)

    # What the journey touches, asked with the official clients.

    def apply(self, manifest: Json) -> Json:
        """Server-side apply, as an administrator; returns the object as stored."""
        api = self._dynamic().resources.get(
            api_version=manifest["apiVersion"], kind=manifest["kind"]
        )
        metadata = manifest["metadata"]
        answer: Json = api.server_side_apply(
            body=manifest,
            name=metadata["name"],
            namespace=metadata.get("namespace"),
            field_manager=FIELD_MANAGER,
            force_conflicts=True,
        ).to_dict()
        return answer

    def merge(
        self, api_version: str, kind: str, metadata: Json, *, subresource: str = "", **rest: Any
    ) -> Json:
        """Merge into an object that is there, as an administrator; `metadata` names it."""
        api = self._dynamic().resources.get(api_version=api_version, kind=kind)
        target = api.subresources[subresource] if subresource else api
        answer: Json = target.patch(
            body={"metadata": metadata, **rest},
            name=metadata["name"],
            namespace=metadata.get("namespace"),
            content_type="application/merge-patch+json",
        ).to_dict()
        return answer

    def read(
        self, api_version: str, kind: str, name: str, namespace: str | None = None
    ) -> Json | None:
        """One object, or None."""
        api = self._dynamic().resources.get(api_version=api_version, kind=kind)
        try:
            answer: Json = api.get(name=name, namespace=namespace).to_dict()
        except kubernetes.client.ApiException as error:
            if error.status == 404:
                return None
            raise
        return answer

    def read_all(self, api_version: str, kind: str, namespace: str | None = None) -> list[Json]:
        """All objects of a kind."""
        api = self._dynamic().resources.get(api_version=api_version, kind=kind)
        return [item.to_dict() for item in api.get(namespace=namespace).items]

    def delete(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> None:
        """Ask for an object's deletion; finalizers may hold it."""
        self._dynamic().resources.get(api_version=api_version, kind=kind).delete(
            name=name, namespace=namespace
        )

    def refusal(self, call: Callable[[], object]) -> str:
        """The message with which the API server refuses what `call` does. Raises AssertionError if
        it does not.
        """
        try:
            call()
        except kubernetes.client.ApiException as error:
            return str(json.loads(error.body)["message"])
        raise AssertionError("the API server accepted what it should refuse")

    def create_namespace(self, name: str) -> None:
        """Make sure that a namespace exists."""
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})

    def rds(self) -> Any:
        """boto3's RDS client."""
        return boto3.client(
            "rds",
            endpoint_url=self.aws.url,
            region_name=AWS_ENVIRONMENT["AWS_DEFAULT_REGION"],
            aws_access_key_id=AWS_ENVIRONMENT["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=AWS_ENVIRONMENT["AWS_SECRET_ACCESS_KEY"],
        )

    def vault_client(self) -> hvac.Client:
        """hvac with the root token."""
        return hvac.Client(url=self.vault.url, token=self._vault_token)

    def vault_paths(self, folder: str) -> list[str]:
        """The KV paths below a folder."""
        try:
            keys = self.vault_client().secrets.kv.v2.list_secrets(folder)["data"]["keys"]
        except hvac.exceptions.InvalidPath:
            return []
        found: list[str] = []
        for key in keys:
            found += self.vault_paths(folder + key) if key.endswith("/") else [folder + key]
        return found

    def consul_tree(self, prefix: str) -> dict[str, str]:
        """Key -> text of all Consul keys below a prefix."""
        client = consul.Consul(
            host=self.consul.host, port=self.consul.port, token=self._consul_token
        )
        _index, entries = client.kv.get(prefix, recurse=True)
        return {entry["Key"]: (entry["Value"] or b"").decode() for entry in entries or ()}

    @property
    def consul_token(self) -> str:
        """The management token, for the person who tries things."""
        return self._consul_token

    @property
    def vault_token(self) -> str:
        """The root token, for the person who tries things."""
        return self._vault_token

    def write_private(self, name: str, content: str | Mapping[str, Any]) -> Path:
        """Write a file that only its owner can read, from the first byte on; a mapping becomes
        YAML.
        """
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = (
            content if isinstance(content, str) else yaml.safe_dump(dict(content), sort_keys=False)
        )
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(text)
        return path

    def _faulty(self, name: str) -> Callable[[AsgiApp], AsgiApp]:
        return lambda app: FaultMiddleware(app, self.faults[name])

    def _dynamic(self) -> DynamicClient:
        if not hasattr(self, "_client"):
            api_client = kubernetes.config.new_client_from_config(str(self.kubeconfig))
            self._stack.callback(api_client.close)
            self._client = DynamicClient(api_client, cache_file=str(self.folder / "discovery.json"))
        return self._client

    def _start_registry(self, stack: contextlib.ExitStack) -> None:
        """A registry that reports pushes to the pack's listener, which is not there yet: its port
        is chosen here.
        """
        token = secrets.token_urlsafe(24)
        token_file = self.write_private("pack/registry-token", token)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        url = f"http://127.0.0.1:{port}/registry/{REGISTRY_SOURCE}"
        webhooks = [Webhook(url=url, headers={"Authorization": f"Bearer {token}"})]
        registry: RegistryProcess | PretendRegistry = (
            RegistryProcess(self.folder / "registry", webhooks=webhooks)
            if is_installed()
            else PretendRegistry(webhooks=webhooks)
        )
        self.registry = registry.start()
        stack.callback(registry.stop)
        source = {
            "name": REGISTRY_SOURCE,
            "type": "distribution",
            "registry": registry.host,
            "auth": {"method": "token", "secret_file": str(token_file)},
        }
        self._registry_config = {
            "registries": {
                "listener": {"port": port},
                "default": registry.host,
                "hosts": [
                    {
                        "host": registry.host,
                        "insecure_http": True,
                        "access": [{"namespaces": ["*"]}],
                    }
                ],
                "sources": [source],
            },
            # Sources of this machine, built by it: what a sandbox is for, and nothing else.
            "build": {
                "builder": "host-buildah",
                "folder": str(self.folder / "builds"),
                "source": {"protocols": ["file", "https", "ssh"], "poll": {"interval_seconds": 2}},
                "host": {"enabled": True, "allow_root": True},
            },
        }

    def grant(self) -> None:
        """Give the pack's account what its configuration needs; again after that was changed."""
        config = yaml.safe_load((self.folder / "configs" / "kubestorm.yaml").read_text())
        for manifest in grant(config, Wish(extra=("database-requests",))).manifests:
            self.apply(manifest)

    def _install_in_kubernetes(self, pack_url: str) -> None:
        for file in sorted((ROOT / "crds").glob("*.yaml")):
            self.apply(yaml.safe_load(file.read_text()))
        self.grant()
        self.kubernetes.wait_for_crds()
        token = self.kubernetes.service_account_token(PACK_NAMESPACE, SERVICE_ACCOUNT)
        self.write_private("pack/kubeconfig", self.kubernetes.kubeconfig(token, url=pack_url))

    def _prepare_vault(self) -> str:
        client = self.vault_client()
        client.sys.create_or_update_policy(VAULT_POLICY, (DEPLOY / "vault-policy.hcl").read_text())
        client.sys.enable_auth_method("approle")
        client.auth.approle.create_or_update_approle(
            "kubestorm", token_policies=[VAULT_POLICY], token_ttl="20m"
        )
        role_id = client.auth.approle.read_role_id("kubestorm")["data"]["role_id"]
        secret_id = client.auth.approle.generate_secret_id("kubestorm")["data"]["secret_id"]
        self.write_private("pack/vault-secret-id", secret_id)
        return str(role_id)

    def _prepare_consul(self) -> None:
        rules = (DEPLOY / "consul-policy.hcl").read_text()
        self.write_private("pack/consul-token", self.consul.add_token(rules, name="kubestorm"))

    def _write_config(self, urls: Mapping[str, str], *, role_id: str) -> None:
        pack = self.folder / "pack"
        keys = [f"{key.lower()} = {AWS_ENVIRONMENT[key]}" for key in AWS_KEYS]
        self.write_private("pack/aws-credentials", "\n".join(["[default]", *keys, ""]))
        self.write_private(
            "configs/kubestorm.yaml",
            {
                "cluster": self.cluster,
                "parts": list(KINDS),
                "kubernetes": {"kubeconfig": str(pack / "kubeconfig"), "namespace": PACK_NAMESPACE},
                "aws": {
                    "region": AWS_ENVIRONMENT["AWS_DEFAULT_REGION"],
                    "endpoint_url": urls["aws"],
                    "credentials_file": str(pack / "aws-credentials"),
                    **self._watch_rds,
                },
                "vault": {
                    "url": urls["vault"],
                    "auth": {
                        "method": "approle",
                        "role_id": role_id,
                        "secret_id_file": str(pack / "vault-secret-id"),
                    },
                },
                "consul": {"url": urls["consul"], "token_file": str(pack / "consul-token")},
                **self._registry_config,
                **self._settings,
            },
        )

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
