"""Commits become images under the engine, with the pack's own narrow credentials; also after it was
killed.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from sandbox.registry import RegistryProcess, is_installed
from tests.declared import section
from tests.e2e.conftest import World
from tests.integration.building.conftest import BUSYBOX, is_static
from tests.integration.building.git_servers import Repository
from tests.integration.registry.sensing import free_port

API = "kubestorm.io/v1alpha1"
HOOK_SECRET = "hook-secret-5"
DOCKERFILE = "FROM scratch\nCOPY main /main\n"
SLOW = '["/bin/busybox", "sh", "-c", "echo waiting here; /bin/busybox sleep 300"]'


class BuildingWorld(World):
    """The world with a registry, a git repository, and builds on this host."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.registry = RegistryProcess(
            folder / "registry", users={"pusher": "registry-password-8"}
        )
        (folder / "git").mkdir()
        self.repository = Repository(folder / "git" / "shop.git")
        self.builds = folder / "builds"
        self.hook_port = free_port()

    def start(self) -> None:
        self.registry.start()
        self.environment.start()
        vault = self.environment.vault_client().secrets.kv.v2
        secret = {"username": "pusher", "password": "registry-password-8"}
        vault.create_or_update_secret("registries/main", secret=secret)
        hook = self.environment.write_private("pack/hook-secret", HOOK_SECRET)
        path = self.environment.folder / "configs" / "kubestorm.yaml"
        config = yaml.safe_load(path.read_text())
        config["lease"] = {"duration_seconds": 5}
        entry = {"host": self.registry.host, "insecure_http": True}
        login = {"push_vault_path": "registries/main"}
        config["registries"] = section([{**entry, **login}], self.registry.host)
        config["build"] = {
            "builder": "host-buildah",
            "builders": ["buildkit"],
            "folder": str(self.builds),
            "host": {"enabled": True, "allow_root": True},
            "source": {"protocols": ["file", "https"], "poll": {"interval_seconds": 2}},
            "webhooks": {
                "listener": {"port": self.hook_port},
                "hooks": [{"name": "hub", "kind": "github", "secret_file": str(hook)}],
            },
        }
        self.environment.write_private("configs/kubestorm.yaml", config)
        self.engine = self.environment.engine()
        self.engine.start()

    def stop(self) -> None:
        super().stop()
        self.registry.stop()

    def apply_build(self, **spec: Any) -> None:
        whole = {
            "source": {"url": self.repository.url, "branch": "main"},
            "images": [{"name": "cart", "repository": f"{self.namespace}/cart"}],
            **spec,
        }
        metadata = {"name": "shop", "namespace": self.namespace}
        self.environment.apply(
            {"apiVersion": API, "kind": "ImageBuild", "metadata": metadata, "spec": whole}
        )

    def status(self) -> dict[str, Any]:
        found = self.environment.read(API, "ImageBuild", "shop", self.namespace) or {}
        status: dict[str, Any] = found.get("status") or {}
        return status

    def build(self) -> dict[str, Any]:
        """The last build, {} before the first."""
        return self.status().get("build") or {}

    def has_built(self, commit: str) -> bool:
        """Whether the last build is of that commit, over, and well."""
        found = self.build()
        return (found.get("commit"), found.get("outcome")) == (commit, "Succeeded")

    def tags(self) -> list[str]:
        with self.registry.client() as client:
            answer = client.get(f"/v2/{self.namespace}/cart/tags/list")
        return answer.json().get("tags") or [] if answer.is_success else []

    def told(self) -> list[dict[str, Any]]:
        """The payloads of kubestorm.build_finished so far."""
        found = self.engine.get(
            "triggerinstances", trigger_type="kubestorm.build_finished", limit=50
        )
        mine = [one for one in found if one["trigger"] == "kubestorm.build_finished"]
        return [self.engine.get(f"triggerinstances/{one['id']}")["payload"] for one in mine]

    def state(self) -> str:
        return f"{yaml.safe_dump(self.status())}\n{self.engine.log_tail(60)}"


@pytest.fixture
def building(tmp_path: Path) -> Iterator[BuildingWorld]:
    """Everything up; gone after the test."""
    if not is_installed() or not shutil.which("buildah"):
        pytest.skip("docker-registry or buildah is not installed")
    it = BuildingWorld(tmp_path)
    try:
        it.start()
        it.enter("shop")
        yield it
    finally:
        it.stop()


