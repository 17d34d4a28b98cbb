"""Everything that outlives the process: one SQLite file, one writer, group commit."""

from stormcell.store.records import Enforcement, Execution, KeyValue, TriggerInstance
from stormcell.store.sealing import MASK, Sealer
from stormcell.store.store import Store, open_store

__all__ = [
    "MASK",
    "Enforcement",
    "Execution",
    "KeyValue",
    "Sealer",
    "Store",
    "TriggerInstance",
    "open_store",
]
