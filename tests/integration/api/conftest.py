"""One running engine for the tests of its API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.engine.serving import PACKS, Served, eventually


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    data: Path = tmp_path_factory.mktemp("api") / "data"
    served = Served(
        data, PACKS / "engine_demo", PACKS / "engine_steps", options=("--body-limit", "10000")
    )
    # What its sensor starts by itself has ended, so that the lists stand still under the tests.
    eventually(
        lambda: any("end_timestamp" in each for each in served.get("/v1/executions", limit=-1))
    )
    yield served
    assert served.stop() == 0
