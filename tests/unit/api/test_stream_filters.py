"""What a listener of the stream asked for."""

from __future__ import annotations

from typing import Any

import pytest
from stormcell.api.streaming import Wanted

OUTPUT = (
    "st2.execution.output__create",
    {"action_ref": "core.local", "execution_id": "1", "data": "x"},
)
CHAT = ("st2.announcement__chatops", {"message": "hi"})


@pytest.mark.parametrize(
    "wanted, taken",
    [
        ({}, [CHAT]),
        ({"events": ("st2.execution.output__create",)}, [OUTPUT]),
        ({"events": ("*",)}, [OUTPUT, CHAT]),
        ({"events": ("st2.announcement__errbot",)}, []),
        ({"events": ("*",), "action_refs": ("core.local",)}, [OUTPUT]),
        ({"events": ("*",), "action_refs": ("core.http",)}, []),
        ({"events": ("*",), "execution_ids": ("1", "2")}, [OUTPUT]),
    ],
    ids=[
        "default",
        "by-name",
        "by-pattern",
        "other-route",
        "by-action",
        "by-other-action",
        "by-execution",
    ],
)
def test_events_are_filtered(wanted: dict[str, Any], taken: list[Any]) -> None:
    """By default announcements and executions; a pattern of the name, the action and the execution
    must all fit.
    """
    assert [event for event in (OUTPUT, CHAT) if Wanted(**wanted).takes(*event)] == taken
