"""Fixtures that start the engine as a process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.engine.serving import PACKS, Served


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Start stormcell over one data folder; what still runs at the end is stopped."""
    started: list[Served] = []

    def start(
        *packs: str, env: dict[str, str] | None = None, options: tuple[str, ...] = ()
    ) -> Served:
        folders = [PACKS / pack for pack in packs or ("engine_demo",)]
        served = Served(tmp_path / "data", *folders, env=env, options=options)
        started.append(served)
        return served

    yield start
    for served in started:
        if served.process.poll() is None:
            served.stop()
