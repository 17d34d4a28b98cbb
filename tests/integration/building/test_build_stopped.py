"""Builds that are killed or canceled half-way: nothing of them stays, and what was killed is taken
up again.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from kubestorm.clients.host import workspace
from kubestorm.kinds.build import commands
from kubestorm.kinds.build.execution import run_build

from tests.integration.building.conftest import World
from tests.kube_fixtures import eventually

LEASE = {"lease": {"duration_seconds": 5}}
SLOW = (
    '["/bin/busybox", "sh", "-c", "test -e /go || { echo waiting here; exec /bin/busybox sleep '
    '300; }"]'
)


@pytest.fixture
def slow(world: World, busybox: bytes) -> str:
    """A commit whose build, and whose test, wait until the next commit."""
    world.config.update(LEASE)
    dockerfile = f"FROM scratch\nCOPY busybox /bin/busybox\nCOPY main /main\nRUN {SLOW}\n"
    return world.repository.commit(
        {"cart/Dockerfile": dockerfile, "cart/main": "1", "cart/busybox": busybox}
    )


@contextmanager
def build_process(world: World) -> Iterator[subprocess.Popen[str]]:
    """An execution that builds, as another process."""
    identity = world.run().identity
    script = Path(__file__).with_name("build_process.py")
    with subprocess.Popen(
        [sys.executable, str(script), json.dumps(world.config), json.dumps(identity)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def wait_for(process: subprocess.Popen[str], text: str) -> None:
    """Read its output until a line begins with the text."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(text):
            return
    pytest.fail(f"it ended without saying {text!r}")


def processes_of(world: World) -> list[int]:
    """What still runs in any workspace of this host's builds."""
    runs = world.folder / "runs"
    return [number for path in runs.glob("*") for number in workspace.inhabitants(path)]


@pytest.mark.parametrize(
    "stage, text",
    [("fetch", "Fetching"), ("build", "waiting here"), ("push", "Successfully tagged")],
)
def test_a_killed_build_leaves_nothing_and_is_taken_up_again(
    world: World, slow, busybox, stage, text
):
    """Killed at each stage with SIGKILL: the next run clears the host, and makes the image after
    all.
    """
    if stage != "build":
        dockerfile = "FROM scratch\nCOPY main /main\n"
        world.repository.commit({"cart/Dockerfile": dockerfile})
    world.apply()
    world.reconcile()
    with build_process(world) as process:
        wait_for(process, text)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert world.left_over() != []
    world.repository.commit({"cart/Dockerfile": "FROM scratch\nCOPY main /main\n"})
    world.take("build_requested")
    eventually(
        lambda: world.reconcile() and world.take("build_requested"), "the dead build is noticed"
    )
    assert world.get()["status"]["build"]["interruptions"] == 1
    if stage == "build":
        run_build_until_over(world)
    else:
        assert run_build(world.run())["outcome"] == "Succeeded"
    assert world.left_over() == []
    assert processes_of(world) == []


def run_build_until_over(world: World) -> None:
    """The commit under way still waits for ever: it is canceled, and the next commit is built."""
    number = world.get()["status"]["build"]["number"]
    with build_process(world) as process:
        wait_for(process, "waiting here")
        assert (
            commands.cancel(world.services(), world.namespace, "shop", by="ada")["number"] == number
        )
        assert process.wait(20) == 0
    world.annotate(source_pushed="next")
    assert world.build()["outcome"] == "Succeeded"


def test_a_build_killed_while_its_test_runs(world: World, registry, busybox):
    """What the test started dies, nothing was pushed, and the next run builds and tests it after
    all.
    """
    world.config.update(LEASE)
    test = {"command": json.loads(SLOW)}
    image = {
        "name": "cart",
        "context": "cart",
        "repository": f"{world.namespace}/cart",
        "test": test,
    }
    dockerfile = "FROM scratch\nCOPY busybox /bin/busybox\n"
    world.repository.commit({"cart/Dockerfile": dockerfile, "cart/busybox": busybox})
    world.apply(images=[image])
    world.reconcile()
    with build_process(world) as process:
        wait_for(process, "waiting here")
        (path,) = [
            path for path in (world.folder / "runs").iterdir() if (path / "storage").exists()
        ]
        assert world.image()["state"] == "Testing"
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    eventually(lambda: not workspace.is_alive(path), "its lock is free")
    world.repository.commit({"cart/Dockerfile": f"{dockerfile}COPY Dockerfile /go\n"})
    world.take("build_requested")
    eventually(
        lambda: world.reconcile() and world.take("build_requested"), "the dead build is noticed"
    )
    assert world.get()["status"]["build"]["interruptions"] == 1
    with registry.client() as client:
        assert (
            f"{world.namespace}/cart"
            not in client.get("/v2/_catalog").raise_for_status().json()["repositories"]
        )
    run_build_until_over(world)
    assert (world.left_over(), processes_of(world)) == ([], [])


