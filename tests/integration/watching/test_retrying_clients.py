"""The clients of Kubernetes, Vault and Consul in front of servers that turn requests away."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from kubestorm.clients.consul_kv import ConsulStore
from kubestorm.clients.kube import KubeSettings, Resource, connect
from kubestorm.clients.lease import LeaseLock, LeaseLostError
from kubestorm.clients.retrying import ATTEMPTS, TOTAL_SECONDS
from kubestorm.clients.vault import VaultStore
from kubestorm.core.errors import ConflictError, TemporaryError
from kubestorm.core.secrets import Secret
from kubestorm.core.settings import ConsulSettings, VaultAuth, VaultSettings

from sandbox.consul import ConsulServer
from sandbox.faults import FaultMiddleware, Faults
from sandbox.vault.server import VaultServer
from tests.kube_fixtures import Kube

CONFIG_MAPS = Resource("", "v1", "configmaps")
PATH = ".*/configmaps.*"


@pytest.fixture
def kube(sandbox_kube: Kube) -> Kube:
    """Faults are the sandbox's."""
    return sandbox_kube


@pytest.fixture
def others() -> Faults:
    """What Vault and Consul can be made to do."""
    return Faults()


@pytest.fixture
def vault(others: Faults, tmp_path: Path) -> Iterator[VaultStore]:
    """A Vault with faults in front."""
    token = tmp_path / "token"
    with VaultServer(dev=True, faults=partial(FaultMiddleware, faults=others)) as server:
        token.write_text(server.root_token)
        auth = VaultAuth(method="token", token_file=str(token))
        yield VaultStore(VaultSettings(url=server.url, auth=auth))


@pytest.fixture
def consul(others: Faults) -> Iterator[ConsulStore]:
    """A Consul with faults in front."""
    with ConsulServer(faults=partial(FaultMiddleware, faults=others)) as server:
        yield ConsulStore(ConsulSettings(url=server.url))


def config_map(name: str) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}


def test_whoever_is_turned_away_for_the_rate_is_let_in_later(client, namespace, faults):
    """Priority and fairness answers 429 before anything is done, and says when to come again."""
    fault = faults.add(method="POST", path=PATH, times=2, status=429, headers={"Retry-After": "1"})
    began = time.monotonic()
    made = client.create(CONFIG_MAPS, config_map("one"), namespace)
    assert (made["metadata"]["name"], fault.hits) == ("one", 2)
    assert time.monotonic() - began >= 2.0


def test_a_long_wait_is_left_to_the_next_look(client, namespace, faults):
    """The error carries the time, and the request is sent once."""
    asked = str(int(TOTAL_SECONDS) + 50)
    fault = faults.add(path=PATH, times=None, status=429, headers={"Retry-After": asked})
    with pytest.raises(TemporaryError) as failed:
        client.get(CONFIG_MAPS, "one", namespace)
    assert (failed.value.retry_after_seconds, fault.hits) == (float(asked), 1)


def test_a_server_that_stays_broken_is_given_up(client, namespace, faults):
    """After a few tries."""
    fault = faults.add(path=PATH, times=None, status=500)
    with pytest.raises(TemporaryError):
        client.get(CONFIG_MAPS, "one", namespace)
    assert fault.hits == ATTEMPTS


def test_what_may_have_been_made_is_not_made_again(client, namespace, faults):
    """A POST that got a 5xx: the caller looks."""
    fault = faults.add(method="POST", path=PATH, times=1, status=503, headers={"Retry-After": "0"})
    with pytest.raises(TemporaryError):
        client.create(CONFIG_MAPS, config_map("one"), namespace)
    assert fault.hits == 1


@pytest.mark.parametrize("kind", ["merge", "json"])
def test_a_patch_is_repeated_where_twice_is_once(client, namespace, faults, kind):
    """A list of operations may add twice."""
    client.create(CONFIG_MAPS, config_map("one"), namespace)
    fault = faults.add(method="PATCH", path=PATH, times=1, status=500)
    body = (
        {"data": {"a": "1"}}
        if kind == "merge"
        else [{"op": "add", "path": "/data", "value": {"a": "1"}}]
    )
    change = partial(client.patch, CONFIG_MAPS, "one", body, namespace, kind=kind)
    if kind == "merge":
        assert change()["data"] == {"a": "1"}
    else:
        with pytest.raises(TemporaryError):
            change()
    assert fault.hits == 1


def test_what_is_sent_again_asks_the_fence_again(sandbox_kube, client, namespace, faults):
    """A Lease may be lost while a server says to come later."""
    client.create(CONFIG_MAPS, config_map("one"), namespace)
    fault = faults.add(method="PATCH", path=PATH, times=1, status=503)
    asked: list[bool] = []

    def fence() -> None:
        asked.append(True)
        if len(asked) > 1:
            raise LeaseLostError("Another execution has taken over.", service="Kubernetes")

    fenced = connect(KubeSettings(kubeconfig=str(sandbox_kube.kubeconfig)), fence)
    with pytest.raises(LeaseLostError):
        fenced.patch(CONFIG_MAPS, "one", {"data": {"a": "1"}}, namespace)
    fenced.close()
    assert (len(asked), fault.hits) == (2, 1)
    assert not client.get(CONFIG_MAPS, "one", namespace).get("data")


def test_a_lease_whose_taking_was_answered_with_an_error_is_held(client, namespace, faults):
    """The write went through; the same write again is refused, and the Lease is ours all the
    same.
    """
    lease = LeaseLock(client, "uid-5xx", namespace=namespace, holder="first")
    assert lease.acquire()
    lease.release()
    faults.add(method="PUT", path=".*/leases/uid-5xx.*", times=1, status=502, applied=True)
    assert lease.acquire()
    assert not LeaseLock(client, "uid-5xx", namespace=namespace, holder="second").acquire()


@pytest.mark.parametrize("status", [429, 500, 503])
def test_vault_is_asked_again(vault, others, status):
    """Its limits of rate are answered with 429, a change of leader with 5xx."""
    vault.ensure_credentials("app", "admin")
    fault = others.add(
        method="GET",
        path="/v1/secret/data/.*",
        times=2,
        status=status,
        headers={"Retry-After": "0"},
    )
    assert vault.read("app").username == "admin"
    assert fault.hits == 2


def test_a_secret_that_may_have_been_written_is_not_written_again(vault, others):
    """Check-and-set would take the second write for somebody else's."""
    first = vault.write("app", "admin", Secret("one"), replaces=0)
    fault = others.add(method="POST", path="/v1/secret/data/.*", times=1, status=500, body="{}")
    with pytest.raises(TemporaryError):
        vault.write("app", "admin", Secret("two"), replaces=first.version)
    assert fault.hits == 1
    others.add(
        method="POST",
        path="/v1/secret/data/.*",
        times=1,
        status=429,
        body="{}",
        headers={"Retry-After": "0"},
    )
    assert vault.write("app", "admin", Secret("two"), replaces=first.version).version == 2
    with pytest.raises(ConflictError):
        vault.write("app", "admin", Secret("two"), replaces=first.version)


@pytest.mark.parametrize("status", [429, 500])
def test_consul_is_asked_again(consul, others, status):
    """Reads and transactions that set values: twice is once."""
    reading = others.add(method="GET", path="/v1/kv/.*", times=1, status=status)
    writing = others.add(method="PUT", path="/v1/txn.*", times=1, status=status)
    assert consul.ensure_tree("a/b/c/", {"host": "db"}).written == ("host",)
    assert (reading.hits, writing.hits) == (1, 1)
    assert consul.read_tree("a/b/c/") == {"host": "db"}
