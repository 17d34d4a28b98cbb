"""Whether the payload of a trigger instance fits its type, before it is stored.

Source: st2common/services/trigger_dispatcher.py and validators/api/reactor.py of StackStorm 3.9,
with the setting `validate_trigger_payload` on: what does not fit is dropped with a warning.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from stormcell.content.models import TriggerType
from stormcell.content.schemas import CompiledSchema

FindType = Callable[[str], TriggerType | None]
"""Trigger type by ref."""
TypeOfTrigger = Callable[[str], str | None]
"""Ref of a trigger (with parameters) -> ref of its type; None where there is no such trigger."""


class PayloadCheck:
    """Checks payloads; compiles each type's schema once. Make a new one when content is reloaded."""

    def __init__(
        self, find_type: FindType, type_of_trigger: TypeOfTrigger = lambda ref: None
    ) -> None:
        self._find_type = find_type
        self._type_of_trigger = type_of_trigger
        self._schemas: dict[str, CompiledSchema | None] = {}

    def problem(self, trigger: str | dict[str, Any], payload: Any) -> str | None:
        """Return why a payload must be dropped, as a sentence without its values, or None when it
        fits.

        `trigger` is the ref of a type or of a trigger, or a mapping with `type`.
        """
        ref = (
            str(trigger.get("type") or trigger.get("ref") or "")
            if isinstance(trigger, dict)
            else trigger
        )
        if not ref:
            return "The trigger has neither a type nor a ref."
        found = self._find_type(ref)
        if found is None:
            type_ref = self._type_of_trigger(ref)
            found = None if type_ref is None else self._find_type(type_ref)
        if found is None:
            return f"There is no trigger type '{ref}'."
        if payload is not None and not isinstance(payload, dict):
            return f"The payload for {ref} is not a mapping."
        schema = self._schema(found)
        if schema is None:
            return None
        problems = schema.problems(payload or {})
        if not problems:
            return None
        return f"The payload does not fit the schema of {found.ref}: {'; '.join(problems)}."

    def _schema(self, trigger_type: TriggerType) -> CompiledSchema | None:
        if trigger_type.ref not in self._schemas:
            given = trigger_type.payload_schema
            self._schemas[trigger_type.ref] = CompiledSchema(given) if given else None
        return self._schemas[trigger_type.ref]
