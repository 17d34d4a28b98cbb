"""Branches that are looked at, and whose ImageBuilds a push concerns."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubestorm.clients.services import Services
from kubestorm.core.settings import load_settings
from kubestorm.kinds.build.branch_tracking import BranchPoller, note_push
from kubestorm.kinds.build.settings import BuildSettings
from kubestorm.kinds.build.status import PUSHED_ANNOTATION

from sandbox.vault.server import VaultServer
from tests.integration.building.conftest import World, a_world
from tests.kube_fixtures import Kube

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


class Polling:
    """A poller whose clock the test moves, and what it told."""

    def __init__(self, world: World) -> None:
        self.world, self.now = world, START
        self.told: list[dict[str, Any]] = []
        self.lines: list[str] = []
        self.poller = self.make()

    def make(self) -> BranchPoller:
        """A new one, as after a restart of the sensor."""
        log = logging.Logger("sensor")
        handler = logging.Handler()
        handler.emit = lambda record: self.lines.append(record.getMessage())  # type: ignore[method-assign]
        log.addHandler(handler)
        settings = BuildSettings.from_config(self.world.config)
        return BranchPoller(
            settings,
            lambda trigger, payload: self.told.append(dict(payload)),
            log,
            share=lambda: 0,
        )

    def look(self, seconds: float = 61) -> list[dict[str, Any]]:
        """Move the clock and poll; what was told meanwhile."""
        self.now += dt.timedelta(seconds=seconds)
        before = len(self.told)
        services = Services(load_settings(self.world.config), now=lambda: self.now)
        self.poller.poll(services)
        services.close()
        told = self.told[before:]
        return [each for each in told if each["urls"] == [self.world.repository.url]]


@pytest.fixture
def polled(sandbox_kube: Kube, vault: VaultServer, tmp_path: Path) -> Iterator[World]:
    """An ImageBuild whose branch has one commit."""
    with a_world(sandbox_kube, vault, tmp_path, "registry.test:5000", builder="buildkit") as made:
        made.repository.commit({"cart/Dockerfile": "FROM scratch\n"})
        made.apply()
        yield made
        made.http.delete(
            f"/apis/kubestorm.io/v1alpha1/namespaces/{made.namespace}/imagebuilds/shop"
        )


@pytest.fixture
def polling(polled: World) -> Polling:
    return Polling(polled)


def test_a_new_commit_is_told_once(polling):
    """At the first look after it, not before the interval is over; after a restart again, as long
    as no ImageBuild knows of it.
    """
    polled = polling.world
    polled.reconcile()
    assert polling.look() == []
    commit = polled.repository.commit({"a": "1"})
    assert polling.look(seconds=1) == []
    (event,) = polling.look()
    assert (event["branch"], event["commit"], event["source"]) == ("main", commit, "polling")
    assert polling.look() == []
    polling.poller = polling.make()
    assert [each["commit"] for each in polling.look()] == [commit]
    assert polling.look() == []


def test_a_sensor_without_memory_compares_with_what_the_image_build_knows(polling):
    """A commit that was pushed while nobody looked is told."""
    polling.world.reconcile()
    commit = polling.world.repository.commit({"a": "1"})
    assert [each["commit"] for each in polling.look()] == [commit]


def test_a_server_that_does_not_answer_is_asked_ever_less_often(polling):
    """It is said once, and its recovery as well."""
    polled = polling.world
    polled.reconcile()
    polling.look()
    gone = polled.repository.path.rename(polled.repository.path.with_suffix(".gone"))
    for _ in range(3):
        polling.look()
    assert (
        len(
            [
                line
                for line in polling.lines
                if line.startswith("branches.failed") and str(polled.repository.path) in line
            ]
        )
        == 1
    )
    gone.rename(polled.repository.path)
    commit = polled.repository.commit({"a": "1"})
    assert polling.look(seconds=1) == []
    assert [each["commit"] for each in polling.look(seconds=900)] == [commit]
    assert any(line.startswith("branches.recovered") for line in polling.lines)


def test_a_cluster_that_does_not_answer_ends_nothing(polling):
    """Two looks, one line."""
    config = {**polling.world.config, "kubernetes": {"kubeconfig": "/nonexistent"}}
    polling.world.config = config
    for _ in range(2):
        polling.look()
    assert (
        len([line for line in polling.lines if line.startswith("branches.failed: ImageBuilds")])
        == 1
    )


def test_a_push_is_noted_where_it_concerns_somebody(polled):
    """By any spelling of the address; the commit that is known already is no news."""
    polled.apply("other", source={"url": polled.repository.url, "branch": "other"})
    polled.reconcile()
    commit = polled.repository.commit({"a": "1"})
    services = polled.services()
    noted = note_push(
        services, [polled.repository.url.removesuffix(".git")], "main", commit, event_id="e-1"
    )
    assert noted["image_builds"] == [f"{polled.namespace}/shop"]
    assert commit in polled.get()["metadata"]["annotations"][PUSHED_ANNOTATION]
    assert PUSHED_ANNOTATION not in (polled.get("other")["metadata"].get("annotations") or {})
    polled.reconcile()
    assert polled.get()["status"]["source"]["commit"] == commit
    assert note_push(services, [polled.repository.url], "main", commit)["image_builds"] == []


def test_a_forged_event_builds_what_the_server_has(polled):
    """An event says look; what is built is what the branch is at."""
    polled.reconcile()
    known = polled.get()["status"]["source"]["commit"]
    note_push(polled.services(), [polled.repository.url], "main", "f" * 40)
    polled.reconcile()
    assert polled.get()["status"]["source"]["commit"] == known
