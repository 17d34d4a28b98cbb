"""What Slack sends, and what of it is for us."""

from __future__ import annotations

import contextlib
import json
import re
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubestorm.clients.slack.settings import SlackSettings
from kubestorm.core.errors import DefinitionError
from kubestorm.people.chat.formatting import slack_escape
from kubestorm.people.notifications.slack_blocks import announcement, cut, paragraphs
from kubestorm.people.slack.requests import (
    MAX_TEXT,
    Asked,
    Challenge,
    Ignored,
    parse_envelope,
    parse_event,
    parse_http,
    parse_interaction,
    payload,
    typed,
)

FORM = "application/x-www-form-urlencoded"
COMMAND = {
    "team_id": "T1",
    "channel_id": "C1",
    "channel_name": "shop",
    "user_id": "U1",
    "user_name": "ada",
    "text": "deploy cart 1.4.2 to prod",
    "response_url": "https://hooks.slack.com/commands/T1/1/secretpart",
    "trigger_id": "1.2.3",
}


def mention(**event: Any) -> dict[str, Any]:
    return {
        "type": "event_callback",
        "team_id": "T1",
        "event_id": "Ev1",
        "event": {
            "type": "app_mention",
            "user": "U1",
            "channel": "C1",
            "ts": "1.5",
            "text": "<@B> help",
            **event,
        },
    }


def click(**changes: Any) -> dict[str, Any]:
    return {
        "type": "block_actions",
        "team": {"id": "T1"},
        "user": {"id": "U1", "username": "ada"},
        "channel": {"id": "C1", "name": "shop"},
        "container": {"message_ts": "1.5"},
        "message": {"ts": "1.5"},
        "trigger_id": "9.9",
        "actions": [{"type": "button", "action_id": "approve", "value": "x"}],
        "state": {"values": {"b": {"comment": {"type": "plain_text_input", "value": "fine"}}}},
        **changes,
    }


def test_a_command_says_who_where_and_what() -> None:
    """The address for answers is hidden, and does not travel."""
    found = parse_http("commands", FORM, urlencode(COMMAND).encode())
    assert isinstance(found, Asked)
    assert (found.kind, found.user, found.channel, found.text) == (
        "command",
        "U1",
        "C1",
        "deploy cart 1.4.2 to prod",
    )
    assert "secretpart" not in repr(found)
    assert "secretpart" not in json.dumps(payload(found, "kept.here"))


def test_a_mention_is_answered_in_a_thread() -> None:
    """The one it was written in, or a new one below it."""
    below = parse_event(mention())
    within = parse_event(mention(thread_ts="1.1"))
    assert isinstance(below, Asked)
    assert isinstance(within, Asked)
    assert (below.thread, within.thread, below.id) == ("1.5", "1.1", "Ev1")


def test_a_click_brings_what_was_filled_in() -> None:
    """Button, value, and the input fields by their names."""
    found = parse_interaction(click())
    assert isinstance(found, Asked)
    assert (found.action, found.value, found.inputs, found.message) == (
        "approve",
        "x",
        {"comment": "fine"},
        "1.5",
    )


TYPED = {
    "entities": ("R&amp;D audit &lt;2h", "R&D audit <2h"),
    "unescaped once": ("&amp;lt; &amp;amp;", "&lt; &amp;"),
    "other entities": ("&quot;x&quot; &nbsp; &#38; & <2h", "&quot;x&quot; &nbsp; &#38; & <2h"),
    "the bot": ("<@U0BOT> deploy cart", "deploy cart"),
    "the bot by name": ("  <@U0BOT|kube>: deploy cart", "deploy cart"),
    "another person": ("why <@U1>, <@U2|ada>?", "why @U1, ada?"),
    "a channel": ("in <#C1|shop> and <#C2|>", "in shop and #C2"),
    "a word taken for a link": ("deploy <http://cart.api|cart.api> 1", "deploy cart.api 1"),
    "a link": ("see <https://x.test/y?a=1&amp;id=5>", "see https://x.test/y?a=1&id=5"),
    "a link with a label": ("see <https://x.test/y|R&amp;D>", "see R&D"),
    "mail": ("<mailto:a@b.test|a@b.test> <mailto:a@b.test>", "a@b.test a@b.test"),
    "everybody": ("<!here> <!subteam^S1|@ops>", "!here @ops"),
    "typed markup": ("&lt;@U1&gt; and &lt;https://x|y&gt;", "<@U1> and <https://x|y>"),
}


@pytest.mark.parametrize("sent, wanted", TYPED.values(), ids=TYPED)
def test_a_text_is_what_was_typed(sent: str, wanted: str) -> None:
    """Slack's markup and its escapes end here, by a command and by a mention."""
    assert typed(sent) == wanted
    command = parse_http("commands", FORM, urlencode({**COMMAND, "text": sent}).encode())
    mentioned = parse_event(mention(text=sent))
    assert isinstance(command, Asked)
    assert isinstance(mentioned, Asked)
    assert command.text == mentioned.text == wanted


