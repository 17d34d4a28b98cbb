"""A new base image rebuilds what stands on it, with real builds, a real registry and the pack's own
looks.
"""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest
from kubestorm.clients.lease import LeaseLock
from kubestorm.clients.services import Services
from kubestorm.core.image_names import ImageName
from kubestorm.core.settings import load_settings
from kubestorm.kinds.build.base_images.polling import INTERVAL_SECONDS, BaseImagePoller
from kubestorm.kinds.build.base_images.rebuild_check import LEASE, REQUESTER, check
from kubestorm.kinds.build.execution import run_build

from sandbox.registry import RegistryProcess, push_image
from tests.integration.building.conftest import World

STABLE = {"tags": ["stable"]}


@pytest.fixture
def shop(world: World, registry: RegistryProcess) -> World:
    """An image of others, an image java that stands on it, and two images that stand on java; all
    are built.
    """
    (declared,) = world.config["registries"]["hosts"]
    declared["credentials"] = {"vault_path": "registries/main"}
    world.config["base_images"] = {
        "concurrency": 50
    }  # other tests' namespaces are on the same API server
    push_os(world, registry, "first")
    below = f"{registry.host}/{world.namespace}"
    world.repository.commit(
        {
            "java/Dockerfile": f"ARG OS=nothing\nFROM {below}/os:${{OS}}\nCOPY java /java\n",
            "java/java": "java",
            "cart/Dockerfile": f"FROM {below}/java:stable\nCOPY cart /cart\n",
            "cart/cart": "cart",
            "search/Dockerfile": f"FROM scratch\nCOPY --from={below}/java:stable /java /java\n",
        }
    )
    java = {
        "name": "java",
        "context": "java",
        "repository": f"{world.namespace}/java",
        "buildArgs": {"OS": "12"},
    }
    world.apply("base", images=[{**java, **STABLE}])
    world.build("base")
    services = ("cart", "search")
    world.apply(
        "shop",
        images=[
            {"name": name, "context": name, "repository": f"{world.namespace}/{name}", **STABLE}
            for name in services
        ],
    )
    world.build("shop")
    return world


def push_os(world: World, registry: RegistryProcess, content: str) -> str:
    """The image at the bottom, which nobody here builds."""
    with registry.client() as client:
        return push_image(client, f"{world.namespace}/os", "12", content=content)


def checked(world: World) -> dict[str, Any]:
    """One look, its images named without the namespace."""
    found = check(world.services())
    return json.loads(json.dumps(found).replace(f"{world.namespace}/", ""))


def test_what_stands_on_a_new_base_is_built_parents_first(
    shop: World, registry: RegistryProcess
) -> None:
    """java alone at first, then both that stand on it; each once, and the resource says by whom."""
    assert checked(shop)["started"] == []
    os_digest = push_os(shop, registry, "second")
    first = checked(shop)
    assert first["started"] == ["base:java"]
    assert checked(shop)["started"] == [], "a second look at the same world asks for nothing more"
    before = shop.image("java", "base")["digest"]
    shop.build("base")
    java = shop.image("java", "base")
    assert java["lastGood"]["bases"] == {f"{registry.host}/{shop.namespace}/os:12": os_digest}
    assert java["digest"] != before
    assert checked(shop)["started"] == ["shop:cart", "shop:search"]
    shop.build("shop")
    assert shop.get("shop")["status"]["build"]["requestedBy"] == REQUESTER
    expected = {f"{registry.host}/{shop.namespace}/java:stable": java["digest"]}
    assert [shop.image(name)["lastGood"]["bases"] for name in ("cart", "search")] == [
        expected,
        expected,
    ]
    assert checked(shop)["started"] == []
    assert shop.get("base")["status"]["build"]["number"] == 2
    assert shop.get("shop")["status"]["build"]["number"] == 2


