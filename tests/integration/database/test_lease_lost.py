"""A step that loses its Lease while a service is slow writes nothing more; Leases go with their
object.

The first run reaches the Kubernetes API through a proxy that is cut: its Lease runs out, as that of
a process does that stands still.
"""

from __future__ import annotations

import datetime as dt
import functools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml
from kubestorm.clients.kube import LEASES
from kubestorm.clients.lease import UNUSED_SECONDS, LeaseLostError, collect
from kubestorm.clients.services import utc_now
from kubestorm.core.conditions import TRUE, Condition
from kubestorm.core.errors import TemporaryError
from kubestorm.core.naming import LEASE_OF_ANNOTATION, identity_of
from kubestorm.kinds.database import act as steps
from kubestorm.kinds.database.run import DatabaseRun
from kubestorm.kinds.database.status import PUBLISHED

from sandbox.faults import Fault, FaultMiddleware, Faults
from sandbox.proxy import Proxy, Weather
from sandbox.vault.server import VaultServer
from tests.integration.database.conftest import Layer, World
from tests.kube_fixtures import Kube, eventually

DURATION_SECONDS = 5
PATIENCE_SECONDS = 120.0


@pytest.fixture
def aws_faults() -> Faults:
    """What RDS can be made to do."""
    return Faults()


@pytest.fixture
def aws_layer(aws_faults: Faults) -> Layer:
    """RDS that can be slow."""
    return functools.partial(FaultMiddleware, faults=aws_faults)


@pytest.fixture
def vault_faults() -> Faults:
    """What Vault can be made to do."""
    return Faults()


@pytest.fixture
def vault(vault_faults: Faults) -> Iterator[VaultServer]:
    """A Vault that can be slow."""
    with VaultServer(
        dev=True, faults=functools.partial(FaultMiddleware, faults=vault_faults)
    ) as server:
        yield server


class FirstRun:
    """A run in a thread, whose way to the Kubernetes API can be cut."""

    def __init__(self, world: World, kubeconfig: str, proxy: Proxy) -> None:
        self.result: Any = None
        self._world, self._proxy = world, proxy
        self._services = world.services(
            lease={"duration_seconds": DURATION_SECONDS},
            kubernetes={**world.config["kubernetes"], "kubeconfig": kubeconfig},
            aws={**world.config["aws"], "timeout_seconds": PATIENCE_SECONDS},
            vault={**world.config["vault"], "timeout_seconds": PATIENCE_SECONDS},
        )
        self._thread: threading.Thread | None = None

    def begin(self, work: Callable[[DatabaseRun], dict[str, Any]]) -> DatabaseRun:
        """Do some work under the Lease."""
        run = DatabaseRun(
            self._services, identity_of("test", "databases", self._world.get()), "first"
        )

        def execute() -> None:
            self.result = run.handle.while_leased(functools.partial(work, run))

        self._thread = threading.Thread(target=execute, daemon=True)
        self._thread.start()
        return run

    def cut(self) -> None:
        """From now on its Lease is not renewed."""
        self._proxy.set(Weather.REFUSED)

    def mend(self) -> None:
        """From now on it sees what has become of its Lease."""
        self._proxy.set(Weather.FAIR)

    def end(self) -> Any:
        """Let it go on, and see what came of it."""
        self.mend()
        assert self._thread is not None
        self._thread.join(PATIENCE_SECONDS)
        assert not self._thread.is_alive()
        return self.result


@pytest.fixture
def first(world: World, kube: Kube, tmp_path: Any) -> Iterator[FirstRun]:
    """The run that loses its Lease."""
    with Proxy(kube.url) as proxy:
        config = yaml.safe_load(kube.kubeconfig.read_text())
        for each in config["clusters"]:
            each["cluster"]["server"] = proxy.url
        path = tmp_path / "kubeconfig"
        path.write_text(yaml.safe_dump(config))
        yield FirstRun(world, str(path), proxy)


def second_run(world: World) -> DatabaseRun:
    """Another execution for the same object."""
    identity = identity_of("test", "databases", world.get())
    return DatabaseRun(world.services(lease={"duration_seconds": 60}), identity, "second")


def slow(faults: Faults, path: str) -> Fault:
    """The next answer is a late one."""
    return faults.add(path=path, held=True, times=1)