@given(st.text())
def test_what_is_said_comes_back_as_it_was(text: str) -> None:
    """Escaped once on the way out is unescaped once on the way in."""
    assert typed(slack_escape(text)) == text


def test_the_same_over_socket_mode() -> None:
    """An envelope holds what a request would."""
    by_http = parse_http("commands", FORM, urlencode(COMMAND).encode())
    by_socket = parse_envelope("slash_commands", COMMAND)
    assert isinstance(by_http, Asked)
    assert isinstance(by_socket, Asked)
    assert payload(by_http, "") == payload(by_socket, "")
    assert isinstance(parse_envelope("events_api", mention()), Asked)
    assert isinstance(parse_envelope("interactive", click()), Asked)
    assert isinstance(parse_envelope("hello", {}), Ignored)


def test_slack_asks_whether_the_address_is_ours() -> None:
    """The challenge goes back."""
    body = json.dumps({"type": "url_verification", "challenge": "abc"}).encode()
    assert parse_http("events", "application/json", body) == Challenge("abc")


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(mention(bot_id="B1"), id="a bot, perhaps ourselves"),
        pytest.param(mention(subtype="message_changed"), id="an edit"),
        pytest.param(mention(type="reaction_added"), id="another kind of event"),
        pytest.param(mention(type="message", channel_type="channel"), id="a message to others"),
        pytest.param({"type": "app_rate_limited"}, id="no event"),
    ],
)
def test_what_nobody_asked_of_us_is_ignored(document: dict[str, Any]) -> None:
    """Slack is told that it was taken, and nothing is done."""
    assert isinstance(parse_event(document), Ignored)


def test_a_message_to_the_bot_alone_is_a_mention() -> None:
    """A direct message."""
    assert isinstance(parse_event(mention(type="message", channel_type="im")), Asked)


@pytest.mark.parametrize(
    "part,content,body",
    [
        pytest.param("commands", FORM, b"text=hi", id="nobody"),
        pytest.param("commands", FORM, b"\xff\xfe", id="no text"),
        pytest.param("events", "application/json", b"{", id="half a document"),
        pytest.param("events", "application/json", b"[]", id="a list"),
        pytest.param("interactions", FORM, b"payload=7", id="a number"),
        pytest.param("interactions", FORM, b"", id="nothing"),
        pytest.param(
            "commands", FORM, b"&".join(b"a%d=1" % n for n in range(100)), id="a hundred fields"
        ),
    ],
)
def test_what_is_not_slacks_is_named(part: str, content: str, body: bytes) -> None:
    """With a sentence for the sensor's log."""
    with pytest.raises(DefinitionError):
        parse_http(part, content, body)


def test_a_message_of_100_kb_is_cut() -> None:
    """Enough of it is passed on to say that it is too long."""
    found = parse_http("commands", FORM, urlencode({**COMMAND, "text": "x" * 100_000}).encode())
    assert isinstance(found, Asked)
    assert len(found.text) == MAX_TEXT


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(JSON, st.sampled_from(["events_api", "slash_commands", "interactive"]))
def test_nothing_that_is_sent_is_a_fault(document: Any, kind: str) -> None:
    """Any document is understood, ignored, or refused with a sentence."""
    with contextlib.suppress(DefinitionError):
        assert parse_envelope(kind, document)


@given(st.dictionaries(st.sampled_from(list(click())), JSON, max_size=8))
def test_nothing_in_a_click_is_a_fault(changes: dict[str, Any]) -> None:
    """Also where the parts are of another shape."""
    with contextlib.suppress(DefinitionError):
        assert parse_interaction(click(**changes))


def test_what_others_wrote_is_no_markup() -> None:
    """Neither a mention of everybody nor a link."""
    assert (
        slack_escape("<!channel> & <https://x|y>") == "&lt;!channel&gt; &amp; &lt;https://x|y&gt;"
    )
    assert not re.search("&[a-z]{0,3}(…|$)", cut(slack_escape("&<>" * 999)))
    blocks = paragraphs(["<b>" * 900, "x" * 2000])
    assert all(len(block["text"]["text"]) <= 3000 for block in blocks)
    assert announcement


@pytest.mark.parametrize(
    "section,field",
    [
        ({"mode": "carrier"}, "slack.mode"),
        ({"mode": "http"}, "slack.bot_token_file"),
        ({"mode": "http", "bot_token_file": "x"}, "slack.signing_secret_file"),
        ({"mode": "socket", "bot_token_file": "x"}, "slack.app_token_file"),
        ({"port": "x"}, "slack.port"),
        ({"bot_token": "xoxb-1"}, "slack.bot_token"),
    ],
)
def test_a_wrong_setting_is_named(section: dict[str, Any], field: str) -> None:
    """Also a token that somebody wrote into the configuration itself."""
    with pytest.raises(DefinitionError) as caught:
        SlackSettings.from_config({"slack": section})
    assert caught.value.field == field
