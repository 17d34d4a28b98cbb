"""From a push to running pods, and safely back: the whole way through the engine, as people and
registries see it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from sandbox.kubernetes import podlife
from sandbox.proxy import Weather
from tests.e2e.conftest import World

REGISTRY, REPOSITORY = "registry.test", "team/cart"
GROUP = "kubestorm.io/v1alpha1"
SPEC = {
    "image": {"repository": f"{REGISTRY}/{REPOSITORY}"},
    "follow": {"semver": ">=1.0"},
    "port": 8080,
    "resources": {
        "requests": {"cpu": "1m", "memory": "1Mi"},
        "limits": {"cpu": "10m", "memory": "10Mi"},
    },
    "health": {"tcp": {}},
    "replicas": {"min": 4},
}
CANARY = {"type": "Canary", "steps": [{"weight": 25}, {"weight": 50, "untilPromoted": True}]}


@dataclass
class Shop:
    """One Application named cart in the namespace of a test."""

    world: World

    def apply(self, **spec: Any) -> None:
        """What a developer writes."""
        metadata = {"name": "cart", "namespace": self.world.namespace}
        body = {
            "apiVersion": GROUP,
            "kind": "Application",
            "metadata": metadata,
            "spec": {**SPEC, **spec},
        }
        self.world.environment.apply(body)

    def push(self, tag: str, fate: str = "", number: int = 0) -> str:
        """What a sensor says of a push; the pods of that digest meet the fate."""
        digest = (
            "sha256:"
            + hashlib.sha256(f"{self.world.namespace} {tag} {number}".encode()).hexdigest()
        )
        if fate:
            podlife.FATES_OF_DIGESTS[digest] = fate
        payload = {
            "registry": REGISTRY,
            "repository": REPOSITORY,
            "tag": tag,
            "digest": digest,
            "media_type": "application/vnd.oci.image.manifest.v1+json",
            "pushed_at": f"2026-01-01T00:{number // 60:02}:{number % 60:02}Z",
            "actor": "ann",
            "source": "test",
            "event_id": f"{self.world.namespace}-{tag}-{number}",
        }
        self.post("webhooks/st2", {"trigger": "kubestorm.image_pushed", "payload": payload})
        return digest

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = self.world.engine.client.post(f"/v1/{path}", json=body)
        assert answer.is_success, answer.text
        return answer.json()

    def run(self, action: str, **parameters: Any) -> None:
        """What a person asks for."""
        given = {"namespace": self.world.namespace, "name": "cart", **parameters}
        made = self.post("executions", {"action": f"kubestorm.{action}", "parameters": given})
        path = f"executions/{made['id']}"
        self.world.wait_until(
            lambda: self.world.engine.get(path)["status"] == "succeeded", f"{action} succeeds"
        )

    def application(self) -> dict[str, Any]:
        return self.world.environment.read(GROUP, "Application", "cart", self.world.namespace) or {}

    def rollouts(self) -> list[dict[str, Any]]:
        found = self.world.environment.read_all(GROUP, "Rollout", self.world.namespace)
        return sorted(found, key=lambda one: one["spec"]["number"])

    def phases(self) -> list[str]:
        return [(one.get("status") or {}).get("phase", "") for one in self.rollouts()]

    def status(self) -> dict[str, Any]:
        found = self.rollouts()
        return (found[-1].get("status") or {}) if found else {}

    def condition(self, kind: str) -> tuple[str, str, str]:
        for one in (self.application().get("status") or {}).get("conditions") or ():
            if one["type"] == kind:
                return one["status"], one.get("reason", ""), one.get("message", "")
        return "Unknown", "", ""

    def pods(self) -> dict[str, int]:
        """Ready pods behind the Service, by digest."""
        environment, namespace = self.world.environment, self.world.namespace
        service = environment.read("v1", "Service", "cart", namespace)
        selector = service["spec"]["selector"] if service else {"none": "at all"}
        found: dict[str, int] = {}
        for pod in environment.read_all("v1", "Pod", namespace):
            labels = pod["metadata"].get("labels") or {}
            conditions = (pod.get("status") or {}).get("conditions") or ()
            ready = any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
            if (
                selector.items() <= labels.items()
                and ready
                and not pod["metadata"].get("deletionTimestamp")
            ):
                digest = pod["spec"]["containers"][0]["image"].partition("@")[2]
                found[digest] = found.get(digest, 0) + 1
        return found

    def wait_pods(self, digest: str, count: int = 4) -> None:
        self.world.wait_until(
            lambda: self.pods() == {digest: count},
            f"{count} pods of {digest[:15]}: {self.phases()}",
        )

    def wait_phases(self, *phases: str) -> None:
        def fits() -> bool:
            return self.phases() == list(phases)

        try:
            self.world.wait_until(fits, f"the rollouts are {phases}")
        except BaseException:
            print(json.dumps(self.rollouts(), indent=1))
            raise

    def ready(self) -> None:
        self.world.wait_until(
            lambda: self.condition("Ready")[0] == "True", "the Application is Ready"
        )


@pytest.fixture
def shop(world: World) -> Shop:
    return Shop(world)


def test_a_push_becomes_pods_and_a_bad_one_goes_back(shop):
    """kubectl describe shows the reason; the digest is not tried again until a person asks."""
    shop.apply()
    shop.world.wait_until(
        # There is no registry to ask which image to begin with: a push names it, or another try.
        lambda: shop.condition("RolledOut")[1] == "RegistryUnavailable",
        "it waits for a push",
    )
    first = shop.push("1.0.0")
    shop.wait_pods(first)
    shop.wait_phases("Complete")
    shop.ready()
    bad = shop.push("1.1.0", "broken")
    shop.wait_phases("Complete", "Failed")
    shop.wait_pods(first)
    status = shop.status()
    assert status["reason"] == "ImagePullFailed"
    shop.world.wait_until(
        lambda: shop.condition("RolledOut")[0] == "False", "the Application says so"
    )
    if shutil.which("kubectl"):
        asked = f"-n {shop.world.namespace} describe applications.kubestorm.io cart"
        told = subprocess.run(
            ["kubectl", "--kubeconfig", shop.world.environment.kubeconfig, *asked.split()],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert "cannot be pulled" in told
        assert "Rolled back to" in told
    shop.push("1.1.0", "broken", number=1)
    podlife.FATES_OF_DIGESTS.pop(bad)
    good = shop.push("1.2.0", number=2)
    shop.world.wait_until(
        lambda: shop.phases()[-1] == "Complete" and shop.pods() == {good: 4}, "the next one is good"
    )
    shop.run("application_rollback", requested_by="bob")
    shop.wait_pods(first)
    shop.world.wait_until(lambda: shop.phases()[-1] == "Complete", "the rollback is complete")
    assert shop.rollouts()[-1]["spec"]["requestedBy"] == "bob"


def test_a_canary_waits_for_a_person(shop):
    """One pod, two pods, a promotion; and the next one is aborted on its way."""
    shop.apply(strategy=CANARY)
    first = shop.push("1.0.0")
    shop.wait_phases("Complete")
    second = shop.push("1.1.0")
    shop.world.wait_until(lambda: shop.status().get("reason") == "AwaitingPromotion", "it waits")
    assert shop.pods() == {first: 2, second: 2}
    shop.run("application_promote", requested_by="bob")
    shop.wait_phases("Complete", "Complete")
    shop.wait_pods(second)
    shop.push("1.2.0")
    shop.world.wait_until(
        lambda: shop.status().get("reason") == "AwaitingPromotion", "it waits again"
    )
    shop.run("application_abort", requested_by="carol")
    shop.wait_phases("Complete", "Complete", "Aborted")
    shop.wait_pods(second)
    assert "carol" in shop.status()["message"]


def test_a_storm_of_pushes_makes_at_most_three_rollouts_and_the_last_wins(shop):
    """A hundred pushes as fast as they are taken; five hundred are in the tests of the library."""
    shop.apply()
    shop.world.wait_until(
        # There is no registry to ask which image to begin with: a push names it, or another try.
        lambda: shop.condition("RolledOut")[1] == "RegistryUnavailable",
        "it waits for a push",
    )
    last = ""
    for number in range(100):
        last = shop.push(f"1.{number}.0", number=number)
    shop.world.wait_until(lambda: shop.pods() == {last: 4}, f"the last one runs: {shop.phases()}")
    shop.world.wait_until(
        lambda: all(one in ("Complete", "Superseded") for one in shop.phases()), "all is over"
    )
    assert len(shop.rollouts()) <= 3
    shop.world.wait_until(lambda: not shop.world.unfinished(), "nothing stays running")


def slow_leases(world: World) -> contextlib.AbstractContextManager[None]:
    @contextlib.contextmanager
    def slow() -> Iterator[None]:
        faults = world.environment.faults["kubernetes"]
        fault = faults.add(path=r".*/leases/.*", delay_seconds=0.2, times=None)
        yield
        faults.remove(fault)

    return slow()


def test_a_kill_in_the_middle_of_a_rollout_changes_nothing_about_its_end(shop):
    """Killed with SIGKILL several times on the way: a good image is everywhere, once."""
    shop.apply(strategy={"type": "Canary", "steps": [{"weight": 25}, {"weight": 50}]})
    shop.push("1.0.0")
    shop.wait_phases("Complete")
    with slow_leases(shop.world):
        second = shop.push("1.1.0")
        for wanted in (25, 50, 100):
            shop.world.wait_until(
                lambda w=wanted: shop.status().get("weight", 0) >= w, f"{wanted} %"
            )
            shop.world.engine.kill()
            shop.world.engine.start()
    shop.wait_phases("Complete", "Complete")
    shop.wait_pods(second)
    shop.world.wait_until(lambda: not shop.world.unfinished(), "nothing stays running for ever")


WEATHER: dict[str, Callable[[Any], Any]] = {
    "reset": lambda world: world.environment.proxies["kubernetes"].bad(Weather.RESET),
    "errors": lambda world: _errors(world),
}


@contextlib.contextmanager
def _errors(world: World) -> Iterator[None]:
    faults = world.environment.faults["kubernetes"]
    fault = faults.add(method="PATCH", path=r".*/(deployments|services)/.*", status=500, times=5)
    yield
    faults.remove(fault)


@pytest.mark.parametrize("weather", WEATHER.values(), ids=WEATHER.keys())
def test_the_end_is_the_same_in_bad_weather(shop, weather):
    """A blue/green rollout while the API server is away, or refuses changes."""
    shop.apply(strategy={"type": "BlueGreen", "keepSeconds": 0})
    first = shop.push("1.0.0")
    shop.wait_phases("Complete")
    shop.wait_pods(first)
    second = shop.push("1.1.0")
    shop.world.wait_until(lambda: len(shop.rollouts()) == 2, "it begins")
    with weather(shop.world):
        for _ in range(3):
            shop.phases()
    shop.wait_phases("Complete", "Complete")
    shop.wait_pods(second)
