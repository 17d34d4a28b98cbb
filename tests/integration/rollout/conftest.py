"""A cluster in which Applications roll out: the sandbox's controllers, and the real ones with a
pretend node.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import itertools
import json
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from kubestorm.clients import resources
from kubestorm.clients.services import Services, utc_now
from kubestorm.core.naming import identity_of
from kubestorm.core.settings import load_settings
from kubestorm.core.times import parse_time
from kubestorm.kinds.application.act import (
    ApplicationRun,
    ensure_configuration,
    ensure_deployment,
    ensure_objects,
)
from kubestorm.kinds.application.image_policy import desired_image_annotation
from kubestorm.kinds.application.rollout.act import RolloutRun, advance
from kubestorm.kinds.application.rollout.observe import History, read_history
from kubestorm.kinds.application.rollout.values import DesiredImage
from kubestorm.kinds.application.start_rollout import ensure_rollout
from kubestorm.kinds.application.status import ORDER
from kubestorm.kinds.common.resource import ResourceHandle
from kubestorm.sources.watching.change_detection import Detection, detect_changes
from kubestorm.sources.watching.fingerprint import PathTable
from kubestorm.sources.watching.owned_state import NOTHING, state_of, wakes_owner

from sandbox.kubernetes import podlife
from sandbox.kubernetes.controllers import Controllers
from sandbox.kubernetes.kubelet import Kubelet
from tests.kube_fixtures import Kube, eventually, http_client, kube_of

ROOT = Path(__file__).resolve().parents[3]
READY_DELAY_SECONDS = 0.05
DEADLINE_SECONDS = 120.0
LOOK_SECONDS = 0.05
APPLICATION_STEPS = (ensure_configuration, ensure_objects, ensure_deployment)
KINDS = {
    "Deployment": "deployments",
    "ReplicaSet": "replicasets",
    "Pod": "pods",
    "Job": "jobs",
}
APPLICATION = {
    "image": {"repository": "registry.test/team/cart"},
    "follow": {"semver": ">=1.0"},
    "port": 8080,
    "resources": {
        "requests": {"cpu": "1m", "memory": "1Mi"},
        "limits": {"cpu": "10m", "memory": "10Mi"},
    },
    "health": {"tcp": {}},
    "replicas": {"min": 4},
}


def digest(tag: str, fate: str = "") -> str:
    """A digest of its own for each tag of one test, whose pods meet the fate."""
    found = "sha256:" + hashlib.sha256(f"{tag} {fate}".encode()).hexdigest()
    if fate:
        podlife.FATES_OF_DIGESTS[found] = fate
    return found


@dataclass
class World:
    """One namespace with one Application, and the runs that the engine would start."""

    http: httpx.Client
    namespace: str
    config: dict[str, Any]
    runs: Iterator[int] = field(default_factory=itertools.count)
    name: str = "cart"
    told: dict[str, str] = field(default_factory=dict)
    """What the owned objects told last, by uid."""
    seen: dict[str, bytes | None] = field(default_factory=dict)
    """What the watch knew of each Rollout when it was last run."""
    table: PathTable = field(default_factory=PathTable)
    count: int = 0
    """Runs of Rollouts."""

    def services(self, now: Callable[[], dt.datetime] = utc_now) -> Services:
        return Services(load_settings(self.config), now=now)

    def path(self, plural: str, name: str = "") -> str:
        groups = {
            "deployments": "apis/apps/v1",
            "replicasets": "apis/apps/v1",
            "jobs": "apis/batch/v1",
            "applications": "apis/kubestorm.io/v1alpha1",
            "rollouts": "apis/kubestorm.io/v1alpha1",
        }
        path = f"/{groups.get(plural, 'api/v1')}/namespaces/{self.namespace}/{plural}"
        return f"{path}/{name}" if name else path

    def get(self, plural: str, name: str = "") -> dict[str, Any]:
        return self.http.get(self.path(plural, name or self.name)).raise_for_status().json()

    def list(self, plural: str, **query: str) -> list[dict[str, Any]]:
        return self.http.get(self.path(plural), params=query).raise_for_status().json()["items"]

    def merge(self, plural: str, name: str, body: dict[str, Any], subresource: str = "") -> None:
        headers = {"content-type": "application/merge-patch+json"}
        path = self.path(plural, name) + (f"/{subresource}" if subresource else "")
        answer = self.http.patch(path, json=body, headers=headers)
        assert answer.is_success, answer.text

    def apply(self, **spec: Any) -> None:
        """Create the Application, and let its own run make its Service and autoscaler."""
        body = {
            "apiVersion": "kubestorm.io/v1alpha1",
            "kind": "Application",
            "metadata": {"name": self.name},
            "spec": {**APPLICATION, **spec},
        }
        answer = self.http.post(self.path("applications"), json=body)
        assert answer.is_success, answer.text
        self.reconcile_application()

    def annotate(self, **annotations: str | None) -> None:
        """Write annotations of the group kubestorm.io on the Application; underscores stand for
        hyphens.
        """
        keys = {
            f"kubestorm.io/{key.replace('_', '-')}": value for key, value in annotations.items()
        }
        self.merge("applications", self.name, {"metadata": {"annotations": keys}})

    def push(self, tag: str, fate: str = "", **more: Any) -> str:
        """The wish that a push leaves on the Application."""
        found = digest(f"{self.namespace} {tag}", fate)
        wish = DesiredImage(found, tag, f"event-{tag}-{fate}", utc_now(), utc_now(), "ann", **more)
        self.annotate(wanted_image=desired_image_annotation(wish))
        return found

    def run_application(self, *, now: Callable[[], dt.datetime] = utc_now) -> dict[str, Any]:
        """The step of an Application's run that makes Rollouts."""
        services = self.services(now)
        handle = ResourceHandle(
            services,
            identity_of("test", "applications", self.get("applications")),
            f"app-{next(self.runs)}",
            ORDER,
        )
        return handle.while_leased(lambda: ensure_rollout(services, handle))

    def reconcile_application(self) -> None:
        """The Application's chain."""
        services = self.services()
        identity = identity_of("test", "applications", self.get("applications"))
        for step in APPLICATION_STEPS:
            run = ApplicationRun(services, identity, f"app-{next(self.runs)}")
            run.handle.while_leased(lambda step=step, run=run: step(run))
        services.close()

    def run_rollout(self, name: str) -> dict[str, Any]:
        """One run of a Rollout."""
        services = self.services()
        rollout = self.get("rollouts", name)
        self.seen[name] = self._judge(rollout).record
        self.count += 1
        identity = identity_of("test", "rollouts", rollout)
        try:
            return advance(RolloutRun(services, identity, f"run-{next(self.runs)}"))
        finally:
            services.close()

    def _judge(self, rollout: dict[str, Any]) -> Detection:
        """What the watch makes of it since its last run."""
        known = self.seen.get(rollout["metadata"]["name"])
        return detect_changes(rollout, known, self.table, outcome_counts=True)

    def is_woken(self, name: str) -> bool:
        """Whether the sensor would dispatch this Rollout now: it is new or somebody wrote on it,
        its time has come, or an owned object tells something.
        """
        states = {}
        for kind, plural in KINDS.items():
            for one in self.list(plural):
                states[one["metadata"]["uid"]] = state_of(kind, one)
        told, self.told = self.told, states
        rollout = self.get("rollouts", name)
        requeue_at = parse_time((rollout.get("status") or {}).get("requeueAt"))
        return (
            bool(self._judge(rollout).changes)
            or (requeue_at is not None and requeue_at <= utc_now())
            or any(wakes_owner(told.get(uid, NOTHING), states[uid]) for uid in states)
        )

    def rollouts(self) -> list[dict[str, Any]]:
        return sorted(self.list("rollouts"), key=lambda one: one["spec"]["number"])

    def phases(self) -> list[str]:
        return [(one.get("status") or {}).get("phase", "") for one in self.rollouts()]

    def newest(self) -> dict[str, Any]:
        return self.rollouts()[-1]

    def status(self, name: str = "") -> dict[str, Any]:
        return (self.get("rollouts", name) if name else self.newest()).get("status") or {}

    def drive(self, until: Callable[[dict[str, Any]], Any], name: str = "") -> dict[str, Any]:
        """Run a Rollout whenever the sensor would, until its status is as wished."""
        name = name or self.newest()["metadata"]["name"]
        deadline = time.monotonic() + DEADLINE_SECONDS
        while True:
            if self.is_woken(name):
                self.run_rollout(name)
            status = self.status(name)
            if until(status):
                return status
            assert time.monotonic() < deadline, json.dumps([status, self.pods()], indent=1)
            time.sleep(LOOK_SECONDS)

    def over(self, name: str = "") -> dict[str, Any]:
        """Drive to the end."""
        return self.drive(lambda status: status.get("finishedAt"), name)

    def roll(self, tag: str, fate: str = "") -> dict[str, Any]:
        """Push, make the Rollout and drive it to its end."""
        self.push(tag, fate)
        assert self.run_application()["created"]
        return self.over()

    def pods(self) -> dict[str, int]:
        """Pods behind the Service that are ready, by digest."""
        selector = self.get("services")["spec"]["selector"]
        label = ",".join(f"{key}={value}" for key, value in selector.items())
        found: dict[str, int] = {}
        for pod in self.list("pods", labelSelector=label):
            conditions = (pod.get("status") or {}).get("conditions") or ()
            ready = any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
            if ready and not pod["metadata"].get("deletionTimestamp"):
                image = pod["spec"]["containers"][0]["image"].partition("@")[2]
                found[image] = found.get(image, 0) + 1
        return found

    def tracks(self) -> dict[str, int]:
        """The wanted pods of each track."""
        label = resources.selector(self.name)
        return {
            one["spec"]["selector"]["matchLabels"][resources.TRACK_LABEL]: one["spec"]["replicas"]
            for one in self.list("deployments", labelSelector=label)
        }

    def eventually_pods(self, wanted: dict[str, int]) -> None:
        eventually(
            lambda: self.pods() == wanted,
            f"the pods behind the Service are {wanted}",
            DEADLINE_SECONDS,
        )

    def history(self) -> History:
        services = self.services()
        return read_history(services.kube, self.namespace, self.name)

    def events(self) -> list[tuple[str, str]]:
        """(reason, message) of the Events on the Application."""
        found = self.list("events")
        return [
            (one["reason"], one["message"])
            for one in found
            if one["involvedObject"]["kind"] == "Application"
        ]


