"""The world around the database journey: sandbox servers, and the journey's own steps run against
them in order.
"""

from __future__ import annotations

import functools
import importlib.util
import inspect
import itertools
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
import stormcell
import yaml
from kubestorm.clients.lease import LeaseLock
from kubestorm.clients.services import Services
from kubestorm.core import conditions
from kubestorm.core.errors import Error
from kubestorm.core.naming import identity_of
from kubestorm.core.settings import load_settings
from kubestorm.kinds.database import act as steps
from kubestorm.kinds.database.act_deletion import tear_down
from kubestorm.kinds.database.run import DatabaseRun
from kubestorm.people.approval import gate

from sandbox.aws.server import AwsServer
from sandbox.aws.wsgi import read_body
from sandbox.clock import ManualClock
from sandbox.consul import ConsulServer
from sandbox.serving import AsgiApp
from sandbox.vault.server import VaultServer
from tests.kube_fixtures import Kube, eventually

ROOT = Path(__file__).resolve().parents[3]
DATABASES = "/apis/kubestorm.io/v1alpha1/namespaces/{}/databases"


@pytest.fixture
def clock() -> ManualClock:
    """AWS's time; tests move it instead of waiting."""
    return ManualClock()


Layer = Callable[[AsgiApp], AsgiApp]


