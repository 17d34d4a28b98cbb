"""The polling sensor as a process of stormcell's, against the real docker-registry."""

from __future__ import annotations

import asyncio

from sandbox.registry import push_image
from tests.integration.registry.sensing import Engine, check_payload

SENSOR = "kubestorm.PollsSensor"


def test_pushes_are_found_by_looking(registry):
    """What is there at first is written down, what comes is told, also a tag that moved, and after
    a restart too.
    """
    repository = f"{registry.host}/team/polled"
    config = {
        "registries": {
            "hosts": [{"host": registry.host, "insecure_http": True}],
            "polling": {"interval_seconds": 1, "repositories": [{"repository": repository}]},
        }
    }

    def push(tag: str, content: str) -> str:
        with registry.client() as client:
            return push_image(client, "team/polled", tag, content=content)

    async def scenario() -> None:
        await asyncio.to_thread(push, "1.0.0", "old")
        engine = Engine()
        sensors = engine.supervise(SENSOR, config)
        await sensors.start()
        try:
            await engine.wait(lambda: bool(engine.values))
            assert engine.dispatched == []
            digest = await asyncio.to_thread(push, "1.1.0", "new")
            await engine.wait(lambda: len(engine.dispatched) >= 1)
            assert engine.dispatched[0]["digest"] == digest
            check_payload(engine.dispatched[0])
        finally:
            await sensors.stop()
        moved = await asyncio.to_thread(push, "1.0.0", "moved")
        sensors = engine.supervise(SENSOR, config)
        await sensors.start()
        try:
            await engine.wait(lambda: len(engine.dispatched) >= 2)
        finally:
            await sensors.stop()
        assert engine.told == [
            ("polling", "team/polled", "1.1.0"),
            ("polling", "team/polled", "1.0.0"),
        ]
        assert engine.dispatched[1]["digest"] == moved

    asyncio.run(scenario())
