"""Whether a trigger instance's payload is stored or dropped."""

from __future__ import annotations

from typing import Any

import pytest
from stormcell.content.models import TriggerType
from stormcell.sensors.payloads import PayloadCheck

TYPE = TriggerType(
    pack="p",
    name="seen",
    payload_schema={
        "type": "object",
        "properties": {"name": {"type": "string", "required": True}, "count": {"type": "integer"}},
        "additionalProperties": False,
    },
)
FREE = TriggerType(pack="p", name="free")
CHECK = PayloadCheck({TYPE.ref: TYPE, FREE.ref: FREE}.get, {"p.some-id": "p.seen"}.get)

CASES: dict[str, tuple[Any, Any, str | None]] = {
    "fits": ("p.seen", {"name": "x", "count": None}, None),
    "missing": ("p.seen", {}, "'name' is a required property"),
    "no payload": ("p.seen", None, "'name' is a required property"),
    "type": ("p.seen", {"name": "x", "count": "1"}, "'count' must be of type integer"),
    "extra": ("p.seen", {"name": "x", "other": 1}, "'other'"),
    "by trigger": ("p.some-id", {}, "'name' is a required property"),
    "by mapping": ({"type": "p.seen", "parameters": {}}, {}, "'name' is a required property"),
    "no schema": ("p.free", {"anything": [1]}, None),
    "unknown": ("p.gone", {}, "There is no trigger type 'p.gone'"),
    "neither": ({}, {}, "neither a type nor a ref"),
    "no mapping": ("p.free", [1], "is not a mapping"),
}


@pytest.mark.parametrize("trigger, payload, expected", CASES.values(), ids=CASES.keys())
def test_what_does_not_fit_is_told(trigger: Any, payload: Any, expected: str | None) -> None:
    """The sentence names the field, not its value."""
    problem = CHECK.problem(trigger, payload)
    if expected is None:
        assert problem is None
    else:
        assert problem is not None
        assert expected in problem
