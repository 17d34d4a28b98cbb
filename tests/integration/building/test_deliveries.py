"""Deliveries: begun with the token of who asks, brought on by a sensor, and ended by an answer to
the workflow that waits.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from kubestorm.clients.engine_api import EngineApi
from kubestorm.clients.services import Services
from kubestorm.core.errors import DefinitionError, NotFoundError, PermanentError, TemporaryError
from kubestorm.core.secrets import Secret
from kubestorm.core.settings import load_settings
from kubestorm.kinds.build import commands
from kubestorm.kinds.build.pipeline.act import begin, end, start
from kubestorm.kinds.build.pipeline.plan import NAMES
from kubestorm.kinds.build.pipeline.polling import (
    IDLE_SECONDS,
    LISTED_SECONDS,
    RUNNING_SECONDS,
    DeliveryPoller,
)
from kubestorm.kinds.build.status import read_request

from sandbox.faults import Faults
from sandbox.vault.server import VaultServer
from tests.integration.building.conftest import World, a_world, install_crd
from tests.kube_fixtures import Kube
from tests.unit.application.conftest import ENOUGH

TOKEN = "token-of-the-execution"


class Engine:
    """What an engine's API does for deliveries: it executes something, tells of executions, and
    takes answers.
    """

    def __init__(self) -> None:
        self.begun: list[dict[str, Any]] = []
        self.answers: dict[str, dict[str, Any]] = {}
        self.children: list[dict[str, Any]] = []
        self.status = "paused"
        engine = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                allowed = self.path == "/v1/executions" and self._is_known()
                if allowed:
                    engine.begun.append(self._body())
                self._send(201 if allowed else 403, {"id": "e1"} if allowed else {})

            def do_GET(self) -> None:
                is_children = self.path == "/v1/executions/e1/children?depth=1"
                self._send(200, engine.children if is_children else {"status": engine.status})

            def do_PUT(self) -> None:
                body = self._body()
                engine.answers[body["id"]] = body["response"]
                self._send(200, {})

            def _is_known(self) -> bool:
                return self.headers["X-Auth-Token"] == TOKEN

            def _body(self) -> dict[str, Any]:
                found: dict[str, Any] = json.loads(
                    self.rfile.read(int(self.headers["Content-Length"]))
                )
                return found

            def _send(self, status: int, document: Any) -> None:
                answer = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_said: Any) -> None:
                """Nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"

    def ask(self, inquiry: str) -> None:
        """The workflow has opened its inquiry."""
        ref = {"ref": "core.ask"}
        self.children = [{"id": inquiry, "action": ref, "status": "pending"}]


@pytest.fixture
def engine() -> Iterator[Engine]:
    it = Engine()
    thread = threading.Thread(target=it.server.serve_forever)
    thread.start()
    yield it
    it.server.shutdown()
    thread.join()
    it.server.server_close()


@pytest.fixture
def site(sandbox_kube: Kube, vault: VaultServer, tmp_path: Path) -> Iterator[World]:
    """An ImageBuild that is built by command alone."""
    with a_world(sandbox_kube, vault, tmp_path, "registry.test:5000", builder="buildkit") as made:
        for plural in ("applications", "rollouts"):
            install_crd(made.http, plural)
        made.apply(suspend=True)
        yield made


class Delivering:
    """A sensor whose clock the test moves, and what it told."""

    def __init__(self, world: World) -> None:
        self.world, self.now = world, dt.datetime.now(dt.UTC)
        self.told: list[dict[str, Any]] = []
        self.poller = DeliveryPoller(self.tell, logging.Logger("sensor"))

    def tell(self, trigger: str, payload: Any) -> None:
        assert trigger == "kubestorm.pipeline_stage_ended"
        if payload["namespace"] == self.world.namespace:
            self.told.append(dict(payload))

    def begin(self, run_id: str = "e1") -> None:
        services, namespace = self.world.services(), self.world.namespace
        begin(services, namespace, "shop", run_id, by="anna", dispatch=self.tell)

    def look(self, seconds: float = IDLE_SECONDS) -> list[tuple[str, str]]:
        """Move the clock and poll; what was told meanwhile."""
        self.now += dt.timedelta(seconds=seconds)
        before = len(self.told)
        self.poller.poll(Services(load_settings(self.world.config), now=lambda: self.now))
        return [(each["stage"], each["outcome"]) for each in self.told[before:]]

    def is_built(self, **image: Any) -> None:
        """Write what a build writes at its end."""
        world = self.world
        resource = world.get()
        request = read_request(resource["metadata"]["annotations"])
        assert request is not None
        build = {"number": 1, "phase": "Finished", "requestId": request.id, "outcome": "Succeeded"}
        record = {"name": "cart", "build": 1, "state": "Pushed", **image}
        world.run().write(resource, build=build, images=[record])

    def end(self, engine: Engine, run_id: str = "e1") -> dict[str, Any]:
        api = EngineApi(engine.url, Secret(TOKEN))
        services, namespace = self.world.services(), self.world.namespace
        return end(services, namespace, "shop", run_id, api, pause=lambda seconds: None)


@pytest.fixture
def delivering(site: World) -> Delivering:
    return Delivering(site)


def test_a_delivery_is_begun_in_the_name_of_who_asks(world: World, engine: Engine) -> None:
    """The answer has the number of the run that follows it."""
    world.apply()
    api = EngineApi(engine.url, Secret(TOKEN))
    result = start(world.services(), world.namespace, "shop", by="anna", engine=api)
    parameters = {"namespace": world.namespace, "name": "shop", "requested_by": "anna"}
    assert engine.begun == [{"action": "kubestorm.delivery_pipeline", "parameters": parameters}]
    assert result["run_id"] == "e1"


