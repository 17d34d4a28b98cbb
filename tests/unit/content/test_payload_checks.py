"""Whether a trigger instance's payload is taken or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from stormcell.bootstrap import make_conductor
from stormcell.catalog import Catalog
from stormcell.content.models import Pack, PackContent, TriggerType
from stormcell.content.registry import Content
from stormcell.errors import InvalidInputError, NotFoundError

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
PACK = Pack(ref="p", name="p", description="", version="1.0.0", author="", path=Path())
CONTENT = Content([PackContent(pack=PACK, trigger_types=[TYPE, FREE])])
CATALOG = Catalog(
    CONTENT, make_conductor=lambda action, pack: make_conductor(action, pack, CONTENT)
)

CASES: dict[str, tuple[str, Any, str | None]] = {
    "fits": ("p.seen", {"name": "x", "count": None}, None),
    "missing": ("p.seen", {}, "'name' is a required property"),
    "type": ("p.seen", {"name": "x", "count": "1"}, "'count' must be of type integer"),
    "extra": ("p.seen", {"name": "x", "other": 1}, "'other'"),
    "no schema": ("p.free", {"anything": [1]}, None),
}


@pytest.mark.parametrize("trigger, payload, expected", CASES.values(), ids=CASES.keys())
def test_what_does_not_fit_is_told(trigger: str, payload: Any, expected: str | None) -> None:
    """The sentence names the field, not its value."""
    found = CATALOG.resolve_trigger(trigger)
    assert found is not None
    if expected is None:
        CATALOG.check_payload(found.type, payload)
        return
    with pytest.raises(InvalidInputError) as refused:
        CATALOG.check_payload(found.type, payload)
    assert expected in str(refused.value)


def test_an_unknown_trigger_is_refused() -> None:
    """With the name that nothing carries."""
    with pytest.raises(NotFoundError, match=r'The trigger "p\.gone" is not known'):
        CATALOG.resolve_trigger("p.gone")
