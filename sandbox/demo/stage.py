"""What all acts of the demo play on: the environment, the engine, the screen, and how a resource is
followed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from sandbox.demo.follow import Follower
from sandbox.demo.screen import Screen
from sandbox.engine_process import EngineProcess
from sandbox.environment import ROOT, Environment

EXAMPLES = ROOT / "examples"
API_VERSION = "kubestorm.io/v1alpha1"
STEP_TIMEOUT_SECONDS = 120.0

Json = dict[str, Any]


class Stage:
    """Everything that has been set up, for the length of the demo."""

    def __init__(self, screen: Screen, environment: Environment) -> None:
        self.screen = screen
        self.environment = environment
        self.engine: EngineProcess
        self.follower: Follower

    def set_up(self) -> None:
        """Start everything and say where it is."""
        self.screen.title("Starting")
        with self.screen.spinner("the sandbox"):
            self.environment.start()
        for name, url in self.addresses().items():
            self.screen.say(f"{name:<11} {url}")
        with self.screen.spinner("stormcell"):
            self.engine = self.environment.engine()
            self.engine.start()
        self.screen.say(f"{'stormcell':<11} {self.engine.url}")
        self.follower = Follower(engine=self.engine)

    def addresses(self) -> dict[str, str]:
        """Name -> URL of the services."""
        it = self.environment
        urls = {
            "Kubernetes": it.kubernetes.url,
            "AWS": it.aws.url,
            "Consul": it.consul.url,
            "Vault": it.vault.url,
        }
        if it.registry is not None:
            urls["registry"] = it.registry.url
        return urls

    def tear_down(self) -> None:
        """Stop everything that was started. Safe to repeat."""
        if hasattr(self, "engine"):
            self.engine.stop()
        self.environment.stop()


def example(file: Path, kind: str) -> Json:
    """The first manifest of a kind in a file."""
    documents = [document for document in yaml.safe_load_all(file.read_text()) if document]
    found: Json = next(document for document in documents if document["kind"] == kind)
    return found


class Player:
    """One resource of the demo, with the questions that an act asks of it."""

    def __init__(self, stage: Stage, manifest: Json) -> None:
        self.stage, self.manifest, self.kind = stage, manifest, str(manifest["kind"])
        self.screen, self.environment = stage.screen, stage.environment
        metadata = manifest["metadata"]
        self.name, self.namespace = metadata["name"], metadata.setdefault("namespace", "default")

    def resource(self) -> Json | None:
        """The resource as it is now."""
        return self.environment.read(API_VERSION, self.kind, self.name, self.namespace)

    def condition(self, kind: str) -> Json:
        """A condition as it is now; empty where it is absent."""
        status = (self.resource() or {}).get("status") or {}
        return next((each for each in status.get("conditions") or () if each["type"] == kind), {})

    def is_ready(self) -> bool:
        """Ready for the newest generation."""
        found = self.resource() or {}
        status = found.get("status") or {}
        ready = any(
            each["type"] == "Ready" and each["status"] == "True"
            for each in status.get("conditions") or ()
        )
        return ready and status.get("observedGeneration") == found["metadata"]["generation"]

    def apply(self) -> None:
        """Apply the manifest as it is now, in its namespace."""
        self.environment.create_namespace(self.namespace)
        self.environment.apply(self.manifest)

    def follow(self, waiting_for: str, is_done: Callable[[], bool]) -> None:
        """Print what happens until it is done."""
        read = self.stage.follower.lines_of(self.resource)
        self.screen.follow(waiting_for, read, is_done, timeout_seconds=STEP_TIMEOUT_SECONDS)
