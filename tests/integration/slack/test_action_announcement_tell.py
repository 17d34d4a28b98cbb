"""News as the action posts it: each message once, in the thread of what was told before."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from kubestorm.clients.services import Services
from kubestorm.core.errors import PermanentError, TemporaryError
from kubestorm.people.notifications.delivery import Notice, dispatch_news, tell, tell_notice
from kubestorm.people.notifications.notifications import BAD, GOOD, News
from kubestorm.people.notifications.outbox import Item, Message, single, summary
from kubestorm.people.notifications.posted import PREFIX, ToldStore
from kubestorm.people.notifications.slack_posting import open_web

from sandbox.slack import SlackServer
from tests.integration.slack.conftest import BEGINNING, EngineStandIn, Store

MERGE = {"content-type": "application/merge-patch+json"}


def news(name: str, state: str = "ready", minutes: float = 0, **changes: Any) -> News:
    values: dict[str, Any] = {
        "subject": f"databases/shop/{name}/u",
        "state": state,
        "topic": "databases ready",
        "tone": GOOD,
        "namespace": "shop",
        "name": name,
        "sentence": f"Database shop/{name} is {state}.",
        "since": BEGINNING + dt.timedelta(minutes=minutes),
    }
    return News(**{**values, **changes})


def message(name: str, state: str = "ready", minutes: float = 0, **changes: Any) -> Message:
    channel = changes.pop("channel", "#team-shop")
    return single(Item(channel, news(name, state, minutes, **changes), BEGINNING))


class Team:
    """What the action does with an event, or with a rule's sentence."""

    def __init__(self, services: Callable[..., Services], store: Store) -> None:
        self._services, self.store = services, store

    def tell(self, *messages: Message, **sections: Any) -> dict[str, Any]:
        payload = json.loads(json.dumps([one.to_payload() for one in messages]))
        return tell(self._services(**sections), ToldStore(self.store), payload)

    def notice(self, notice: Notice, **sections: Any) -> dict[str, Any]:
        return tell_notice(self._services(**sections), ToldStore(self.store), notice)


@pytest.fixture
def team(open_services: Callable[..., Services], store: Store) -> Team:
    return Team(open_services, store)


def texts(slack: SlackServer) -> list[str]:
    return [post.text.splitlines()[0] for post in slack.in_channel("team-shop")]


def test_a_team_hears_of_its_database(team: Team, slack: SlackServer) -> None:
    """Once, with color and facts; trouble and what follows it in the same thread."""
    ready = message("orders", facts=(("size", "small"),))
    trouble = message(
        "orders", "broken", tone=BAD, sentence="It is in trouble: RDS refuses <db.huge> & more."
    )
    assert team.tell(ready)["posted"] == 1
    assert team.tell(ready)["posted"] == 0
    assert team.tell(trouble, message("orders", minutes=5))["posted"] == 2
    posts = slack.in_channel("team-shop")
    assert texts(slack) == [
        "✔ Database shop/orders is ready.",
        "✖ It is in trouble: RDS refuses &lt;db.huge&gt; &amp; more.",
        "✔ Database shop/orders is ready.",
    ]
    assert [post.thread_ts for post in posts] == ["", posts[0].ts, posts[0].ts]
    assert "&lt;db.huge&gt; &amp; more" in posts[1].everything
    assert posts[0].attachments[0]["color"] == "#2eb67d"
    assert len(team.store.list_values(prefix=PREFIX)) == 1


def test_a_summary_is_posted_once_and_keeps_the_threads(team: Team, slack: SlackServer) -> None:
    """What it says of a subject that has a thread is remembered there."""
    team.tell(message("a", "broken"))
    items = [Item("#team-shop", news(name), BEGINNING) for name in "ab"]
    both = summary("#team-shop", items)
    assert [team.tell(both)["posted"], team.tell(both)["posted"]] == [1, 0]
    assert team.tell(message("a"))["posted"] == 0
    assert team.tell(message("a", "broken"))["posted"] == 1
    assert slack.posts[-1].thread_ts == slack.posts[0].ts


