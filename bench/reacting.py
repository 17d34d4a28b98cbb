"""From an event in a sensor to the start of its action, at 50 events a second, through a real
`stormcell serve`.

Two ways in: a sensor of ten lines that dispatches by the clock, and kubestorm's own sensor on the
sandbox's Kubernetes API, from before the object's POST. A core.noop has started when its execution
says `running`; a Python action when its `run` reads the clock, in its worker. Peer: kopf 1.38 took
1.4 ms (p50) and 3.8 ms (p99) from watch event to handler on a machine of this kind, without any
history on disk (the figures recorded in the design; kopf is not run here).
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import kubernetes
import yaml

from bench.engines import Started, family, process_id, pss_megabytes, serving, started, write_pack
from bench.harness import Figure, at_most, percentile, say
from sandbox.engine_process import EngineProcess
from sandbox.environment import ROOT, Environment

PER_SECOND = 50
EVENTS = 600
WARM_UP = 50
OBJECTS = 300
P50_BAR_MS, P99_BAR_MS = 0.7, 3.8
MEMORY_BAR_MB = 150
_WAIT_SECONDS = 60.0
SENT_AT = "bench/sent-at"

_EXAMPLE = (ROOT / "examples" / "database.yaml").read_text()
_SENSOR = f"""
import threading, time
from st2reactor.sensor.base import Sensor


class Ticker(Sensor):
    def setup(self): pass
    def cleanup(self): pass
    def add_trigger(self, trigger): pass
    def update_trigger(self, trigger): pass
    def remove_trigger(self, trigger): pass

    def run(self):
        begin = time.monotonic() + 1
        for number in range({EVENTS}):
            time.sleep(max(0, begin + number / {PER_SECOND} - time.monotonic()))
            kind = "python" if number % 2 else "noop"
            self.sensor_service.dispatch("bench.tick", {{"kind": kind, "sent_at": time.time()}})
        threading.Event().wait()
"""
_ACTION = """
import time
from st2common.runners.base_action import Action


class Clock(Action):
    def run(self):
        return time.time()
