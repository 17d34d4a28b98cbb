"""A world with two teams in it, of which one is hostile."""

from __future__ import annotations

import functools
import secrets
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from sandbox.registry import is_installed
from sandbox.slack import SlackServer
from tests.e2e.office import Office, opened
from tests.integration.building.git_servers import Repository

API = "kubestorm.io/v1alpha1"
MINE, THEIRS = "team-a", "team-b"
"""The hostile team's namespace, and another's."""
KINDS = ["applications", "databases", "imagebuilds"]
PORT = 8080
AMOUNTS = {"cpu": "10m", "memory": "16Mi"}


class Fortress(Office):
    """What operations have set up for both teams, and what a developer of one can do about it."""

    def __init__(self, folder: Path, slack: SlackServer) -> None:
        rule = {"namespaces": [MINE], "what": ["rollout"], "channel": "#approvals"}
        # What the hostile team breaks for good is not tried again each second.
        resync = {"initial_seconds": 1, "max_seconds": 60, "unheard_seconds": 10}
        settings = {"approvals": {"rules": [rule]}, "resync": resync}
        super().__init__(folder, slack, registry=True, settings=settings)
        self.crown = secrets.token_urlsafe(18)
        """A secret of the other team's, wherever one may lie."""
        (folder / "git").mkdir()
        self.repository = Repository(folder / "git" / "shop.git")
        self.repository.commit({"Dockerfile": "FROM scratch\n"})

    def start(self) -> None:
        self.environment.start()
        for namespace in (MINE, THEIRS):
            self.environment.create_namespace(namespace)
        self.environment.apply(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "crown", "namespace": THEIRS},
                "stringData": {"jewel": self.crown},
            }
        )
        path = f"kubestorm/{self.environment.cluster}/{THEIRS}/crown"
        vault = self.environment.vault_client().secrets.kv.v2
        vault.create_or_update_secret(path, secret={"jewel": self.crown})
        for manifest in developer():
            self.environment.apply(manifest)
        backend = self.environment.kubernetes
        token = backend.service_account_token(MINE, "developer")
        self.developer = httpx.Client(
            base_url=backend.url,
            headers={"Authorization": f"Bearer {token}"},
            verify=ssl.create_default_context(cadata=backend.ca),
            timeout=120,
            trust_env=False,
        )
        """Who may write the team's objects of our kinds, and nothing else."""
        self.engine = self.environment.engine()
        self.engine.start()

    def stop(self) -> None:
        super().stop()
        if hasattr(self, "developer"):
            self.developer.close()

    def path(self, plural: str, name: str = "", subresource: str = "") -> str:
        parts = ("apis", API, "namespaces", MINE, plural, name, subresource)
        return "/" + "/".join(part for part in parts if part)

    def write(self, kind: str, name: str, spec: dict[str, Any], **metadata: Any) -> httpx.Response:
        """The developer creates an object."""
        body = {
            "apiVersion": API,
            "kind": kind,
            "metadata": {"name": name, **metadata},
            "spec": spec,
        }
        return self.developer.post(self.path(f"{kind.lower()}s"), json=body)

    def patch(
        self, plural: str, name: str, body: dict[str, Any], subresource: str = ""
    ) -> httpx.Response:
        """The developer changes one."""
        headers = {"Content-Type": "application/merge-patch+json"}
        return self.developer.patch(
            self.path(plural, name, subresource), json=body, headers=headers
        )

    def told(self, kind: str, name: str, condition: str, namespace: str = MINE) -> tuple[str, str]:
        """Reason and message of a condition that is not True."""
        found = self.environment.read(API, kind, name, namespace) or {}
        for each in (found.get("status") or {}).get("conditions") or ():
            if each["type"] == condition and each["status"] == "False":
                return str(each.get("reason")), str(each.get("message"))
        return "", ""

    def refused(self, kind: str, name: str, condition: str = "SpecValid") -> str:
        """The sentence with which an object is refused, once it is."""
        return str(
            self.wait_until(
                lambda: self.told(kind, name, condition)[1], f"{kind} {name} is refused"
            )
        )

    def application(self, **spec: Any) -> dict[str, Any]:
        """A spec of an Application of the hostile team's."""
        return {
            "image": {"repository": self.image(f"{MINE}/cart")},
            "follow": {"semver": ">=1"},
            "port": PORT,
            "replicas": {"min": 1},
            "resources": {"requests": AMOUNTS, "limits": AMOUNTS},
            "health": {"tcp": {}},
            **spec,
        }

    def image(self, repository: str) -> str:
        """With the name of the registry."""
        assert self.environment.registry is not None
        return f"{self.environment.registry.host}/{repository}"

    def neighbour(self, name: str, **spec: Any) -> None:
        """An Application of the other team's, with an image."""
        self.environment.push_image(f"{THEIRS}/{name}", "1.0.0")
        whole = {**self.application(image={"repository": self.image(f"{THEIRS}/{name}")}), **spec}
        metadata = {"name": name, "namespace": THEIRS}
        self.environment.apply(
            {"apiVersion": API, "kind": "Application", "metadata": metadata, "spec": whole}
        )

    def is_well(self, name: str) -> bool:
        """Whether the other team's Application is Ready."""
        found = self.environment.read(API, "Application", name, THEIRS) or {}
        conditions = (found.get("status") or {}).get("conditions") or ()
        return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def developer() -> list[dict[str, Any]]:
    """What lets developers work with our kinds, as docs/security.md has it."""
    account = {"kind": "ServiceAccount", "name": "developer", "namespace": MINE}
    return [
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": "developer", "namespace": MINE},
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": {"name": "developer", "namespace": MINE},
            "rules": [
                {
                    "apiGroups": ["kubestorm.io"],
                    "resources": KINDS,
                    "verbs": ["get", "list", "watch", "create", "update", "patch", "delete"],
                },
                {
                    "apiGroups": ["kubestorm.io"],
                    "resources": ["rollouts"],
                    "verbs": ["get", "list", "watch"],
                },
            ],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "developer", "namespace": MINE},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "Role",
                "name": "developer",
            },
            "subjects": [account],
        },
    ]


@pytest.fixture(scope="module")
def fortress(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fortress]:
    if not is_installed():
        pytest.skip("docker-registry is not installed")
    with opened(functools.partial(Fortress, tmp_path_factory.mktemp("fortress"))) as fortress:
        yield fortress