def test_of_two_runs_only_one_makes_the_instance(world, first, aws_faults):
    """RDS is slow, the Lease runs out, another run takes over: the first sends RDS nothing more."""
    world.apply()
    steps.ensure_credentials(second_run(world))
    late = slow(aws_faults, "/.*")
    first.begin(steps.ensure_instance)
    eventually(lambda: late.hits, "the first run waits for RDS, which has no instance")
    first.cut()
    second = second_run(world)
    made = second.handle.while_leased(
        functools.partial(steps.ensure_instance, second), wait_seconds=PATIENCE_SECONDS
    )
    assert made["decisions"] == ["Create"]
    before = world.get()
    sent = aws_faults.add(times=None)
    aws_faults.remove(late)
    assert first.end()["skipped"]
    assert sent.hits == 0
    assert len(list(world.services().rds.list_instances())) == 1
    assert world.get()["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    assert world.get()["status"]["lastRunId"] == "second"


@pytest.mark.parametrize(
    "step, service, path",
    [
        pytest.param(steps.ensure_credentials, "vault", "/v1/secret/metadata/.*", id="Vault"),
        pytest.param(steps.publish, "aws", "/.*", id="Consul"),
    ],
)
def test_nothing_is_written_elsewhere(world, first, aws_faults, vault_faults, step, service, path):
    """As for RDS: neither a secret nor an address, though nobody else has written it yet."""
    world.apply()
    if service == "aws":
        for _ in range(2):
            steps.ensure_credentials(second_run(world))
            steps.ensure_instance(second_run(world))
            world.let_aws_finish()
        steps.ensure_instance(second_run(world))
    faults = aws_faults if service == "aws" else vault_faults
    late = slow(faults, path)
    run = first.begin(step)
    eventually(lambda: late.hits, f"the first run waits for {service}")
    first.cut()
    taken = second_run(world).handle.lease()
    assert taken.acquire_within(PATIENCE_SECONDS)
    before = world.get()
    faults.remove(late)
    assert first.end()["skipped"]
    assert world.get()["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    services = world.services()
    assert services.consul.read_tree(run.consul_prefix) == {}
    assert (services.vault.describe(run.vault_path) is None) == (service == "vault")


def test_a_status_is_not_written_by_who_was_overtaken(world, first):
    """The writer finds out by itself; the heartbeat need not have told it."""
    world.apply()
    working, overtaken = threading.Event(), threading.Event()
    raised: list[Exception] = []

    def work(run: DatabaseRun) -> dict[str, Any]:
        working.set()
        assert overtaken.wait(PATIENCE_SECONDS)
        try:
            run.write_status(Condition(PUBLISHED, TRUE, "Late", "Written too late."))
        except LeaseLostError as error:
            raised.append(error)
            raise
        return {}

    first.begin(work)
    assert working.wait(PATIENCE_SECONDS)
    first.cut()
    second = second_run(world)
    assert second.handle.lease().acquire_within(PATIENCE_SECONDS)
    second.write_status(Condition(PUBLISHED, TRUE, "Published", "Written in time."))
    first.mend()
    overtaken.set()
    assert first.end()["skipped"]
    assert len(raised) == 1
    assert world.condition("Published") == ("True", "Published")
    assert world.get()["status"]["lastRunId"] == "second"


def test_who_cannot_renew_does_not_write(world, first):
    """While nobody knows whose the Lease is, it is a failure that passes."""
    world.apply()
    working, outdated = threading.Event(), threading.Event()
    raised: list[Exception] = []

    def work(run: DatabaseRun) -> dict[str, Any]:
        working.set()
        assert outdated.wait(PATIENCE_SECONDS)
        with pytest.raises(TemporaryError) as error:
            run.services.consul.ensure_tree("a/b/c/", {"host": "late"})
        raised.append(error.value)
        return {}

    first.begin(work)
    assert working.wait(PATIENCE_SECONDS)
    first.cut()
    outdated.set()
    eventually(lambda: raised, "the write was refused")
    first.end()
    assert raised[0].service == "Kubernetes"
    assert world.services().consul.read_tree("a/b/c/") == {}


def leases(world: World) -> dict[str, dict[str, Any]]:
    """The Leases in the pack's namespace, by what they are for."""
    found = world.services().kube.list_all(LEASES, world.namespace)
    return {
        (each["metadata"].get("annotations") or {}).get(LEASE_OF_ANNOTATION, ""): each
        for each in found
    }


def test_the_lease_goes_with_its_object(world):
    """The run that lets the object go deletes it; until then it says whose it is."""
    world.apply()
    world.until_ready()
    assert list(leases(world)) == [f"databases.kubestorm.io {world.namespace}/orders"]
    world.delete()
    world.until_gone()
    assert leases(world) == {}


def test_a_run_that_comes_too_late_leaves_no_lease(world):
    """Its object is gone when it looks."""
    identity = identity_of("test", "databases", world.apply())
    world.delete()
    run = DatabaseRun(world.services(), identity, "late")
    assert run.handle.while_leased(functools.partial(steps.ensure_credentials, run))["skipped"]
    assert leases(world) == {}


def test_leases_that_nobody_uses_are_collected(world):
    """After a day; neither those that are held, nor what is not the pack's."""
    services, now = world.services(), utc_now()
    for name in ("old", "held"):
        assert services.lease(name, name, of=name).acquire()
    services.lease("old", "old").acquire()
    foreign = {
        "apiVersion": LEASES.api_version,
        "kind": "Lease",
        "metadata": {"name": "leader"},
        "spec": {"renewTime": "2020-01-01T00:00:00.000000Z"},
    }
    services.kube.create(LEASES, foreign, world.namespace)
    assert collect(services.kube, now) == 0
    later = now + dt.timedelta(seconds=UNUSED_SECONDS + 120)
    held = services.lease("held", "held", of="held")
    held._now = lambda: later
    assert held.acquire()
    assert collect(services.kube, later) == 1
    assert sorted(each["metadata"]["name"] for each in leases(world).values()) == ["held", "leader"]