def test_what_cannot_begin_says_why(world: World, engine: Engine) -> None:
    """No such ImageBuild, no engine, or an engine that does not let the asker."""
    api = EngineApi(engine.url, Secret("another"))
    with pytest.raises(NotFoundError, match="does not exist"):
        start(world.services(), world.namespace, "shop", by="anna", engine=api)
    world.apply()
    with pytest.raises(DefinitionError, match=r"run kubestorm\.delivery_pipeline instead"):
        start(world.services(), world.namespace, "shop", by="anna", engine=None)
    with pytest.raises(PermanentError, match="refused POST /executions"):
        start(world.services(), world.namespace, "shop", by="anna", engine=api)
    assert engine.begun == []


def test_a_sensor_brings_a_delivery_on(delivering: Delivering, engine: Engine) -> None:
    """Each stage is told once and written; the workflow gets the whole as its answer."""
    assert delivering.look() == []
    delivering.begin()
    assert [each["outcome"] for each in stages(delivering)] == ["waiting"] * len(NAMES)
    assert delivering.look() == []
    delivering.is_built(reference="registry.test:5000/x/cart@sha256:1", digest="sha256:1")
    assert delivering.look(RUNNING_SECONDS - 1) == []
    ended = [
        ("build", "succeeded"),
        ("test", "skipped"),
        ("push", "succeeded"),
        ("rollout", "skipped"),
        ("post-deploy test", "skipped"),
    ]
    assert delivering.look(1) == ended
    assert delivering.look() == []
    assert [(each["name"], each["outcome"]) for each in stages(delivering)] == ended
    engine.ask("q1")
    assert delivering.end(engine)["answered"]
    assert engine.answers["q1"]["outcome"] == "succeeded"
    assert [each["name"] for each in engine.answers["q1"]["stages"]] == list(NAMES)


def test_the_applications_are_listed_once_a_minute(
    site: World, delivering: Delivering, faults: Faults
) -> None:
    """However many looks and deliveries there are; and the Rollouts of one that follows alone."""
    follower = {
        **ENOUGH,
        "image": {"repository": "registry.test:5000/x/cart"},
        "follow": {"semver": ">=1.0"},
    }
    body = {
        "apiVersion": "kubestorm.io/v1alpha1",
        "kind": "Application",
        "metadata": {"name": "cart"},
        "spec": follower,
    }
    base = f"/apis/kubestorm.io/v1alpha1/namespaces/{site.namespace}"
    site.http.post(f"{base}/applications", json=body).raise_for_status()
    delivering.begin()
    delivering.is_built(
        reference="registry.test:5000/x/cart@sha256:1", digest="sha256:1", tags=["1.0.0"]
    )
    applications = faults.add(
        method="GET", path=r"/apis/kubestorm\.io/v1alpha1/applications(\?.*)?", times=None
    )
    selected = faults.add(path=rf"{base}/rollouts\?.*labelSelector=.*cart", times=None)
    others = faults.add(method="GET", path=r".*/rollouts(\?.*)?", times=None)
    delivering.look()
    assert [each["outcome"] for each in stages(delivering)][:4] == [
        *("succeeded", "skipped", "succeeded"),
        "waiting",
    ]
    for _ in range(5):
        delivering.look(RUNNING_SECONDS)
    assert (applications.hits, selected.hits, others.hits) == (1, 6, 0)
    delivering.look(LISTED_SECONDS)
    assert applications.hits == 2


def stages(delivering: Delivering) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = delivering.world.get()["status"]["pipeline"]["stages"]
    return found


def test_another_delivery_ends_the_one_under_way(delivering: Delivering, engine: Engine) -> None:
    """The status has room for one; the workflow of the first is told why."""
    delivering.begin()
    delivering.begin("e2")
    assert [each["run_id"] for each in delivering.told] == ["e1"] * len(NAMES)
    assert delivering.told[0]["message"] == "Replaced by another delivery, started by anna."
    engine.ask("q1")
    delivering.end(engine)
    assert engine.answers["q1"]["outcome"] == "failed"
    assert "another delivery" in engine.answers["q1"]["message"]


def test_another_request_ends_the_delivery(delivering: Delivering) -> None:
    """Its build will not come any more."""
    delivering.begin()
    commands.start(delivering.world.services(), delivering.world.namespace, "shop", by="ben")
    assert delivering.look()[0] == ("build", "failed")
    assert stages(delivering)[0]["message"] == "Replaced by another build, requested by ben."


def test_a_deleted_image_build_ends_its_delivery(delivering: Delivering, engine: Engine) -> None:
    """By its teardown, before it is gone."""
    world = delivering.world
    world.reconcile()
    delivering.begin()
    world.http.delete(
        f"/apis/kubestorm.io/v1alpha1/namespaces/{world.namespace}/imagebuilds/shop"
    ).raise_for_status()
    world.reconcile()
    told = world.take("pipeline_stage_ended")
    assert [each["stage"] for each in told] == list(NAMES)
    engine.ask("q1")
    delivering.end(engine)
    assert engine.answers["q1"]["outcome"] == "failed"


def test_a_workflow_that_waits_no_more_is_left_alone(
    delivering: Delivering, engine: Engine
) -> None:
    """It was canceled, or its inquiry answered; one that never opens one is an error."""
    delivering.begin()
    delivering.begin("e2")
    engine.status = "canceled"
    assert not delivering.end(engine)["answered"]
    engine.status = "running"
    with pytest.raises(TemporaryError, match="has not opened an inquiry"):
        delivering.end(engine)
    assert engine.answers == {}