def test_while_slack_is_away_nothing_is_lost(team: Team, slack: SlackServer) -> None:
    """The action fails, and its policy repeats it: what was posted is not posted again."""
    slack.limit("chat.postMessage", 30)
    two = (message("a"), message("b"))
    assert "Slack wants fewer messages" in team.tell(*two)["refused"][0]
    assert team.tell(two[0])["posted"] == 1
    slack.fail("chat.postMessage", "internal_error")
    assert "out of order" in team.tell(*two)["refused"][0]
    assert team.tell(*two)["posted"] == 1
    assert texts(slack) == ["✔ Database shop/a is ready.", "✔ Database shop/b is ready."]


def test_a_channel_that_does_not_exist_stops_nobody_else(team: Team, slack: SlackServer) -> None:
    """It is said once in a sentence with the remedy, and not tried again."""
    both = (message("a", channel="#nowhere"), message("b"))
    assert team.tell(*both)["refused"] == [
        "Slack refuses chat.postMessage for #nowhere: there is no such channel, or the bot may not "
        "see it: "
        "invite it there."
    ]
    assert team.tell(*both) == {"posted": 0, "refused": [], "message": "0 posted."}
    assert texts(slack) == ["✔ Database shop/b is ready."]


def test_a_sentence_of_a_rule_goes_where_the_namespace_says(
    team: Team, http: httpx.Client, slack: SlackServer, namespace: str
) -> None:
    """By its annotation; `none` is silence, and then nothing is asked of anybody."""
    hello = Notice(namespace, "Hello {{ x }}.", subject="greeting")
    for channel, posted in (("#general", 1), ("none", 0)):
        body = {"metadata": {"annotations": {"kubestorm.io/channel": channel}}}
        http.patch(f"/api/v1/namespaces/{namespace}", json=body, headers=MERGE).raise_for_status()
        assert team.notice(hello)["posted"] == posted
    assert [post.text for post in slack.in_channel("general")] == ["▸ Hello {{ x }}."]
    off = {"through": "off", "channel": "#team-shop"}
    assert team.notice(Notice("", "Hello."), announcements=off)["posted"] == 0
    assert team.notice(Notice(namespace, ""))["posted"] == 0
    assert len(slack.posts) == 1


def test_a_sentence_without_a_subject_is_posted_each_time(team: Team, slack: SlackServer) -> None:
    """And remembered nowhere."""
    for _ in range(2):
        assert team.notice(Notice("", "Hello."))["posted"] == 1
    assert texts(slack) == ["▸ Hello."] * 2
    assert team.store.list_values(prefix=PREFIX) == []


def test_without_slack_a_sentence_is_an_execution_of_the_announcement_runner(
    team: Team, engine: EngineStandIn
) -> None:
    """Without braces that somebody could render."""
    announcements = {"channel": "#team", "route": "errbot"}
    team.notice(Notice("", "Hello {{ x }}."), slack={}, announcements=announcements)
    (body,) = engine.begun
    assert body["action"] == "kubestorm.announcement_post"
    assert body["parameters"]["route"] == "errbot"
    assert body["parameters"]["message"].startswith("▸ Hello {")
    assert "{{" not in body["parameters"]["message"]


def test_what_one_look_finds_is_dispatched_at_once(
    open_services: Callable[..., Services],
) -> None:
    """Drift: a few messages, or one for many; none where nobody listens."""
    events: list[Any] = []

    def dispatch(trigger: str, payload: Any) -> None:
        events.append(payload)

    few, many = [news("a"), news("b")], [news(f"db{number}") for number in range(7)]
    for found in (few, many):
        dispatch_news(open_services(), "drift", found, dispatch)
    assert [len(event["messages"]) for event in events] == [2, 1]
    assert events[1]["messages"][0]["text"].startswith("7 databases ready in shop: ")
    for section in ({}, {"channel": "#x", "tell": ["rollouts"]}, {"through": "off"}):
        dispatch_news(open_services(announcements=section), "drift", few, dispatch)
    assert len(events) == 2


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