def test_commits_become_images(building):
    """The resource, a commit that polling finds, and a command; the log is the execution's output;
    deletion lets go.
    """
    world = building
    first = world.repository.commit({"Dockerfile": DOCKERFILE, "main": "1"})
    world.apply_build()
    world.wait_until(lambda: world.has_built(first), "the first build is over")
    assert world.tags() == [f"main-{first[:8]}"]
    run = world.build()["executionId"]
    output = world.engine.client.get(f"/v1/executions/{run}/output").text
    assert "COMMIT" in output
    assert "registry-password-8" not in output

    world.wait_until(lambda: not world.unfinished(), "nothing runs on")
    before = executions(world)
    second = world.repository.commit({"main": "2"})
    world.wait_until(lambda: world.has_built(second), "polling found the commit, and it is built")
    world.wait_until(lambda: not world.unfinished(), "nothing runs on")
    assert executions(world) - before == {
        "kubestorm.source_route": 1,
        "kubestorm.imagebuild_reconcile": 1,
        "kubestorm.build_run": 1,
    }
    parameters = {"namespace": world.namespace, "name": "shop", "requested_by": "ada"}
    body = {"action": "kubestorm.image_build_start", "parameters": parameters}
    world.engine.client.post("/v1/executions", json=body).raise_for_status()
    world.wait_until(
        lambda: world.build().get("requestedBy") == "ada" and world.has_built(second),
        "built by command",
    )
    world.wait_until(
        lambda: sorted(one["number"] for one in world.told()) == [1, 2, 3], "each end is told once"
    )
    assert {one["outcome"] for one in world.told()} == {"Succeeded"}

    world.environment.delete(API, "ImageBuild", "shop", world.namespace)
    world.wait_until(
        lambda: world.environment.read(API, "ImageBuild", "shop", world.namespace) is None,
        "it is gone",
    )
    world.wait_until(lambda: not world.unfinished(), "nothing runs on")
    world.wait_until(
        lambda: not list((world.builds / "runs").iterdir()), "nothing of a build is left"
    )


def test_a_webhook_with_the_right_signature_starts_a_build(building):
    """And one with a wrong signature does not."""
    world = building
    first = world.repository.commit({"Dockerfile": DOCKERFILE, "main": "1"})
    world.apply_build()
    world.wait_until(lambda: world.has_built(first), "the first build is over")
    url = f"http://127.0.0.1:{world.hook_port}/git/hub"
    second = world.repository.commit({"main": "2"})
    event = {
        "ref": "refs/heads/main",
        "after": second,
        "repository": {"clone_url": world.repository.url},
    }
    body = json.dumps(event).encode()
    signature = "sha256=" + hmac.new(HOOK_SECRET.encode(), body, hashlib.sha256).hexdigest()
    headers = {
        "X-GitHub-Event": "push",
        "X-GitHub-Delivery": "d-1",
        "Content-Type": "application/json",
    }
    with httpx.Client(trust_env=False) as client:
        refused = client.post(
            url, content=body + b" ", headers={**headers, "X-Hub-Signature-256": signature}
        )
        taken = client.post(
            url, content=body, headers={**headers, "X-Hub-Signature-256": signature}
        )
    assert (refused.status_code, taken.status_code) == (403, 202)
    world.wait_until(lambda: world.has_built(second), "the pushed commit is built")


@pytest.mark.skipif(not is_static(BUSYBOX), reason="busybox-static is not installed")
def test_a_build_goes_on_after_the_engine_was_killed(building):
    """kill -9 in the middle of a RUN: nothing of it stays, and the next commit is built."""
    world = building
    slow = f"FROM scratch\nCOPY busybox /bin/busybox\nRUN {SLOW}\n"
    world.repository.commit({"Dockerfile": slow, "busybox": BUSYBOX.read_bytes()})
    world.apply_build()
    sleeping = lambda: any(  # noqa: E731
        b"sleep\x00300" in _cmdline(path) for path in Path("/proc").glob("[0-9]*")
    )
    world.wait_until(sleeping, "the build is in its RUN")
    world.engine.kill()
    world.wait_until(lambda: not sleeping(), "what it started dies with it")
    world.engine.start()
    # By the engine, which takes its executions up again, or by a run that finds nobody at work.
    world.wait_until(sleeping, "it is begun again")
    parameters = {"namespace": world.namespace, "name": "shop", "requested_by": "ada"}
    body = {"action": "kubestorm.image_build_cancel", "parameters": parameters}
    world.engine.client.post("/v1/executions", json=body).raise_for_status()
    world.wait_until(lambda: world.build().get("outcome") == "Canceled", "it is canceled")
    last = world.repository.commit({"Dockerfile": DOCKERFILE, "main": "3"})
    world.wait_until(lambda: world.has_built(last), "the next commit is built")
    world.wait_until(
        lambda: not list((world.builds / "runs").iterdir()), "nothing of a build is left"
    )


def executions(world: BuildingWorld) -> Counter[str]:
    """How often each action of a build was run so far; not the looks that a busy machine adds, as
    what it does takes longer than the sensor waits for a word.
    """
    found = world.engine.get("executions", limit=500)
    refs = [one["action"]["ref"] for one in found if not _is_resync(one)]
    mine = ("source_", "imagebuild_", "build_run", "base_images_", "descriptor_")
    return Counter(ref for ref in refs if ref.partition(".")[2].startswith(mine))


def _is_resync(execution: dict[str, Any]) -> bool:
    payload = (execution.get("trigger_instance") or {}).get("payload") or {}
    return payload.get("change") == "resync"


def _cmdline(path: Path) -> bytes:
    try:
        return (path / "cmdline").read_bytes()
    except OSError:
        return b""
