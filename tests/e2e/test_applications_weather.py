"""Applications in bad weather and power cuts: whatever fails on the way, the pods come up with what
they ask for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import consul
import pytest

from sandbox.proxy import Weather
from tests.e2e.test_applications import Cart
from tests.e2e.test_crash import kill_during, slow_steps

OBJECTS = (
    r"/api(s/[a-z.0-9]+)?/v[^/]+/namespaces/[^/]+/(services|configmaps|secrets|ingresses|"
    r"poddisruptionbudgets)/.*"
)
Trouble = Callable[[Any, Cart], Any]


def told(cart: Cart, text: str) -> bool:
    """Whether a condition that is not True names something."""
    conditions = ((cart.get() or {}).get("status") or {}).get("conditions") or []
    return any(each["status"] != "True" and text in each.get("message", "") for each in conditions)


@contextmanager
def sealed(world: Any, cart: Cart) -> Iterator[Callable[[], bool]]:
    """Vault is sealed until the developer is told so."""
    world.environment.vault.seal()
    yield lambda: told(cart, "Vault is sealed")
    world.environment.vault.unseal()


@contextmanager
def consul_away(world: Any, cart: Cart) -> Iterator[Callable[[], bool]]:
    """Consul does not answer until the developer is told so."""
    with world.environment.proxies["consul"].bad(Weather.REFUSED):
        yield lambda: told(cart, "Consul")


def kubernetes_says(status: int, method: str, times: int) -> Trouble:
    """The API server answers badly about the Application's objects."""

    @contextmanager
    def trouble(world: Any, cart: Cart) -> Iterator[Callable[[], bool]]:
        body = json.dumps(
            {
                "kind": "Status",
                "apiVersion": "v1",
                "status": "Failure",
                "code": status,
                "message": "bad day",
            }
        )
        faults = world.environment.faults["kubernetes"]
        headers = {"content-type": "application/json"}
        fault = faults.add(
            status=status, times=times, method=method, path=OBJECTS, body=body, headers=headers
        )
        yield lambda: fault.hits >= times

    return trouble


def killed_in(action: str) -> Trouble:
    """The engine is killed in the middle of a step."""

    @contextmanager
    def trouble(world: Any, cart: Cart) -> Iterator[Callable[[], bool]]:
        with slow_steps(world):
            yield lambda: kill_during(world, action) is None

    return trouble


TROUBLES: dict[str, Trouble] = {
    "Vault is sealed": sealed,
    "Consul is away": consul_away,
    "Kubernetes refuses writes": kubernetes_says(503, "PATCH", 4),
    "Kubernetes has conflicts": kubernetes_says(409, "PATCH", 3),
    "killed while configuring": killed_in("application_configure"),
    "killed while applying": killed_in("application_apply"),
    "killed while deploying": killed_in("application_deploy"),
}


@pytest.mark.parametrize("trouble", TROUBLES.values(), ids=TROUBLES.keys())
def test_an_application_comes_up_in_any_weather(world, trouble):
    """With one of everything, the configuration it asks for, and nothing left running or locked."""
    cart, environment = Cart(world), world.environment
    client = consul.Consul(
        host=environment.consul.host, port=environment.consul.port, token=environment.consul_token
    )
    client.kv.put(f"{world.path}level", "info")
    environment.vault_client().secrets.kv.v2.create_or_update_secret(
        path=world.path + "key", secret={"key": "x"}
    )
    with trouble(world, cart) as is_met:
        cart.apply(
            config=[{"key": f"{world.path}level"}],
            secrets=[{"path": world.path + "key"}],
            replicas={"min": 2},
        )
        cart.push("a")
        world.wait_until(is_met, "the trouble is met")
    world.wait_until(cart.is_ready, "Ready")
    assert cart.get("ConfigMap", "cart-config", "v1")["data"] == {"LEVEL": "info"}
    assert cart.secret() == {"KEY": "x"}
    assert cart.get()["status"]["availableReplicas"] == 2
    rollouts = environment.read_all("kubestorm.io/v1alpha1", "Rollout", world.namespace)
    assert [rollout["status"]["phase"] for rollout in rollouts] == ["Complete"]
    environment.delete("kubestorm.io/v1alpha1", "Application", "cart", world.namespace)
    world.wait_until(lambda: cart.get() is None, "it is gone")
    world.wait_until(lambda: not world.lease_holders(), "no Lease is held")
