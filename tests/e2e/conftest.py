"""A whole world for each test that asks: the sandbox, the pack with its own narrow credentials, and stormcell."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox.engine_process import EngineProcess
from sandbox.environment import ROOT, Environment

DEADLINE_SECONDS = 60.0


class World:
    """The environment, the engine, and the few questions that tests ask of them."""

    def __init__(self, folder: Path) -> None:
        self.environment = Environment(folder, provision_seconds=1.0, resync_seconds=0.5, proxied=True)
        self.engine: EngineProcess

    def start(self) -> None:
        self.environment.start()
        self.engine = self.environment.engine()
        self.engine.start()

    def stop(self) -> None:
        self.engine.stop()
        self.environment.stop()

    def apply_example(self, **spec: Any) -> dict[str, Any]:
        """Apply examples/database.yaml with some fields of its spec replaced, and return it as stored."""
        manifest = example()
        manifest["spec"].update(spec)
        return self.environment.apply(manifest)

    def apply_named(self, name: str) -> dict[str, Any]:
        """Apply the example under another name."""
        manifest = example()
        manifest["metadata"]["name"] = name
        return self.environment.apply(manifest)

    def database(self, name: str = "orders", namespace: str = "default") -> dict[str, Any] | None:
        return self.environment.read("kubestorm.io/v1alpha1", "Database", name, namespace)

    def condition(self, kind: str, name: str = "orders") -> tuple[str, str, str]:
        """(status, reason, message) of one condition; Unknown where it is absent."""
        status = (self.database(name) or {}).get("status") or {}
        for condition in status.get("conditions") or ():
            if condition["type"] == kind:
                return condition["status"], condition.get("reason", ""), condition.get("message", "")
        return "Unknown", "", ""

    def is_ready(self, name: str = "orders") -> bool:
        """Ready, and for the newest generation."""
        found = self.database(name) or {}
        generation = found.get("metadata", {}).get("generation")
        return self.condition("Ready", name)[0] == "True" and found["status"].get("observedGeneration") == generation

    def instances(self) -> list[dict[str, Any]]:
        """The RDS instances there are."""
        return self.environment.rds().describe_db_instances()["DBInstances"]

    def vault_versions(self, path: str) -> dict[str, Any]:
        """KV version 2 metadata of a secret: version -> when it was made."""
        return self.environment.vault_client().secrets.kv.v2.read_secret_metadata(path)["data"]["versions"]

    def password(self) -> str:
        """What Vault holds for default/orders, read as an administrator; for comparison only."""
        secret = self.environment.vault_client().secrets.kv.v2.read_secret_version(
            f"kubestorm/{self.environment.cluster}/default/orders", raise_on_deleted_version=True
        )
        return secret["data"]["data"]["password"]

    def wait_until(self, claim: Callable[[], Any], what: str) -> Any:
        """Return the claim's first true answer. Other processes do the work, so it asks again until a deadline."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not (answer := claim()):
            if time.monotonic() > deadline:
                pytest.fail(f"{what}: not so within {DEADLINE_SECONDS:.0f} s\n{self.state()}")
            time.sleep(0.05)
        return answer

    def state(self) -> str:
        """What a person would look at first."""
        return f"{yaml.safe_dump((self.database() or {}).get('status'))}\n{self.engine.log_tail(40)}"


def example() -> dict[str, Any]:
    """examples/database.yaml, the Database in it."""
    documents = yaml.safe_load_all((ROOT / "examples" / "database.yaml").read_text())
    return next(document for document in documents if document["kind"] == "Database")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Everything up; gone after the test."""
    it = World(tmp_path)
    try:
        it.start()
        yield it
    finally:
        it.stop()
