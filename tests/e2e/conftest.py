"""A whole world for each file of tests: the sandbox, the pack with its own narrow credentials, and
stormcell.

Starting it takes seconds, so tests share it and each works in a Kubernetes namespace of its own.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from sandbox.engine_process import EngineProcess
from sandbox.environment import ROOT, Environment, KubeKind
from sandbox.proxy import Weather
from sandbox.tally import UNFINISHED

pytest.register_assert_rewrite("tests.e2e.journey")

DEADLINE_SECONDS = 240.0
POLL_SECONDS = 0.1
# A dead watch is noticed within seconds, and what failed is tried again soon.
SETTINGS = {
    "watch": {
        "timeout_seconds": 3,
        "stall_seconds": 1,
        "backoff_initial_seconds": 0.2,
        "backoff_max_seconds": 1,
    },
    "resync": {"initial_seconds": 0.3, "max_seconds": 1, "unheard_seconds": 2},
    "lease": {"duration_seconds": 20},
    "application": {"check_seconds": 1},
    "rollout": {"patience_seconds": 0.5, "settle_seconds": 1},
}


class World:
    """The environment, the engine, and the few questions that tests ask of them.

    All questions are about one namespace, which `enter` changes; the resource in it is called
    orders.
    """

    def __init__(self, folder: Path, kube: KubeKind = "sandbox") -> None:
        self.environment = Environment(
            folder, kube=kube, provision_seconds=0.2, proxied=True, settings=SETTINGS
        )
        self.engine: EngineProcess
        self.namespace = "default"
        self._numbers = itertools.count(1)

    def start(self) -> None:
        self.environment.start()
        self.engine = self.environment.engine()
        self.engine.start()

    def stop(self) -> None:
        if hasattr(self, "engine"):
            self.engine.stop()
        self.environment.stop()

    def enter(self, word: str) -> None:
        """Go on in a new namespace."""
        self.namespace = f"{word}-{next(self._numbers)}"
        self.environment.create_namespace(self.namespace)

    def mend(self) -> None:
        """Let the sun shine: every fault ends, and the engine runs."""
        for faults in self.environment.faults.values():
            faults.clear()
        for proxy in self.environment.proxies.values():
            proxy.set(Weather.FAIR)
        self.environment.aws.throttle_next(0)
        self.environment.consul.regain_leader()
        self.environment.vault.unseal()
        if not self.engine.is_running:
            self.engine.start()

    def apply_example(self, name: str = "orders", **spec: Any) -> dict[str, Any]:
        """Apply examples/database.yaml with some fields of its spec replaced, and return it as
        stored.
        """
        manifest = example()
        manifest["metadata"].update(name=name, namespace=self.namespace)
        manifest["spec"].update(spec)
        return self.environment.apply(manifest)

    def annotate(self, name: str = "orders", **annotations: str) -> None:
        """Write annotations on the resource, as kubectl annotate does."""
        metadata = {"name": name, "namespace": self.namespace, "annotations": annotations}
        self.environment.merge("kubestorm.io/v1alpha1", "Database", metadata)

    def delete(self, name: str = "orders") -> None:
        """Ask for the resource's deletion."""
        self.environment.delete("kubestorm.io/v1alpha1", "Database", name, self.namespace)

    def database(self, name: str = "orders") -> dict[str, Any] | None:
        return self.environment.read("kubestorm.io/v1alpha1", "Database", name, self.namespace)

    def conditions(self, name: str = "orders") -> list[dict[str, Any]]:
        return ((self.database(name) or {}).get("status") or {}).get("conditions") or []

    def condition(self, kind: str, name: str = "orders") -> tuple[str, str, str]:
        """(status, reason, message) of one condition; Unknown where it is absent."""
        for condition in self.conditions(name):
            if condition["type"] == kind:
                return (
                    condition["status"],
                    condition.get("reason", ""),
                    condition.get("message", ""),
                )
        return "Unknown", "", ""

    def says(self, text: str, name: str = "orders") -> bool:
        """Whether a condition that is not True names something."""
        return any(
            c["status"] != "True" and text in c.get("message", "") for c in self.conditions(name)
        )

    def is_ready(self, name: str = "orders") -> bool:
        """Ready, and for the newest generation."""
        found = self.database(name) or {}
        generation = found.get("metadata", {}).get("generation")
        return (
            self.condition("Ready", name)[0] == "True"
            and found["status"].get("observedGeneration") == generation
        )

    def instances(self) -> list[dict[str, Any]]:
        """The RDS instances of this namespace."""
        return self._mine(self.environment.rds().describe_db_instances()["DBInstances"])

    def snapshots(self) -> list[dict[str, Any]]:
        """The manual snapshots of this namespace's instances."""
        return self._mine(
            self.environment.rds().describe_db_snapshots(SnapshotType="manual")["DBSnapshots"]
        )

    def _mine(self, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [each for each in found if f"-{self.namespace}-" in each["DBInstanceIdentifier"]]

    @property
    def path(self) -> str:
        """Where this namespace's things are in Consul and in Vault's mount."""
        return f"kubestorm/{self.environment.cluster}/{self.namespace}/"

    def published(self) -> dict[str, str]:
        """Consul's keys of this namespace."""
        return self.environment.consul_tree(self.path)

    def vault_paths(self) -> list[str]:
        """Vault's secrets of this namespace."""
        return self.environment.vault_paths(self.path)

    def vault_versions(self) -> dict[str, Any]:
        """KV version 2 metadata of the secret: version -> when it was made."""
        client = self.environment.vault_client()
        return client.secrets.kv.v2.read_secret_metadata(self.path + "orders")["data"]["versions"]

    def password(self) -> str:
        """What Vault holds, read as an administrator; for comparison only."""
        secret = self.environment.vault_client().secrets.kv.v2.read_secret_version(
            self.path + "orders", raise_on_deleted_version=True
        )
        return secret["data"]["data"]["password"]

    def lease_holders(self) -> set[str]:
        """Who holds a Lease now."""
        leases = self.environment.read_all("coordination.k8s.io/v1", "Lease", "kubestorm")
        return {lease["spec"].get("holderIdentity") or "" for lease in leases} - {""}

    def unfinished(self) -> list[str]:
        """The actions that have not come to an end."""
        found = [
            each
            for status in UNFINISHED
            for each in self.engine.get("executions", status=status, limit=10)
        ]
        return [each["action"]["ref"] for each in found]

    def runs(self, action: str) -> list[str]:
        """The status of each execution of an action on this namespace, newest first; [] while
        nobody answers.
        """
        try:
            found = self.engine.get("executions", action=action, limit=50)
        except httpx.TransportError:
            return []
        return [
            each["status"]
            for each in found
            if each["parameters"].get("namespace") == self.namespace
        ]

    def wait_until(self, claim: Callable[[], Any], what: str) -> Any:
        """Return the claim's first true answer. Other processes do the work, so it asks again until
        a deadline.
        """
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not (answer := claim()):
            if time.monotonic() > deadline:
                pytest.fail(f"{what}: not so within {DEADLINE_SECONDS:.0f} s\n{self.state()}")
            time.sleep(POLL_SECONDS)
        return answer

    def state(self) -> str:
        """What a person would look at first."""
        return (
            f"{yaml.safe_dump((self.database() or {}).get('status'))}\n{self.engine.log_tail(40)}"
        )


def example() -> dict[str, Any]:
    """examples/database.yaml, the Database in it."""
    documents = yaml.safe_load_all((ROOT / "examples" / "database.yaml").read_text())
    return next(document for document in documents if document["kind"] == "Database")


@pytest.fixture(scope="module")
def shared_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Everything up; gone after the file's last test."""
    it = World(tmp_path_factory.mktemp("world"))
    try:
        it.start()
        yield it
    finally:
        it.stop()


@pytest.fixture
def world(shared_world: World, request: pytest.FixtureRequest) -> Iterator[World]:
    """The file's world in fair weather, in a namespace of the test's own."""
    shared_world.enter(request.module.__name__.rpartition("test_")[2].replace("_", "-"))
    yield shared_world
    shared_world.mend()


@pytest.fixture
def own_world(tmp_path: Path) -> Iterator[World]:
    """A world for one test alone, in the namespace default."""
    it = World(tmp_path)
    try:
        it.start()
        yield it
    finally:
        it.stop()