def test_what_stands_on_itself_is_said_on_the_resource(
    shop: World, registry: RegistryProcess
) -> None:
    """It is named there, and not built again and again."""
    own = f"{registry.host}/{shop.namespace}/cart:stable"
    shop.repository.commit({"cart/Dockerfile": f"FROM {own}\nCOPY cart /cart\n"})
    shop.annotate("shop", source_pushed="an event")
    shop.build("shop")
    said = checked(shop)
    assert said["cycles"] == [["shop:cart"]]
    assert "cart is built on itself" in shop.get("shop")["status"]["baseImages"]["message"]
    assert checked(shop)["started"] == []


def test_a_base_that_cannot_be_known_is_said_on_the_resource(
    shop: World, registry: RegistryProcess
) -> None:
    """A variable in --from, which buildah fills in though Docker does not."""
    java = f"{registry.host}/{shop.namespace}/java:stable"
    shop.repository.commit(
        {"search/Dockerfile": f"FROM scratch\nARG J={java}\nCOPY --from=$J /java /java\n"}
    )
    shop.annotate("shop", source_pushed="an event")
    shop.build("shop")
    checked(shop)
    assert shop.get("shop")["status"]["baseImages"]["message"] == (
        "search is not rebuilt for every new base image. COPY --from=$J (line 3) has a variable, "
        "which works in FROM only: FROM $J AS name."
    )


def test_builds_of_people_come_first_and_failures_are_not_repeated(
    shop: World, registry: RegistryProcess
) -> None:
    """While a commit's build is queued nothing is asked for; one that failed on a base waits for
    another base.
    """
    push_os(shop, registry, "second")
    shop.repository.commit(
        {
            "java/Dockerfile": "ARG OS\nFROM "
            + f"{registry.host}/{shop.namespace}/os:$OS\nCOPY gone /\n"
        }
    )
    shop.annotate("base", source_pushed="an event")
    shop.reconcile("base")
    shop.take("build_requested")
    assert checked(shop)["started"] == []
    run_build(shop.run("base"))
    assert shop.image("java", "base")["state"] == "Failed"
    said = checked(shop)
    assert said["started"] == []
    assert "the last build on these bases failed" in said["failed"]["base:java"]
    assert "java is out of date" in shop.get("base")["status"]["baseImages"]["message"]
    push_os(shop, registry, "third")
    assert checked(shop)["started"] == ["base:java"]


def test_a_push_that_no_image_is_built_on_asks_no_registry(
    shop: World, registry: RegistryProcess
) -> None:
    """Only a push of what something stands on leads to a look."""
    push_os(shop, registry, "second")
    nothing = check(shop.services(), ImageName(registry.host, f"{shop.namespace}/cart"))
    assert (nothing["started"], "waiting" in nothing) == ([], False)
    found = check(shop.services(), ImageName(registry.host, f"{shop.namespace}/os"))
    assert found["started"] == [f"{shop.namespace}/base:java"]


def test_a_push_that_comes_during_a_look_is_not_lost(
    shop: World, registry: RegistryProcess
) -> None:
    """Whoever finds the Lease taken ends at once; who held it looks once more."""
    lease = LeaseLock(shop.services().kube, LEASE)
    assert lease.acquire()
    assert check(shop.services())["skipped"]
    assert lease.release(), "a mark was left"


def test_the_sensor_tells_of_a_new_base_and_of_nothing_else(
    shop: World, registry: RegistryProcess
) -> None:
    """An execution is begun only where a build is due; soon looked at again while others wait."""
    told: list[list[str]] = []
    poller = BaseImagePoller(lambda trigger, payload: told.append(payload["images"]))
    now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)

    def poll(seconds: float) -> list[str]:
        nonlocal now
        now += dt.timedelta(seconds=seconds)
        told.clear()
        poller.poll(Services(load_settings(shop.config), now=lambda: now))
        mine = [image for images in told for image in images if shop.namespace in image]
        return [image.rpartition("/")[2] for image in mine]

    assert poll(0) == []
    push_os(shop, registry, "second")
    assert poll(INTERVAL_SECONDS - 1) == []
    assert poll(1) == ["base:java"]
    assert shop.get("base")["status"]["build"]["number"] == 1, "the sensor itself starts nothing"
    assert checked(shop)["started"] == ["base:java"]
    assert poll(60) == []
    shop.build("base")
    assert poll(60) == ["shop:cart", "shop:search"]
