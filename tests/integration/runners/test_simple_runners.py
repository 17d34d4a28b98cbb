"""noop, inquirer and announcement; and the registry that holds all runners."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from stormcell.errors import NotFoundError
from stormcell.packs import CORE_PACK
from stormcell.runners.registry import Runners
from stormcell.running import RunResult

from tests.integration.runners.conftest import Requests

ANNOUNCED: list[tuple[str, dict[str, Any]]] = []


def _run(
    action: str, parameters: dict[str, Any] | None = None, **runner_parameters: Any
) -> RunResult:
    requests = Requests(CORE_PACK)

    async def announce(route: str, payload: dict[str, Any]) -> None:
        ANNOUNCED.append((route, payload))

    async def go() -> RunResult:
        runners = Runners.make(announce=announce, warm_workers=0)
        request = requests(action, parameters, **runner_parameters)
        try:
            return await runners.get(request.action.runner_type).run(request, requests.output)
        finally:
            await runners.close()

    return asyncio.run(go())


def test_noop_succeeds() -> None:
    """With StackStorm's result."""
    found = _run("noop")
    assert (found.status, found.result) == (
        "succeeded",
        {"failed": False, "succeeded": True, "return_code": 0},
    )


def test_an_inquiry_is_pending() -> None:
    """The result is what an inquiry is made of, with defaults."""
    found = _run("ask", route="developers", users=["a"])
    assert found.status == "pending"
    assert (found.result["route"], found.result["users"], found.result["ttl"]) == (
        "developers",
        ["a"],
        1440,
    )
    assert found.result["schema"]["properties"]["continue"]["required"] is True


def test_an_announcement_goes_out() -> None:
    """The parameters are the payload; the flag must be set."""
    found = _run("announcement", {"message": {"a": 1}}, experimental=True, route="chatops")
    assert ANNOUNCED == [("chatops", {"message": {"a": 1}})]
    assert found.result == {"output": {"message": {"a": 1}}, "message": {"a": 1}}
    assert _run("announcement", {"message": {}}).status == "failed"


def test_an_unknown_runner_is_not_found() -> None:
    """The error lists the known ones; underscores are understood."""
    runners = Runners({})
    assert "noop" not in runners
    with pytest.raises(NotFoundError, match="There is no runner 'nope'"):
        runners.get("nope")
