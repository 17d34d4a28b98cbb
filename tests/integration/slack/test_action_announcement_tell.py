"""Announcements: from an object as it is to a message in the channel of its namespace."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from kubestorm.announce.keep import OUTBOX, Keep
from kubestorm.announce.steps import LEASE, Notice, tell
from kubestorm.announce.waiting import OutboxWatch
from kubestorm.errors import PermanentError, TemporaryError
from kubestorm.lease import LeaseLock
from kubestorm.naming import Identity, identity_of
from kubestorm.services import Services
from kubestorm.slack.posting import open_web

from sandbox.slack import SlackServer
from tests.integration.slack.conftest import BEGINNING, Clock, Store

MERGE = {"content-type": "application/merge-patch+json"}


class Team:
    """Databases of one namespace, and what is told of them."""

    def __init__(
        self, http: httpx.Client, path: str, services: Callable[..., Services], store: Store
    ) -> None:
        self._http, self._path, self._services, self.store = http, path, services, store

    def make(self, name: str) -> Identity:
        """A Database that nobody works on."""
        body = {
            "apiVersion": "kubestorm.io/v1alpha1",
            "kind": "Database",
            "metadata": {"name": name},
            "spec": {"engine": "postgres", "version": "16", "size": "small"},
        }
        made = self._http.post(self._path, json=body).raise_for_status().json()
        return identity_of("test", "databases", made)

    def set(self, about: Identity, status: str, reason: str, message: str = "") -> None:
        """Write the condition InstanceAvailable and Ready after it."""
        stamp = BEGINNING.strftime("%Y-%m-%dT%H:%M:%SZ")
        conditions = [
            {
                "type": kind,
                "status": status,
                "reason": reason,
                "message": message,
                "lastTransitionTime": stamp,
            }
            for kind in ("InstanceAvailable", "Ready")
        ]
        url = f"{self._path}/{about.name}/status"
        self._http.patch(
            url, json={"status": {"conditions": conditions}}, headers=MERGE
        ).raise_for_status()

    def tell(
        self, about: Identity | None = None, notice: Notice | None = None, **sections: Any
    ) -> dict[str, Any]:
        return tell(
            self._services(**sections), Keep(self.store), "run-1", about=about, notice=notice
        )


@pytest.fixture
def team(
    http: httpx.Client, databases: str, open_services: Callable[..., Services], store: Store
) -> Team:
    return Team(http, databases, open_services, store)


def texts(slack: SlackServer) -> list[str]:
    return [post.text.splitlines()[0] for post in slack.in_channel("team-shop")]


def test_a_team_hears_of_its_database(team: Team, slack: SlackServer, namespace: str) -> None:
    """Once, with colour and facts; trouble and what follows it in the same thread."""
    about = team.make("orders")
    assert team.tell(about)["posted"] == 0
    team.set(about, "True", "Ready")
    team.tell(about)
    team.tell(about)
    team.set(about, "False", "AWSRDSRefused", "RDS refuses <db.huge> & more.")
    team.tell(about)
    posts = slack.in_channel("team-shop")
    assert texts(slack) == [
        f"✔ Database {namespace}/orders is ready.",
        f"✖ Database {namespace}/orders is in trouble: RDS refuses <db.huge> & more.",
    ]
    assert [post.thread_ts for post in posts] == ["", posts[0].ts]
    assert "&lt;db.huge&gt; &amp; more" in posts[1].everything
    assert posts[0].attachments[0]["color"] == "#2eb67d"
    assert team.store.list_values(prefix=OUTBOX) == []


def test_a_namespace_says_where(
    team: Team, http: httpx.Client, slack: SlackServer, namespace: str
) -> None:
    """By its annotation; `none` is silence."""
    body = {"metadata": {"annotations": {"kubestorm.io/channel": "#general"}}}
    http.patch(f"/api/v1/namespaces/{namespace}", json=body, headers=MERGE).raise_for_status()
    about = team.make("orders")
    team.set(about, "True", "Ready")
    team.tell(about)
    assert len(slack.in_channel("general")) == 1
    body["metadata"]["annotations"]["kubestorm.io/channel"] = "none"
    http.patch(f"/api/v1/namespaces/{namespace}", json=body, headers=MERGE).raise_for_status()
    team.set(about, "False", "AWSRDSRefused", "No.")
    assert team.tell(about)["told"] == ""
    assert len(slack.posts) == 1


def test_a_burst_is_one_message_when_its_window_has_passed(
    team: Team, slack: SlackServer, clock: Clock, namespace: str
) -> None:
    """Three at once; the sensor says when the other four are due."""
    for number in range(7):
        about = team.make(f"db{number}")
        team.set(about, "True", "Ready")
        team.tell(about)
    assert len(texts(slack)) == 3
    dispatched: list[Any] = []
    watch = OutboxWatch(
        team.store,
        lambda trigger, payload: dispatched.append((trigger, payload)),
        logging.getLogger("test"),
        window_seconds=20,
        interval_seconds=5,
        now=clock,
    )
    watch.poll()
    assert dispatched == []
    clock.advance(20)
    watch.poll()
    watch.poll()
    assert [(trigger, payload["waiting"]) for trigger, payload in dispatched] == [
        ("kubestorm.announcements_due", 4)
    ]
    assert team.tell()["posted"] == 1
    assert texts(slack)[3] == f"✔ 4 databases ready in {namespace}: db3, db4, db5, db6."
    assert team.store.list_values(prefix=OUTBOX) == []


def test_trouble_that_passes_is_not_told(team: Team, slack: SlackServer, clock: Clock) -> None:
    """A Vault that is away for a minute; one that stays away is told of."""
    about = team.make("orders")
    team.set(about, "True", "Ready")
    team.tell(about)
    team.set(about, "False", "VaultUnavailable", "Vault does not answer.")
    team.tell(about)
    clock.advance(60)
    team.set(about, "True", "Ready")
    team.tell(about)
    clock.advance(200)
    team.tell()
    assert len(texts(slack)) == 1


def test_while_slack_is_away_nothing_is_lost(team: Team, slack: SlackServer) -> None:
    """A rate limit, an outage: it waits and is told afterwards; the action fails so that the
    operator sees it.
    """
    about = team.make("orders")
    team.set(about, "True", "Ready")
    slack.limit("chat.postMessage", 30)
    assert "Slack wants fewer messages" in team.tell(about)["refused"][0]
    slack.fail("chat.postMessage", "internal_error")
    assert "out of order" in team.tell()["refused"][0]
    assert team.tell()["posted"] == 1
    assert len(texts(slack)) == 1


def test_a_channel_that_does_not_exist_stops_nobody_else(team: Team, slack: SlackServer) -> None:
    """It is said once in a sentence with the remedy, and not tried for ever."""
    refused = team.tell(
        notice=Notice("", "One.", subject="a"), announcements={"channel": "#nowhere"}
    )
    assert refused["refused"] == [
        "Slack refuses chat.postMessage for #nowhere: there is no such channel, or the bot may not see it: "
        "invite it there."
    ]
    team.tell(notice=Notice("", "Two.", subject="b"))
    assert texts(slack) == ["▸ Two."]


def test_only_one_run_posts(
    team: Team, slack: SlackServer, open_services: Callable[..., Services]
) -> None:
    """What it does not see, the next look posts."""
    services = open_services()
    lease = LeaseLock(services.kube, LEASE, holder="another", now=services.now)
    assert lease.acquire()
    assert team.tell(notice=Notice("", "Hello.", subject="x"))["posted"] == 0
    lease.release()
    assert team.tell()["posted"] == 1
    assert texts(slack) == ["▸ Hello."]


def test_without_slack_the_engine_brings_it(team: Team, slack: SlackServer) -> None:
    """As parameters for kubestorm.announcement_post, which the workflow runs for each."""
    result = team.tell(
        notice=Notice("", "Hello.", subject="x"),
        slack={},
        announcements={"channel": "#team", "route": "errbot"},
    )
    assert (result["posts"], result["route"]) == (
        [{"channel": "#team", "message": "▸ Hello."}],
        "errbot",
    )
    assert slack.posts == []


def test_off_is_off(team: Team, slack: SlackServer) -> None:
    """Nothing is even kept."""
    team.tell(
        notice=Notice("", "Hello."), announcements={"through": "off", "channel": "#team-shop"}
    )
    assert (slack.posts, team.store.list_values(prefix=OUTBOX)) == ([], [])


def test_slacks_errors_say_what_to_do(
    slack: SlackServer, open_services: Callable[..., Services]
) -> None:
    """In a sentence, without the token."""
    web = open_web(open_services())
    for word, advice in (("not_in_channel", "invite it there"), ("missing_scope", "docs/slack.md")):
        slack.fail("chat.postMessage", word)
        with pytest.raises(PermanentError, match=advice):
            web.post("#general", "x")
    slack.server.stop()
    with pytest.raises(TemporaryError, match="could not be reached") as caught:
        web.post("#general", "x")
    assert slack.bot_token not in str(caught.value)


def test_a_short_rate_limit_is_waited_for(
    slack: SlackServer, open_services: Callable[..., Services]
) -> None:
    """A second is no reason to fail."""
    slack.limit("chat.postMessage", 1)
    assert open_web(open_services()).post("#general", "x")
    assert len(slack.posts) == 1
