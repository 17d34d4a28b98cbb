"""The sensors of people as an engine runs them: made from their files, set up, polled, stopped."""

from __future__ import annotations

import importlib.util
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import stormcell
from kubestorm.announce.keep import Keep
from kubestorm.announce.news import News
from kubestorm.announce.outbox import Item
from kubestorm.errors import DefinitionError
from kubestorm.settings import load_settings
from kubestorm.slack.credentials import Credentials
from kubestorm.slack.settings import SlackSettings

from sandbox.slack import SlackServer
from sandbox.vault.server import VaultServer
from tests.integration.slack.conftest import ROOT, Clock, Store


class SensorService:
    """What StackStorm gives to a sensor."""

    def __init__(self, store: Store) -> None:
        self.dispatched: list[tuple[str, Any]] = []
        for name in ("get_value", "set_value", "delete_value", "list_values"):
            setattr(self, name, getattr(store, name))

    def get_logger(self, name: str) -> logging.Logger:
        return logging.getLogger("test")

    def dispatch(self, trigger: str, payload: Any) -> None:
        self.dispatched.append((trigger, payload))


Make = Callable[..., tuple[Any, SensorService]]


@pytest.fixture
def make_sensor(monkeypatch: pytest.MonkeyPatch, store: Store) -> Iterator[Make]:
    """A sensor of the pack by its file's name, set up."""
    monkeypatch.syspath_prepend(str(Path(stormcell.__file__).parent / "shims" / "st2"))
    made: list[Any] = []

    def make(
        name: str, kind: str, config: dict[str, Any], **more: Any
    ) -> tuple[Any, SensorService]:
        spec = importlib.util.spec_from_file_location(name, ROOT / "sensors" / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        service = SensorService(store)
        sensor = getattr(module, kind)(sensor_service=service, config=config, **more)
        sensor.setup()
        made.append(sensor)
        return sensor, service

    yield make
    for sensor in made:
        sensor.cleanup()
    for name in [name for name in sys.modules if name.split(".")[0] == "st2reactor"]:
        del sys.modules[name]


def wait_for(store: Store, clock: Clock) -> None:
    news = News("s", "state", "topics", "info", "shop", "n", "Something happened.")
    store_item = Item(Keep(store).key_for(news, "#x", clock()), "#x", news, clock())
    Keep(store).put(store_item)


def test_the_outbox_is_looked_at(make_sensor: Make, store: Store, clock: Clock) -> None:
    """What came an hour ago is due; with announcements off nobody looks."""
    clock.advance(-3600)
    wait_for(store, clock)
    clock.advance(3600)
    sensor, service = make_sensor(
        "announcement_sensor", "AnnouncementSensor", {"cluster": "c"}, poll_interval=5
    )
    sensor.poll()
    assert [trigger for trigger, _payload in service.dispatched] == ["kubestorm.announcements_due"]
    off = {"cluster": "c", "announcements": {"through": "off"}}
    silent, service = make_sensor("announcement_sensor", "AnnouncementSensor", off, poll_interval=5)
    silent.poll()
    assert service.dispatched == []


def test_the_slack_sensor_dispatches_what_it_hears(
    make_sensor: Make, slack: SlackServer, slack_config: dict[str, Any]
) -> None:
    """With a proof; and off, it needs no credentials."""
    sensor, service = make_sensor(
        "slack_sensor", "SlackSensor", {"cluster": "c", "slack": {**slack_config, "mode": "http"}}
    )
    slack.request_url = sensor._gate.url
    assert slack.command("ada", "help").status == 200
    ((trigger, payload),) = service.dispatched
    assert (trigger, payload["text"], len(payload["proof"])) == (
        "kubestorm.slack_command",
        "help",
        64,
    )
    make_sensor("slack_sensor", "SlackSensor", {"cluster": "c"})


def test_credentials_may_be_in_vault(tmp_path: Path) -> None:
    """By path and key; what is missing there is named, and no value is shown."""
    with VaultServer(dev=True) as vault:
        import hvac

        client = hvac.Client(url=vault.url, token=vault.root_token)
        client.secrets.kv.v2.create_or_update_secret(
            "kubestorm/slack/app", secret={"bot_token": "xoxb-from-vault"}
        )
        token = tmp_path / "token"
        token.write_text(vault.root_token)
        section = {
            "bot_token_vault": "kubestorm/slack/app#bot_token",
            "signing_secret_vault": "kubestorm/slack/app",
        }
        settings = load_settings(
            {
                "cluster": "c",
                "slack": section,
                "vault": {"url": vault.url, "auth": {"method": "token", "token_file": str(token)}},
            }
        )
        credentials = Credentials.of(settings)
        assert credentials.bot_token().reveal() == "xoxb-from-vault"
        with pytest.raises(Exception, match="signing_secret"):
            credentials.signing_secrets()
        with pytest.raises(DefinitionError, match="app_token_file"):
            credentials.app_token()
        assert SlackSettings.from_config(settings.raw).bot_token_vault
