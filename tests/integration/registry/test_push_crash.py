"""stormcell is killed at any moment: no push is lost, and what was answered or stored is not told
again.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import random
import shutil
import socket
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from sandbox.engine_process import EngineProcess
from sandbox.registry import RegistryProcess, Webhook, push_image
from tests.integration.registry.conftest import needs_registry
from tests.integration.registry.sensing import ROOT, free_port

WAIT_SECONDS = 60.0
SECRET = b"of-the-test"


class World:
    """An engine with the pack's sensor of pushes and a rule, and what it wrote."""

    def __init__(self, folder: Path) -> None:
        pack, configs = folder / "kubestorm", folder / "configs"
        (pack / "sensors").mkdir(parents=True)
        (pack / "rules").mkdir()
        (pack / "triggers").mkdir()
        configs.mkdir()
        for name in (
            "pack.yaml",
            "config.schema.yaml",
            "sensors/listeners_sensor.py",
            "sensors/listeners_sensor.yaml",
            "triggers/image_pushed.yaml",
        ):
            shutil.copy(ROOT / name, pack / name)
        (pack / "sensors" / "kubestorm").symlink_to(ROOT / "lib" / "kubestorm")
        rule = {
            "name": "pushed",
            "pack": "kubestorm",
            "enabled": True,
            "trigger": {"type": "kubestorm.image_pushed"},
            "action": {"ref": "core.noop"},
        }
        (pack / "rules" / "pushed.yaml").write_text(yaml.safe_dump(rule))
        (folder / "secret").write_bytes(SECRET)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/registry"
        auth = {"secret_file": str(folder / "secret")}
        sources = [
            {"name": "ci", "type": "distribution", "auth": {**auth, "method": "hmac"}},
            {"name": "registry", "type": "distribution", "auth": auth},
        ]
        config = {
            "cluster": "dev",
            "registries": {"listener": {"port": self.port}, "sources": sources},
        }
        (configs / "kubestorm.yaml").write_text(yaml.safe_dump(config))
        self.engine = EngineProcess(folder / "engine", packs=[pack], configs=configs)

    def rows(self, query: str) -> list[Any]:
        with contextlib.closing(sqlite3.connect(self.engine.data / "stormcell.db")) as connection:
            return connection.execute(query).fetchall()

    def told(self) -> Counter[str]:
        """Tag -> how many trigger instances there are for it."""
        rows = self.rows(
            "SELECT payload FROM trigger_instances WHERE CAST(payload AS TEXT) LIKE "
            "'%\"event_id\"%'"
        )
        return Counter(json.loads(payload)["tag"] for (payload,) in rows)

    def post(self, number: int) -> dict[str, Any] | None:
        """The answer's counts; None where there was none, as when nobody listens."""
        body = event(number)
        try:
            answer = httpx.post(
                f"{self.url}/ci", content=body, headers=signed(body), timeout=10, trust_env=False
            )
        except httpx.TransportError:
            return None
        return answer.json() if answer.status_code == 200 else None

    def post_until_taken(self, number: int) -> dict[str, Any]:
        """Send it again and again until it is answered with 200, as registries do; that answer."""
        deadline = time.monotonic() + WAIT_SECONDS
        while (answer := self.post(number)) is None:
            assert time.monotonic() < deadline
            threading.Event().wait(0.02)
        return answer


def event(number: int) -> bytes:
    target = {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "repository": "team/cart",
        "tag": f"t{number}",
        "digest": f"sha256:{number:064x}",
    }
    found = {
        "id": f"id-{number}",
        "action": "push",
        "target": target,
        "request": {"host": "r.example"},
    }
    return json.dumps({"events": [found]}).encode()


def signed(body: bytes) -> dict[str, str]:
    signature = hmac.new(SECRET, body, hashlib.sha256).hexdigest()
    return {"Content-Type": "application/json", "X-Hub-Signature-256": f"sha256={signature}"}


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not is_so():
        assert time.monotonic() < deadline
        threading.Event().wait(0.02)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    found = World(tmp_path)
    yield found
    found.engine.stop()


def test_an_event_whose_answer_was_lost_is_not_told_again(world):
    """Killed after the push was stored and before the registry heard of it: the registry's retry
    triggers nothing.
    """
    world.engine.start()
    assert world.post_until_taken(0) == {"accepted": 1, "repeated": 0, "gone": 0}
    body = event(1)
    lines = [f"{name}: {value}" for name, value in signed(body).items()]
    request = "\r\n".join(
        ["POST /registry/ci HTTP/1.1", "Host: a", f"Content-Length: {len(body)}", *lines, "", ""]
    )
    with socket.create_connection(("127.0.0.1", world.port)) as registry:
        registry.sendall(request.encode() + body)
        # Nothing is read: the answer never arrives.
        until(lambda: remembered(world) == 2)
        world.engine.kill()
    world.engine.start()
    assert world.post_until_taken(1) == {"accepted": 0, "repeated": 1, "gone": 0}
    assert world.told() == {"t0": 1, "t1": 1}


def remembered(world: World) -> int:
    """How many pushes the sensor keeps in the datastore."""
    rows = world.rows("SELECT value FROM datastore WHERE name LIKE '%pushes.%'")
    return sum(len(json.loads(value)["values"]) for (value,) in rows)


def test_killed_again_and_again_no_push_is_lost(world):
    """A registry sends until it hears 200. Sent again later, a push is told once more at most:
    where a crash came within the seconds until it was written.
    """
    dice, kills = random.Random(7), 3
    world.engine.start()
    world.post_until_taken(0)

    def disturb() -> None:
        for _ in range(kills):
            threading.Event().wait(dice.uniform(0.02, 0.2))
            world.engine.kill()
            world.engine.start()

    disturbing = threading.Thread(target=disturb)
    disturbing.start()
    pushes = 1
    while disturbing.is_alive() or pushes < 30:
        world.post_until_taken(pushes)
        pushes += 1
    disturbing.join()
    told = world.told()
    assert set(told) == {f"t{number}" for number in range(pushes)}
    # One push is under way at each kill: it alone may be told twice.
    assert sum(told.values()) - len(told) <= kills
    again = range(0, pushes, 1 + pushes // 50)
    for number in again:
        world.post_until_taken(number)
    told = world.told()
    assert all(world.post_until_taken(number)["accepted"] == 0 for number in again)
    assert world.told() == told


@needs_registry
def test_a_real_registry_delivers_what_was_pushed_while_nobody_listened(world, tmp_path):
    """docker-registry sends again until the engine is back; each push is told once."""
    hook = Webhook(
        url=f"{world.url}/registry", headers={"Authorization": f"Bearer {SECRET.decode()}"}
    )
    with (
        RegistryProcess(tmp_path / "registry", webhooks=[hook]) as process,
        process.client() as client,
    ):
        push_image(client, "team/cart", "before")
        world.engine.start()
        until(lambda: remembered(world) == 1)  # a kill before that may tell it twice: decision 0082
        world.engine.kill()
        push_image(client, "team/cart", "meanwhile")
        world.engine.start()
        until(lambda: world.told()["meanwhile"] == 1)
        push_image(client, "team/cart", "after")
        until(lambda: world.told()["after"] == 1)
    assert world.told() == {"before": 1, "meanwhile": 1, "after": 1}