class Recorder:
    """An ASGI layer that keeps the parameters of each call of the pack to AWS, and passes it on."""

    def __init__(self) -> None:
        self.calls: list[dict[str, str]] = []

    def around(self, app: AsgiApp) -> AsgiApp:
        async def recording(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            body = await read_body(receive)
            call = {
                key: values[0] for key, values in parse_qs(body.decode("utf-8", "replace")).items()
            }
            agent = dict(scope["headers"]).get(b"user-agent", b"")
            if (
                "Action" in call and b"kubestorm" in agent
            ):  # the tests' own calls are an administrator's
                self.calls.append(call)

            async def replay() -> dict[str, Any]:
                return {"type": "http.request", "body": body, "more_body": False}

            await app(scope, replay, send)

        return recording


@pytest.fixture
def recorder() -> Recorder:
    """What the pack asks of AWS."""
    return Recorder()


@pytest.fixture
def aws_layer(recorder: Recorder) -> Layer:
    """What stands between the pack and RDS."""
    return recorder.around


@pytest.fixture
def aws(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch, aws_layer: Layer
) -> Iterator[AwsServer]:
    """RDS that takes ten seconds of its own clock to provision."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with AwsServer(clock=clock, provision_seconds=10, faults=aws_layer) as server:
        yield server


@pytest.fixture
def vault() -> Iterator[VaultServer]:
    """A Vault that is unsealed and has a KV version 2 engine at secret/."""
    with VaultServer(dev=True) as server:
        yield server


@pytest.fixture
def consul() -> Iterator[ConsulServer]:
    """A Consul without ACLs."""
    with ConsulServer() as server:
        yield server


@pytest.fixture
def config(
    aws: AwsServer, vault: VaultServer, consul: ConsulServer, tmp_path: Path
) -> dict[str, Any]:
    """The pack's configuration for these servers, without Kubernetes."""
    token = tmp_path / "vault-token"
    token.write_text(vault.root_token)
    return {
        "cluster": "test",
        "aws": {"region": "eu-central-1", "endpoint_url": aws.url, "attempts": 1},
        "vault": {"url": vault.url, "auth": {"method": "token", "token_file": str(token)}},
        "consul": {"url": consul.url},
        "database": {"defaults": {"backup_retention_days": 0}},
    }


Step = tuple[str, Callable[[DatabaseRun], dict[str, Any]]]
STEPS: list[Step] = [
    ("credentials", steps.ensure_credentials),
    ("instance", steps.ensure_instance),
    ("publish", steps.publish),
]
TEARDOWN: list[Step] = [("teardown", lambda run: tear_down(run, gate.deletion))]


@dataclass
class World:
    """One cluster with the CRD, and what stands around it."""

    http: httpx.Client
    namespace: str
    config: dict[str, Any]
    aws: AwsServer
    clock: ManualClock
    runs: Iterator[int] = field(default_factory=itertools.count)

    def services(self, **more: Any) -> Services:
        """Fresh clients, as each action of a run has its own."""
        return Services(load_settings({**self.config, **more}))

    def apply(self, name: str = "orders", **spec: Any) -> dict[str, Any]:
        """Create the Database, or give it this spec; None leaves a field out."""
        spec = {"engine": "postgres", "version": "16", "size": "small", **spec}
        url = DATABASES.format(self.namespace)
        body = {
            "apiVersion": "kubestorm.io/v1alpha1",
            "kind": "Database",
            "metadata": {"name": name},
            "spec": {key: value for key, value in spec.items() if value is not None},
        }
        answer = self.http.post(url, json=body)
        if answer.status_code == httpx.codes.CONFLICT:
            old = self.get(name)
            body["metadata"] = old["metadata"]
            answer = self.http.put(f"{url}/{name}", json=body)
        assert answer.is_success, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def get(self, name: str = "orders") -> dict[str, Any] | None:
        """The Database, None when it is gone."""
        answer = self.http.get(f"{DATABASES.format(self.namespace)}/{name}")
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        found: dict[str, Any] = answer.raise_for_status().json()
        return found

    def delete(self, name: str = "orders") -> None:
        """Ask for its deletion."""
        self.http.delete(f"{DATABASES.format(self.namespace)}/{name}").raise_for_status()

    def annotate(self, name: str = "orders", **annotations: str) -> None:
        """Write annotations; double underscores stand for what Python names cannot hold."""
        body = {"metadata": {"annotations": annotations}}
        url = f"{DATABASES.format(self.namespace)}/{name}"
        headers = {"content-type": "application/merge-patch+json"}
        self.http.patch(url, json=body, headers=headers).raise_for_status()

    def reconcile(self, name: str = "orders", *, stop_after: str = "") -> dict[str, Any]:
        """Run the steps as the rules and chains do; with `stop_after` the run dies there, its Lease
        not released.
        """
        resource = self.get(name)
        assert resource is not None
        identity = identity_of("test", "databases", resource)
        run_id = f"run-{next(self.runs)}"
        results: dict[str, Any] = {}
        deleting = bool(resource["metadata"].get("deletionTimestamp"))
        try:
            for step, call in TEARDOWN if deleting else STEPS:
                run = DatabaseRun(self.services(), identity, run_id)
                if step == stop_after:
                    assert self.lease(run).acquire()
                    results[step] = call(run)
                    return results
                results[step] = run.handle.while_leased(
                    functools.partial(call, run), wait_seconds=0
                )
                if results[step].get("message", "").startswith("Already being reconciled"):
                    return {"taken": results[step]["message"]}
        except Error as error:
            results["error"] = error
        return results

    def lease(self, run: DatabaseRun) -> LeaseLock:
        """The Lease that a step of this run takes."""
        services = run.services
        return LeaseLock(
            services.kube, run.identity.uid, holder=run.handle.run_id, now=services.now
        )

    def events(self) -> list[dict[str, Any]]:
        """The Events in the namespace."""
        items: list[dict[str, Any]] = self.http.get(
            f"/api/v1/namespaces/{self.namespace}/events"
        ).json()["items"]
        return items

    def until_gone(self, name: str = "orders") -> None:
        """Reconcile with AWS's time moving until the object is gone; a dozen looks are more than
        enough.
        """
        for _ in range(12):
            if self.get(name) is None:
                return
            self.reconcile(name)
            self.let_aws_finish()
        assert self.get(name) is None, self.get(name)

    def let_aws_finish(self) -> None:
        """Move AWS's time past everything it has under way."""
        self.clock.advance(60)

    def condition(self, kind: str, name: str = "orders") -> tuple[str, str]:
        """(status, reason) of a condition."""
        resource = self.get(name)
        assert resource is not None
        found = conditions.find((resource.get("status") or {}).get("conditions") or [], kind) or {}
        return found.get("status", "Unknown"), found.get("reason", "")

    def until_ready(self, name: str = "orders") -> None:
        """Reconcile with AWS's time moving, as resyncs do, until Ready; ten looks are more than
        enough.
        """
        for _ in range(10):
            self.reconcile(name)
            if self.condition("Ready", name)[0] == "True":
                return
            self.let_aws_finish()
        raise AssertionError(f"not Ready: {self.get(name)}")


@pytest.fixture
def world(
    kube: Kube,
    http: httpx.Client,
    namespace: str,
    config: dict[str, Any],
    aws: AwsServer,
    clock: ManualClock,
) -> World:
    """The journey's world on the sandbox's Kubernetes API and on the real one."""
    crd = yaml.safe_load((ROOT / "crds" / "databases.kubestorm.io.yaml").read_text())
    url = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    assert http.post(url, json=crd).status_code in (httpx.codes.CREATED, httpx.codes.CONFLICT)

    def established() -> bool:
        found = http.get(f"{url}/{crd['metadata']['name']}").json()
        known = (found.get("status") or {}).get("conditions") or []
        served = http.get(DATABASES.format(namespace)).is_success
        return served and any(
            item["type"] == "Established" and item["status"] == "True" for item in known
        )

    eventually(established, "the CRD is served")
    config["kubernetes"] = {"kubeconfig": str(kube.kubeconfig), "namespace": namespace}
    return World(http, namespace, config, aws, clock)


@pytest.fixture
def act(world: World, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[bool, Any]]:
    """Run an action of the pack in the test's namespace: `act("database_resize", size="huge")`."""
    monkeypatch.syspath_prepend(str(Path(stormcell.__file__).parent / "shims" / "st2"))
    for name in [name for name in sys.modules if name.split(".")[0] == "st2common"]:
        monkeypatch.delitem(sys.modules, name)

    def run(action: str, **parameters: Any) -> tuple[bool, Any]:
        path = ROOT / "actions" / f"{action}.py"
        spec = importlib.util.spec_from_file_location(f"pack_{action}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        own = next(
            found
            for found in vars(module).values()
            if inspect.isclass(found)
            and found.__module__ == module.__name__
            and hasattr(found, "run")
        )
        parameters = {"namespace": world.namespace, "name": "orders", **parameters}
        outcome: tuple[bool, Any] = own(config=world.config).run(**parameters)
        json.dumps(outcome[1])  # an execution's result has to be data
        return outcome

    return run
