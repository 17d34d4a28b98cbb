"""The form of 2016 from end to end: somebody else's kind, a mapping in the configuration, a rule,
and no code.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from sandbox.environment import ROOT
from tests.e2e.conftest import World

EXAMPLE = ROOT / "examples" / "mysqldb"


@pytest.fixture
def world(tmp_path: Path):
    """A world whose pack knows the kind before the engine starts."""
    it = World(tmp_path)
    try:
        it.environment.start()
        for manifest in yaml.safe_load_all((EXAMPLE / "mysqldbs.yaml").read_text()):
            it.environment.apply(manifest)
        path = tmp_path / "configs" / "kubestorm.yaml"
        config = yaml.safe_load(path.read_text())
        ours = yaml.safe_load((EXAMPLE / "config.yaml").read_text())["database"]
        config["database"] = {**(config.get("database") or {}), **ours}
        path.write_text(yaml.safe_dump(config))
        it.environment.grant()
        it.engine = it.environment.engine()
        it.engine.start()
        yield it
    finally:
        if hasattr(it, "engine"):
            it.engine.stop()
        it.environment.stop()


def test_a_mysqldb_is_created_and_deleted_by_the_same_criteria(world):
    """The labels choose it, the label overrides a default, and its end releases it."""
    for name in ("rule.yaml", "rule_deletion.yaml"):
        rule = yaml.safe_load((EXAMPLE / name).read_text())
        world.engine.client.post("/v1/rules", json=rule).raise_for_status()
    manifest = yaml.safe_load((EXAMPLE / "mysqldb.yaml").read_text())
    other = {
        **manifest,
        "metadata": {**manifest["metadata"], "name": "other", "labels": {"resource": "database"}},
    }
    world.environment.apply({**other, "metadata": {**other["metadata"]}})
    world.environment.apply({**manifest, "on_delete": "Snapshot"})

    def read(name="legacy"):
        return world.environment.read("mysqldbs.prsn.io/v1", "MysqlDb", name, "default")

    def ready():
        conditions = ((read() or {}).get("status") or {}).get("conditions") or []
        return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)

    world.wait_until(ready, "Ready")
    (instance,) = world.instances()
    found = (instance["Engine"], instance["EngineVersion"], instance["DBInstanceClass"])
    assert found == ("mysql", "5.6.23", "db.r6i.2xlarge")
    assert instance["BackupRetentionPeriod"] == 3
    assert "status" not in read("other")
    world.environment.delete("mysqldbs.prsn.io/v1", "MysqlDb", "legacy", "default")
    world.wait_until(lambda: read() is None, "the resource is gone")
    assert world.instances() == []