def test_what_a_killed_build_had_started_dies_with_it(world: World, slow):
    """Also what a Dockerfile's RUN started, in its own root and with its own environment."""
    world.apply()
    world.reconcile()
    with build_process(world) as process:
        wait_for(process, "waiting here")
        (path,) = [
            path for path in (world.folder / "runs").iterdir() if (path / "storage").exists()
        ]
        assert len(workspace.inhabitants(path)) >= 2
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    eventually(lambda: not workspace.is_alive(path), "its lock is free")
    assert workspace.collect(world.folder)
    assert not path.exists()
    assert processes_of(world) == []
    assert world.left_over() == []


def test_a_canceled_build_stops_within_seconds(world: World, slow):
    """Whoever asked is told; the images are not pushed, and nothing is left."""
    world.apply()
    world.reconcile()
    results: list[dict[str, Any]] = []
    run = world.run()
    thread = threading.Thread(target=lambda: results.append(run_build(run)))
    thread.start()
    eventually(lambda: "waiting here" in world.said, "the build is under way")
    begun = time.monotonic()
    commands.cancel(world.services(), world.namespace, "shop", by="ada", reason="a typo")
    thread.join(30)
    assert time.monotonic() - begun < 15
    assert (results[0]["outcome"], world.image()["state"]) == ("Canceled", "Canceled")
    assert world.condition("Built")[1:] == ("Canceled", "cart: Canceled by ada: a typo.")
    events = (
        world.http.get(f"/api/v1/namespaces/{world.namespace}/events")
        .raise_for_status()
        .json()["items"]
    )
    assert "Cancellation of build 1 was requested by ada: a typo" in [
        event["message"] for event in events
    ]
    assert [each["outcome"] for each in world.take("build_finished")] == ["Canceled"]
    assert not world.get()["status"]["requests"]
    assert (world.left_over(), processes_of(world)) == ([], [])


def test_a_build_that_takes_too_long_is_ended(world: World, slow):
    """With everything it has started."""
    world.apply(timeoutSeconds=2)
    assert world.build()["outcome"] == "Failed"
    assert world.image()["reason"] == "TimedOut"
    assert (world.left_over(), processes_of(world)) == ([], [])


def test_a_deleted_image_build_stops_its_build(world: World, slow):
    """The teardown waits for the execution, which sees the deletion and stops within seconds."""
    world.apply()
    world.reconcile()
    run = world.run()
    thread = threading.Thread(target=lambda: run_build(run))
    thread.start()
    eventually(lambda: "waiting here" in world.said, "the build is under way")
    world.http.delete(
        f"/apis/kubestorm.io/v1alpha1/namespaces/{world.namespace}/imagebuilds/shop"
    ).raise_for_status()
    world.reconcile()
    thread.join(30)
    assert not world.exists()
    assert (world.left_over(), list((world.folder / "logs").iterdir())) == ([], [])


def test_a_build_that_nobody_ever_ends_fails_in_the_end(world: World, slow):
    """After so many tries it is not begun again."""
    world.config["build"]["attempts"] = 2
    world.apply()
    world.reconcile()
    for _ in range(2):
        with build_process(world) as process:
            wait_for(process, "waiting here")
            process.kill()
        world.take("build_requested")
        eventually(
            lambda: world.reconcile()["status"]["build"]["phase"] != "Running",
            "the dead build is noticed",
        )
    build = world.get()["status"]["build"]
    assert (build["phase"], build["outcome"], build["interruptions"]) == ("Finished", "Failed", 2)
    assert "Started 2 times" in world.condition("Built")[2]
