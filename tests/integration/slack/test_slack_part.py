"""Slack as a part of the process that listens."""

from __future__ import annotations

import logging
from typing import Any

import httpx
import pytest
from kubestorm.entrypoints.sensors.listeners import Listeners

from sandbox.slack import SlackServer
from tests.integration.slack.conftest import Store


class SensorService:
    """What StackStorm gives to a sensor."""

    def __init__(self, store: Store) -> None:
        self.dispatched: list[tuple[str, Any]] = []
        self.get_value, self.set_value = store.get_value, store.set_value

    def dispatch(self, trigger: str, payload: Any) -> None:
        self.dispatched.append((trigger, payload))


def test_what_it_hears_is_dispatched_with_a_proof(
    slack: SlackServer, slack_config: dict[str, Any], store: Store
) -> None:
    """And off, it needs no credentials."""
    service = SensorService(store)
    config = {"cluster": "c", "slack": {**slack_config, "mode": "http"}}
    supervisor = Listeners(service, config, logging.getLogger("test")).supervisor
    supervisor.tick(0)
    gate: Any = supervisor._states["Slack"].running
    slack.request_url = gate.url
    assert slack.command("ada", "help").status == 200
    ((trigger, payload),) = service.dispatched
    assert (trigger, payload["text"], len(payload["proof"])) == (
        "kubestorm.slack_command",
        "help",
        64,
    )
    supervisor.stop()
    with pytest.raises(httpx.ConnectError):
        slack.command("ada", "help")
    off = Listeners(service, {"cluster": "c"}, logging.getLogger("test")).supervisor
    off.tick(0)
    assert off._states["Slack"].running is None