"""


def _rule(name: str, trigger: dict[str, object], action: str, **criteria: object) -> str:
    rule = {
        "name": name,
        "pack": "bench",
        "enabled": True,
        "trigger": trigger,
        "action": {"ref": action},
    }
    return yaml.safe_dump({**rule, "criteria": criteria} if criteria else rule)


def _ticking_pack(folder: Path) -> Path:
    sensor = {"class_name": "Ticker", "entry_point": "ticker.py", "description": "Ticks."}
    tick = {"name": "tick", "payload_schema": {"type": "object"}}
    clock = {
        "name": "clock",
        "runner_type": "python-script",
        "entry_point": "clock.py",
        "enabled": True,
    }
    files = {
        "sensors/ticker.yaml": yaml.safe_dump({**sensor, "trigger_types": [tick]}),
        "sensors/ticker.py": _SENSOR,
        "actions/clock.yaml": yaml.safe_dump(clock),
        "actions/clock.py": _ACTION,
    }
    for kind, action in {"noop": "core.noop", "python": "bench.clock"}.items():
        wanted = {"trigger.kind": {"type": "eq", "pattern": kind}}
        files[f"rules/{kind}.yaml"] = _rule(kind, {"type": "bench.tick"}, action, **wanted)
    return write_pack(folder, files)


def _wait_for(engine: EngineProcess, count: int) -> list[Started]:
    deadline = time.monotonic() + _WAIT_SECONDS
    while len(found := started(engine)) < count:
        if time.monotonic() > deadline:
            raise AssertionError(f"{len(found)} of {count} executions ended:\n{engine.log_tail()}")
        time.sleep(0.5)
    return found[WARM_UP:]


def _ticking(folder: Path) -> list[Figure]:
    with serving(folder, _ticking_pack(folder / "bench")) as engine:
        found = _wait_for(engine, EVENTS)
    waits: dict[str, list[float]] = {"core.noop": [], "bench.clock": []}
    for item in found:
        at = item.started_at
        if item.action == "bench.clock" and isinstance(item.result, dict):
            at = item.result["result"]
        waits[item.action].append((at - float(str(item.payload["sent_at"]))) * 1000)
    return [
        *_figures("sensor's dispatch to core.noop started", waits["core.noop"]),
        *_figures("sensor's dispatch to a Python action's first line", waits["bench.clock"]),
    ]


def _figures(name: str, waits: list[float]) -> list[Figure]:
    return [
        at_most(f"{name}, p50", percentile(waits, 50), "ms", P50_BAR_MS),
        at_most(f"{name}, p99", percentile(waits, 99), "ms", P99_BAR_MS),
    ]


def _kubestorm_without_rules(folder: Path) -> Path:
    """The pack as it is, but for its rules: nothing shall act on the objects that are made here."""
    folder.mkdir()
    for item in ROOT.iterdir():
        if item.name in (
            "pack.yaml",
            "config.schema.yaml",
            "sensors",
            "actions",
            "lib",
            "workflows",
        ):
            (folder / item.name).symlink_to(item)
    return folder


def _watching(folder: Path) -> list[Figure]:
    asked = {"group": "kubestorm.io", "version": "v1alpha1", "plural": "databases", "resync": False}
    trigger = {"type": "kubestorm.resource_event", "parameters": asked}
    wanted = {"trigger.change": {"type": "eq", "pattern": "created"}}
    rules = write_pack(
        folder / "bench", {"rules/seen.yaml": _rule("seen", trigger, "core.noop", **wanted)}
    )
    packs = [_kubestorm_without_rules(folder / "kubestorm"), rules]
    with Environment(folder / "sandbox") as outside:
        outside.create_namespace("bench")
        engine = EngineProcess(folder / "engine", packs=packs, configs=outside.folder / "configs")
        with engine, kubernetes.config.new_client_from_config(str(outside.kubeconfig)) as client:
            api = kubernetes.client.CustomObjectsApi(client)
            _create_database(api, "first")
            _wait_for(engine, 1)  # it watches now
            _create_databases(api)
            found = _wait_for(engine, OBJECTS + 1)
            held = {pid: pss_megabytes(pid) for pid in family(process_id(engine))}
    waits = [(item.started_at - _sent_at(item)) * 1000 for item in found]
    parts = " + ".join(f"{size:,.0f}" for size in held.values())
    return [
        Figure(
            "object's POST in the sandbox to core.noop started, p50", percentile(waits, 50), "ms"
        ),
        Figure(
            "object's POST in the sandbox to core.noop started, p99", percentile(waits, 99), "ms"
        ),
        at_most(
            f"memory of engine, worker and kubestorm's sensors, libraries loaded ({parts})",
            sum(held.values()),
            "MB (PSS)",
            MEMORY_BAR_MB,
        ),
    ]


def _create_databases(api: kubernetes.client.CustomObjectsApi) -> None:
    begin = time.monotonic() + 1
    for number in range(OBJECTS):
        time.sleep(max(0.0, begin + number / PER_SECOND - time.monotonic()))
        _create_database(api, f"orders-{number}")


def _create_database(api: kubernetes.client.CustomObjectsApi, name: str) -> None:
    example = yaml.safe_load(_EXAMPLE)
    body = {**example, "metadata": {"name": name, "annotations": {SENT_AT: repr(time.time())}}}
    api.create_namespaced_custom_object("kubestorm.io", "v1alpha1", "bench", "databases", body)


def _sent_at(item: Started) -> float:
    annotations = item.payload["annotations"]
    return float(annotations[SENT_AT]) if isinstance(annotations, dict) else 0.0


def measure() -> list[Figure]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "watching").mkdir()
        return [*_ticking(folder / "ticking"), *_watching(folder / "watching")]


if __name__ == "__main__":
    say(measure)
