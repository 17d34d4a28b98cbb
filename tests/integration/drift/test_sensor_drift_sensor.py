"""The drift sensor as StackStorm calls it: its timer, and looks that never end it."""

from __future__ import annotations

import importlib.util
import logging
import sys
from pathlib import Path

import pytest
import stormcell
import yaml
from kubestorm.drift.settings import DriftSettings
from kubestorm.errors import DefinitionError

ROOT = Path(__file__).resolve().parents[3]
NOWHERE = "http://127.0.0.1:9"


class SensorService:
    """What StackStorm gives to a sensor."""

    def __init__(self) -> None:
        self.dispatched: list[dict] = []
        self.values: dict[str, str] = {}
        self.lines: list[str] = []
        self._log = logging.Logger("sensor")
        handler = logging.Handler()
        handler.emit = lambda record: self.lines.append(record.getMessage())
        self._log.addHandler(handler)

    def get_logger(self, name):
        return self._log

    def dispatch(self, trigger, payload):
        self.dispatched.append(payload)

    def get_value(self, name):
        return self.values.get(name)

    def set_value(self, name, value):
        self.values[name] = value


@pytest.fixture
def make_sensor(monkeypatch):
    """The sensor with this configuration, set up."""
    monkeypatch.syspath_prepend(str(Path(stormcell.__file__).parent / "shims" / "st2"))
    spec = importlib.util.spec_from_file_location(
        "drift_sensor", ROOT / "sensors" / "drift_sensor.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def make(**config):
        service = SensorService()
        sensor = module.DriftSensor(
            sensor_service=service, config={"cluster": "test", **config}, poll_interval=900
        )
        sensor.setup()
        return sensor, service

    yield make
    for name in [name for name in sys.modules if name.split(".")[0] == "st2reactor"]:
        del sys.modules[name]


def unreachable(tmp_path: Path) -> dict:
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


def test_the_configuration_decides_how_often(make_sensor):
    """A quarter of an hour where it says nothing, as the metadata says, too."""
    assert make_sensor()[0].get_poll_interval() == 900
    assert make_sensor(drift={"interval_seconds": 60})[0].get_poll_interval() == 60
    metadata = yaml.safe_load((ROOT / "sensors" / "drift_sensor.yaml").read_text())
    schema = yaml.safe_load((ROOT / "config.schema.yaml").read_text())["drift"]["properties"]
    default = DriftSettings().interval_seconds
    assert (metadata["poll_interval"], schema["interval_seconds"]["default"]) == (default, default)


def test_off_it_asks_nobody(make_sensor, tmp_path):
    """With an interval of 0 not even Kubernetes."""
    sensor, service = make_sensor(drift={"interval_seconds": 0}, **unreachable(tmp_path))
    sensor.poll()
    assert service.lines == []


def test_a_cluster_that_does_not_answer_is_said_once_and_ends_nothing(make_sensor, tmp_path):
    """Two looks, one line, no event."""
    sensor, service = make_sensor(**unreachable(tmp_path))
    for _ in range(2):
        sensor.poll()
    assert len(service.lines) == 1
    assert service.lines[0].startswith("drift.unknown")
    assert (service.dispatched, service.values) == ([], {})


def test_a_wrong_setting_is_said_by_name(make_sensor):
    """When it starts, not at the first look."""
    with pytest.raises(DefinitionError, match="interval_minutes"):
        make_sensor(drift={"interval_minutes": 5})
