"""Event to durable execution: decode, match among 1,000 rules, commit instance, enforcement and
execution.

Beside it, in turns, the bare script: decode, one equality test in Python, two rows in SQLite with
the same settings, as many to a transaction. The engine is asked in batches, as sensors hand events
in; its log is at `warning`, for a line per event costs as much as the event.
"""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec
from stormcell.catalog import Catalog
from stormcell.configs import Configs
from stormcell.content.loader import load_pack
from stormcell.content.models import Pack, PackContent, Rule, RuleAction, RuleTrigger, TriggerType
from stormcell.content.registry import Content
from stormcell.engine import Engine
from stormcell.ids import new_id
from stormcell.lookups import EngineLookups
from stormcell.packs import CORE_PACK
from stormcell.runners.registry import Runners
from stormcell.runners.simple import NoopRunner
from stormcell.store import Store
from stormcell.store.store import open_store
from stormcell.times import now

from bench.harness import Figure, at_least, interleaved, say

EVENTS = 5_000
BATCH = 250
RULES = 1_000
BAR_PER_CPU_SECOND = 20_000
BAR_RATIO = 0.4

_BODIES = [
    msgspec.json.encode(
        {"name": f"object-{number}", "kind": f"kind-{number % RULES}", "generation": number}
    )
    for number in range(EVENTS)
]


def _content() -> Content:
    pack = Pack(ref="bench", name="bench", description="", version="0.1.0", author="", path=Path())
    rules = [
        Rule(
            pack="bench",
            name=f"rule_{number}",
            enabled=True,
            trigger=RuleTrigger(type="bench.event"),
            criteria={"trigger.kind": {"type": "eq", "pattern": f"kind-{number}"}},
            action=RuleAction(ref="core.noop"),
        )
        for number in range(RULES)
    ]
    kind = TriggerType(pack="bench", name="event", payload_schema={"type": "object"})
    return Content(
        [load_pack(CORE_PACK), PackContent(pack=pack, rules=rules, trigger_types=[kind])]
    )


async def _ingest(engine: Engine) -> None:
    decode = msgspec.json.decode
    for start in range(0, EVENTS, BATCH):
        batch = _BODIES[start : start + BATCH]
        await engine.dispatch_many(("bench.event", decode(body), "") for body in batch)


def _engine(store: Store) -> Engine:
    """An engine that leaves executions requested: running them is another figure."""

    def conduct(action: object, pack: object) -> object:
        raise NotImplementedError("nothing here is a workflow")

    catalog = Catalog(_content(), make_conductor=conduct)  # type: ignore[arg-type]
    lookups = EngineLookups(store.datastore, lambda pack: {})
    runners = Runners({"noop": NoopRunner()})
    return Engine(store, catalog, lookups, runners, configs=Configs(None), concurrency={"noop": 0})


def _bare(connection: sqlite3.Connection) -> Callable[[], None]:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = normal")
    connection.execute("CREATE TABLE instances (id TEXT PRIMARY KEY, at TEXT, payload BLOB)")
    connection.execute(
        "CREATE TABLE executions (id TEXT PRIMARY KEY, instance TEXT, at TEXT, action TEXT)"
    )
    wanted = {f"kind-{number}": "core.noop" for number in range(RULES)}

    def script() -> None:
        for start in range(0, EVENTS, BATCH):
            connection.execute("BEGIN")
            for body in _BODIES[start : start + BATCH]:
                payload = msgspec.json.decode(body)
                action = wanted.get(payload["kind"])
                if action is None:
                    continue
                instance, at = new_id(), now()
                connection.execute("INSERT INTO instances VALUES (?, ?, ?)", (instance, at, body))
                connection.execute(
                    "INSERT INTO executions VALUES (?, ?, ?, ?)", (new_id(), instance, at, action)
                )
            connection.execute("COMMIT")

    return script


def measure() -> list[Figure]:
    with tempfile.TemporaryDirectory() as name, asyncio.Runner() as runner:
        store = open_store(Path(name) / "data")
        connection = sqlite3.connect(Path(name) / "bare.db", isolation_level=None)
        engine = _engine(store)
        gc.collect()
        gc.freeze()  # as `stormcell serve` does once it is ready
        bare = _bare(connection)
        spent = interleaved({"ours": lambda: runner.run(_ingest(engine)), "bare": bare}, rounds=7)
        store.close()
        connection.close()
    ours, script = EVENTS / spent["ours"], EVENTS / spent["bare"]
    return [
        at_least(
            "event, match among 1,000 rules, durable execution",
            ours,
            "per CPU second",
            BAR_PER_CPU_SECOND,
        ),
        Figure("bare script: decode, match, two rows", script, "per CPU second"),
        at_least("ratio to the bare script", ours / script, "", BAR_RATIO),
    ]


if __name__ == "__main__":
    say(measure)
