"""A delivery from end to end: a commit, its image, the base that it stands on, the rollout, and who
was told.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox.environment import ROOT, Environment
from sandbox.registry import is_installed
from tests.e2e.conftest import SETTINGS, World
from tests.integration.building.git_servers import Repository

API = "kubestorm.io/v1alpha1"
ENDED = ("succeeded", "failed", "timeout", "canceled")


class DeliveryWorld(World):
    """The world with a registry that tells of pushes, a git repository, and builds on this host."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.environment = Environment(folder, registry=True, settings=SETTINGS)
        (folder / "git").mkdir()
        self.repository = Repository(folder / "git" / "shop.git")

    def apply_site(self, **image: Any) -> None:
        """An ImageBuild and an Application that follows its branch, both called site."""
        where = {"name": "site", "namespace": self.namespace}
        repository = f"{self.namespace}/site"
        images = [{"name": "site", "repository": repository, **image}]
        source = {"url": self.repository.url, "branch": "main"}
        spec = {"source": source, "images": images, "suspend": True}
        self.environment.apply(
            {"apiVersion": API, "kind": "ImageBuild", "metadata": where, "spec": spec}
        )
        manifest = yaml.safe_load((ROOT / "examples" / "application.yaml").read_text())
        manifest["metadata"] = where
        registry = self.environment.registry
        assert registry is not None
        manifest["spec"] |= {
            "image": {"repository": f"{registry.host}/{repository}"},
            "follow": {"branch": "main"},
        }
        self.environment.apply(manifest)

    def deliver(self) -> dict[str, Any]:
        """Run the pipeline to its end; the execution."""
        return self.run("kubestorm.delivery_pipeline")

    def deliver_by_chat(self) -> dict[str, Any]:
        """Begin it as a chat does, and wait for the run that this begins."""
        return self.ended(self.run("kubestorm.delivery_start")["result"]["result"]["run_id"])

    def run(self, action: str, **more: Any) -> dict[str, Any]:
        parameters = {"namespace": self.namespace, "name": "site", "requested_by": "anna", **more}
        body = {"action": action, "parameters": parameters}
        return self.ended(
            self.engine.client.post("/v1/executions", json=body).raise_for_status().json()["id"]
        )

    def ended(self, run: str) -> dict[str, Any]:
        self.wait_until(
            lambda: self.engine.get(f"executions/{run}")["status"] in ENDED, "the run has ended"
        )
        found: dict[str, Any] = self.engine.get(f"executions/{run}")
        return found

    def image_build(self) -> dict[str, Any]:
        return self.environment.read(API, "ImageBuild", "site", self.namespace) or {}

    def deployed(self) -> str:
        found = self.environment.read("apps/v1", "Deployment", "site", self.namespace) or {}
        image: str = found["spec"]["template"]["spec"]["containers"][0]["image"]
        return image

    def told(self) -> list[tuple[str, str]]:
        """(stage, outcome) of every stage that was told, in order."""
        name = "kubestorm.pipeline_stage_ended"
        found = [
            one
            for one in self.engine.get("triggerinstances", trigger=name, limit=500)
            if one["trigger"] == name
        ]
        payloads = [self.engine.get(f"triggerinstances/{one['id']}")["payload"] for one in found]
        mine = [each for each in payloads if each["namespace"] == self.namespace]
        return [(each["stage"], each["outcome"]) for each in reversed(mine)]

    def state(self) -> str:
        return (
            f"{yaml.safe_dump(self.image_build().get('status') or {})}\n{self.engine.log_tail(60)}"
        )


@pytest.fixture(scope="module")
def delivery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeliveryWorld]:
    """Everything up; each test in a namespace of its own."""
    if not is_installed() or not shutil.which("buildah"):
        pytest.skip("docker-registry or buildah is not installed")
    it = DeliveryWorld(tmp_path_factory.mktemp("delivery"))
    try:
        it.start()
        yield it
    finally:
        it.stop()


def test_a_commit_is_delivered(delivery):
    """Every stage ends well, is on the resource and told once; and a new base image is built upon
    and runs.
    """
    world = delivery
    world.enter("shop")
    base = f"{world.environment.registry.host}/{world.namespace}/os:12"
    world.environment.push_image(f"{world.namespace}/os", "12", content="first")
    commit = world.repository.commit({"Dockerfile": f"FROM {base}\nCOPY main /main\n", "main": "1"})
    world.apply_site()
    run = world.deliver()
    assert run["status"] == "succeeded", run["result"]
    outcomes = {
        "build": "succeeded",
        "test": "skipped",
        "push": "succeeded",
        "rollout": "succeeded",
        "post-deploy test": "skipped",
    }
    assert run["result"]["output"]["outcome"] == "succeeded"
    assert world.told() == list(outcomes.items())
    status = world.image_build()["status"]
    assert {stage["name"]: stage["outcome"] for stage in status["pipeline"]["stages"]} == outcomes
    good = status["images"][0]["lastGood"]
    assert good["commit"] == commit
    assert good["digest"] in world.deployed()

    world.environment.push_image(f"{world.namespace}/os", "12", content="second")
    world.wait_until(
        lambda: good["digest"] not in world.deployed(), "what stands on the new base runs"
    )
    status = world.image_build()["status"]
    assert (status["build"]["requestedBy"], status["build"]["number"]) == ("a new base image", 2)


def test_a_commit_that_does_not_build_is_not_delivered(delivery):
    """The workflow fails with the stage and its reason, and the rest is told as skipped."""
    world = delivery
    world.enter("broken")
    world.repository.commit({"Dockerfile": "FROM scratch\nCOPY gone /\n"})
    world.apply_site()
    run = world.deliver_by_chat()
    assert run["status"] == "failed"
    assert run["result"]["output"]["message"].startswith("build failed: site: ")
    assert world.told() == [
        ("build", "failed"),
        ("test", "skipped"),
        ("push", "skipped"),
        ("rollout", "skipped"),
        ("post-deploy test", "skipped"),
    ]
