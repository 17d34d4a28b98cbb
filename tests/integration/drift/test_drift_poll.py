"""The look at drift as the process of the watches runs it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubestorm.core.errors import DefinitionError
from kubestorm.entrypoints.sensors.polling import Context
from kubestorm.entrypoints.sensors.resources import drift
from kubestorm.kinds.database.drift.settings import DriftSettings

ROOT = Path(__file__).resolve().parents[3]
NOWHERE = "http://127.0.0.1:9"


def unreachable(tmp_path: Path) -> dict[str, Any]:
    """A cluster that nobody answers for."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": NOWHERE}}],
        "users": [{"name": "c", "user": {}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
    }
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return {"kubernetes": {"kubeconfig": str(path)}}


def make_context(lines: list[str]) -> Context:
    """A context in which nothing is remembered or told; its log is kept."""
    log = logging.Logger("sensor")
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    log.addHandler(handler)
    store: Any = None
    return Context(store, store, log)


def test_the_configuration_decides_how_often():
    """A quarter of an hour where it says nothing, as the schema says, too; and 0 turns it off."""
    context = make_context([])
    poll = drift({"cluster": "test"}, context)
    schema = yaml.safe_load((ROOT / "config.schema.yaml").read_text())["drift"]["properties"]
    default = DriftSettings().interval_seconds
    assert poll is not None
    assert (poll.interval_seconds, schema["interval_seconds"]["default"]) == (default, default)
    assert drift({"cluster": "test", "drift": {"interval_seconds": 0}}, context) is None


def test_a_cluster_that_does_not_answer_is_said_once_and_ends_nothing(tmp_path):
    """Two looks, one line, no event."""
    lines: list[str] = []
    poll = drift({"cluster": "test", **unreachable(tmp_path)}, make_context(lines))
    assert poll is not None
    for _ in range(2):
        poll.run()
    assert [line.partition(":")[0] for line in lines] == ["drift.unknown"]


def test_a_wrong_setting_is_said_by_name():
    """When it begins, not at the first look."""
    with pytest.raises(DefinitionError, match="interval_minutes"):
        drift({"cluster": "test", "drift": {"interval_minutes": 5}}, make_context([]))
