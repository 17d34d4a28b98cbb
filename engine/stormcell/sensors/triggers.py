"""Which triggers a sensor is told of, and what has changed since it was last told.

A trigger is a mapping as StackStorm's sensors get it: `id`, `ref`, `pack`, `name`, `uid`, `type`,
`parameters`, `description`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

Trigger = dict[str, Any]


class TriggerChanges(msgspec.Struct, frozen=True, kw_only=True):
    """What a sensor must hear, in this order: what is new or changed before what is gone, so that
    nothing that stays wanted is let go in between."""

    add: list[Trigger] = []
    update: list[Trigger] = []
    remove: list[Trigger] = []

    def __bool__(self) -> bool:
        return bool(self.add or self.update or self.remove)


def triggers_for(trigger_types: Iterable[str], triggers: Iterable[Trigger]) -> dict[str, Trigger]:
    """Return the triggers of the given types, by id."""
    wanted = frozenset(trigger_types)
    return {trigger_id(trigger): trigger for trigger in triggers if trigger["type"] in wanted}


def trigger_id(trigger: Trigger) -> str:
    """Return what tells a trigger from others: its id, or its ref where it has none."""
    return str(trigger.get("id") or trigger["ref"])


def changes_between(known: Mapping[str, Trigger], wanted: Mapping[str, Trigger]) -> TriggerChanges:
    """Return what leads from the known triggers to the wanted ones; empty when they are the same."""
    return TriggerChanges(
        add=[trigger for key, trigger in wanted.items() if key not in known],
        update=[
            trigger for key, trigger in wanted.items() if key in known and known[key] != trigger
        ],
        remove=[trigger for key, trigger in known.items() if key not in wanted],
    )