@pytest.fixture(
    scope="module", params=["sandbox", pytest.param("real", marks=pytest.mark.realkube)]
)
def living_kube(request: pytest.FixtureRequest) -> Iterator[Kube]:
    """An API whose Deployments come to life."""
    if request.param == "real":
        kube = kube_of(request.getfixturevalue("real_kube"))
        running: Any = Kubelet(
            kube.url, kube.token, kube.ca, ready_delay_seconds=READY_DELAY_SECONDS
        )
    else:
        kube = request.getfixturevalue("sandbox_kube")
        running = Controllers(
            kube.url, kube.token, kube.ca, ready_delay_seconds=READY_DELAY_SECONDS
        )
    with running, http_client(kube, kube.token) as http:
        url = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        for plural in ("applications", "rollouts"):
            crd = yaml.safe_load((ROOT / "crds" / f"{plural}.kubestorm.io.yaml").read_text())
            assert http.post(url, json=crd).status_code in (
                httpx.codes.CREATED,
                httpx.codes.CONFLICT,
            )
            served = f"/apis/kubestorm.io/v1alpha1/{plural}"
            eventually(lambda served=served: http.get(served).is_success, f"{plural} are served")
        yield kube


@pytest.fixture(scope="module")
def cluster(living_kube: Kube) -> Iterator[httpx.Client]:
    with http_client(living_kube, living_kube.token) as http:
        yield http


@pytest.fixture
def world(living_kube: Kube, cluster: httpx.Client) -> Iterator[World]:
    """A fresh namespace, and the pack's configuration for it."""
    name = f"roll-{secrets.token_hex(4)}"
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    cluster.post("/api/v1/namespaces", json=body).raise_for_status()
    account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
    eventually(
        lambda: cluster.get(account).status_code == 200, "the namespace has its service account"
    )
    config = {
        "cluster": "test",
        "kubernetes": {"kubeconfig": str(living_kube.kubeconfig), "namespace": name},
        "rollout": {"settle_seconds": 0.0, "patience_seconds": 0.2},
    }
    yield World(cluster, name, config)
    cluster.delete(f"/api/v1/namespaces/{name}")
