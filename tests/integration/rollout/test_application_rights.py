"""The journeys of Applications under an account that has what `kubestorm-rbac` prints for them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import consul as py_consul
import hvac
import pytest
from kubestorm.clients.lease import collect
from kubestorm.entrypoints.rbac import ROLES, Wish
from kubestorm.kinds.application.commands import (
    application_status,
    list_applications,
    show_application,
)
from kubestorm.kinds.application.rollout.commands import (
    logs,
    promote,
    rollback,
    scale,
    show_history,
)
from kubestorm.people.chat.why import why

from sandbox.consul import ConsulServer
from sandbox.vault.server import VaultServer
from tests.integration.rollout.conftest import World
from tests.integration.rollout.test_rollout_life import HTTP_TEST, JOB_TEST, waits
from tests.rights import restricted, sensing

CANARY = {"type": "Canary", "steps": [{"weight": 50, "untilPromoted": True}]}
LINES = "starting\nthe key is s3cret-Canary\nfatal: no table carts\n"


@pytest.fixture
def world(world: World, tmp_path: Path) -> Iterator[World]:
    """Beside the cluster a Vault with a secret for the namespace, and a Consul."""
    with VaultServer(dev=True) as vault, ConsulServer() as consul:
        token = tmp_path / "vault-token"
        token.write_text(vault.root_token)
        hvac.Client(url=vault.url, token=vault.root_token).secrets.kv.v2.create_or_update_secret(
            path=f"kubestorm/test/{world.namespace}/stripe", secret={"key": "s3cret-Canary"}
        )
        flag = f"kubestorm/test/{world.namespace}/flags/log-level"
        py_consul.Consul(host=consul.host, port=consul.port).kv.put(flag, "info")
        world.config.update(
            vault={"url": vault.url, "auth": {"method": "token", "token_file": str(token)}},
            consul={"url": consul.url},
            parts=["applications", "announcements"],
        )
        world.config["kubernetes"]["namespaces"] = [world.namespace]
        world.config["rollout"].update(history=2)
        yield world


def ask(world: World, **spec: Any) -> None:
    """Change the spec, and let the Application's own run act upon it."""
    world.merge("applications", world.name, {"spec": spec})
    world.reconcile_application()


def crash(world: World, tag: str) -> dict[str, Any]:
    """Roll out an image whose pods end with a last word."""
    crashing = world.push(tag, "crash")
    assert world.run_application()["created"]

    def told(status: dict[str, Any]) -> bool:
        for pod in world.list("pods"):
            if crashing in pod["spec"]["containers"][0]["image"]:
                annotations = {"sandbox.kubestorm.io/log": LINES}
                name = pod["metadata"]["name"]
                world.merge("pods", name, {"metadata": {"annotations": annotations}})
        return bool(status.get("finishedAt"))

    world.config["rollout"]["patience_seconds"] = 60.0
    return world.drive(told)


def view(world: World) -> None:
    """What people look at in chat."""
    services = world.services()
    list_applications(services)
    application_status(services, world.namespace, world.name)
    show_application(services, world.namespace, world.name)
    show_history(services, world.namespace, world.name)
    logs(services, world.namespace, world.name)
    why(services, world.namespace, world.name)


def deliver(world: World, test: dict[str, Any]) -> None:
    """A first image, a second by a canary that is promoted, and back to the first."""
    here = (world.namespace, world.name)
    ask(world, test={**test, "timeoutSeconds": 3})
    assert world.roll("1.0.0")["phase"] == "Complete", world.status()
    world.push("1.1.0")
    assert world.run_application()["created"]
    world.drive(waits)
    services = world.services()
    promote(services, *here, requested_by="ann")
    scale(services, *here, replicas=2)
    collect(services.kube, services.now() + dt.timedelta(days=2))
    assert world.over()["phase"] == "Complete", world.status()
    ask(world, test={"http": None, **JOB_TEST})
    rollback(world.services(), *here)
    assert world.run_application()["created"]
    assert world.over()["phase"] == "Complete", world.status()


def vanish(world: World) -> None:
    """The Application is deleted; the garbage collector takes what it owned."""
    world.http.delete(world.path("applications", world.name)).raise_for_status()


def test_applications_need_what_their_part_grants_and_no_more(
    world: World, living_kube, tmp_path, monkeypatch
) -> None:
    """With everything that an Application can ask for, and then with little."""
    told: list[Any] = []
    with (
        restricted(living_kube, world.http, world.config, tmp_path, monkeypatch) as account,
        sensing(world.config, lambda *event: told.append(event)),
    ):
        world.apply(
            strategy=CANARY,
            replicas={"min": 2, "max": 4, "targetCPU": 80},
            expose={
                "type": "ingress",
                "hosts": [f"cart.{world.namespace}.example.com"],
                "tls": False,
            },
            config=[{"prefix": f"kubestorm/test/{world.namespace}/flags"}],
            secrets=[{"path": f"kubestorm/test/{world.namespace}/stripe", "envPrefix": "S_"}],
        )
        deliver(world, JOB_TEST if living_kube.is_real else HTTP_TEST)
        view(world)
        status = crash(world, "1.2.0")
        assert (status["phase"], status["reason"]) == ("Failed", "CrashLoop"), status
        assert "no table carts" in status["message"]
        assert "s3cret" not in status["message"]
        nothing = dict.fromkeys(("config", "expose", "port", "secrets", "strategy", "test"))
        alone = {"min": 1, "max": None, "targetCPU": None}
        ask(world, **nothing, replicas=alone, health={"tcp": None, "command": ["true"]})
        vanish(world)
    account.check()


def test_an_application_that_asks_for_little_needs_little(
    world: World, living_kube, tmp_path, monkeypatch
) -> None:
    """Without the roles that can be left out. What it does not wish is looked for, so that an old
    one goes, and the refusal is no trouble.
    """
    wish = Wish(without=[role.name for role in ROLES if role.is_optional])
    with (
        restricted(living_kube, world.http, world.config, tmp_path, monkeypatch, wish) as account,
        sensing(world.config, lambda *_: None),
    ):
        world.apply(replicas={"min": 1})
        assert world.roll("1.0.0")["phase"] == "Complete", world.status()
        view(world)
    assert all("get secrets" in one or "get ingresses" in one for one in account.refused)
