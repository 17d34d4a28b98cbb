"""What is posted at once, what is held back, what is summarised."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubestorm.core.errors import DefinitionError
from kubestorm.people.notifications.channels import channel_of
from kubestorm.people.notifications.notifications import BAD, GOOD, News
from kubestorm.people.notifications.outbox import Item, Message, decide, new_item, single, summary
from kubestorm.people.notifications.posting import as_text, payloads
from kubestorm.people.notifications.settings import AnnounceSettings, ChannelRule

NOW = dt.datetime(2026, 1, 1, 12, tzinfo=dt.timezone.utc)
SETTINGS = AnnounceSettings(burst=3, window_seconds=20)


def seconds(number: float) -> dt.timedelta:
    return dt.timedelta(seconds=number)


def news(name: str, state: str = "Complete", **changes: Any) -> News:
    values: dict[str, Any] = {
        "subject": f"rollouts/shop/{name}/u",
        "state": state,
        "topic": "rollouts complete",
        "tone": GOOD,
        "namespace": "shop",
        "name": name,
        "sentence": f"Rollout of {name} is {state}.",
    }
    return News(**{**values, **changes})


def item(
    name: str, state: str = "Complete", *, age: float = 0.0, channel: str = "#shop", **changes: Any
) -> Item:
    return Item(channel, news(name, state, **changes), NOW - seconds(age))


def texts(decided: Any) -> list[str]:
    return [message.text for message, _items in decided]


def test_few_messages_go_out_at_once() -> None:
    """Each on its own."""
    decided = decide([item("a"), item("b")], {}, SETTINGS, NOW)
    assert texts(decided) == ["Rollout of a is Complete.", "Rollout of b is Complete."]


def test_of_a_burst_the_first_go_out_and_the_rest_is_one_message() -> None:
    """Three at once, and when the window has passed, the other nine with their names."""
    burst = [item(f"app{number:02d}") for number in range(12)]
    assert len(decide(burst, {}, SETTINGS, NOW)) == 3
    rest, recent = burst[3:], {"#shop": [NOW] * 3}
    assert decide(rest, recent, SETTINGS, NOW + seconds(10)) == []
    ((message, items),) = decide(rest, recent, SETTINGS, NOW + seconds(20))
    names = ", ".join(f"app{number:02d}" for number in range(3, 12))
    assert message.text == f"9 rollouts complete in shop: {names}."
    assert list(items) == rest
    assert len(message.covers) == 9


def test_a_summary_tells_the_worst_first_and_why() -> None:
    """Failures keep their reasons, each topic and namespace has its line."""
    failed = {"topic": "rollouts failed", "tone": BAD}
    waiting = [item(name, age=30) for name in "abc"]
    waiting += [
        item(name, "Failed", age=25, sentence=f"Rollout of {name} failed: no memory.", **failed)
        for name in "xy"
    ]
    ((message, _items),) = decide(waiting, {"#shop": [NOW] * 3}, SETTINGS, NOW)
    assert (message.tone, message.text) == (BAD, "5 changes:")
    assert message.lines == (
        "2 rollouts failed in shop: x, y.",
        "• Rollout of x failed: no memory.",
        "• Rollout of y failed: no memory.",
        "3 rollouts complete in shop: a, b, c.",
    )


def test_channels_do_not_wait_for_each_other() -> None:
    """A burst in one does not delay the other."""
    burst = [item(f"a{number}", channel="#noisy") for number in range(9)]
    decided = decide([*burst, item("b", channel="#quiet")], {"#noisy": [NOW] * 3}, SETTINGS, NOW)
    assert [message.channel for message, _items in decided] == ["#quiet"]


def test_old_news_is_not_told_and_passing_trouble_waits() -> None:
    """A new installation tells nothing of last year; a service that is away for a minute is not
    told of.
    """
    old = news("a", since=NOW - seconds(SETTINGS.fresh_seconds + 1))
    assert new_item("#shop", old, SETTINGS, NOW) is None
    passing = new_item("#shop", news("a", passing=True, since=NOW - seconds(20)), SETTINGS, NOW)
    assert passing is not None
    assert decide([passing], {}, SETTINGS, NOW) == []
    assert len(decide([passing], {}, SETTINGS, NOW + seconds(101))) == 1


@given(
    st.dictionaries(
        st.sampled_from("abcdefgh"),
        st.tuples(
            st.sampled_from(["Progressing", "Complete", "Failed"]),
            st.sampled_from(["#x", "#y"]),
            st.floats(0, 60),
        ),
    ),
    st.integers(0, 5),
    st.integers(0, 4),
)
def test_nothing_is_told_twice_or_in_a_flood(rows: Any, recent: int, burst: int) -> None:
    """Each item is in one message or held back; no channel gets more than its burst; what is held
    back is told when the window has passed.
    """
    items = [
        Item(channel, news(name, state), NOW - seconds(age))
        for name, (state, channel, age) in rows.items()
    ]
    settings = AnnounceSettings(burst=burst, window_seconds=20)
    decided = decide(items, {"#x": [NOW] * recent}, settings, NOW)
    told = [one.news.subject for _message, part in decided for one in part]
    assert len(set(told)) == len(told)
    for channel in ("#x", "#y"):
        count = sum(message.channel == channel for message, _items in decided)
        assert count <= max(burst, 1)
    held = [one for one in items if one.news.subject not in told]
    later = decide(held, {}, settings, NOW + seconds(20))
    assert {one.news.subject for _message, part in later for one in part} == {
        one.news.subject for one in held
    }


def test_a_message_is_read_back_from_the_event() -> None:
    """Through JSON, as the engine keeps it."""
    first = item("a", facts=(("digest", "sha256:1"),), since=NOW)
    for message in (single(first), summary("#shop", [first, item("b")])):
        assert Message.from_payload(json.loads(json.dumps(message.to_payload()))) == message


def test_slack_gets_one_event_and_a_bot_one_for_each_message() -> None:
    """One action posts all that is due to Slack; the announcement runner takes one message."""
    messages = [single(item("a", facts=(("size", "small"),))), single(item("b"))]
    (slack,) = payloads(messages, "slack", "")
    assert [one["text"] for one in slack["messages"]] == [
        "Rollout of a is Complete.",
        "Rollout of b is Complete.",
    ]
    first, second = payloads(messages, "chatops", "errbot")
    assert (first["route"], first["channel"]) == ("errbot", "#shop")
    assert first["text"] == "✔ Rollout of a is Complete.\nsize: small"
    assert second["text"] == "✔ Rollout of b is Complete."
    assert payloads([], "slack", "") == []


def test_ready_and_ready_again_are_two_states() -> None:
    """By the time at which it came to be so."""
    before, after = item("a", since=NOW), item("a", since=NOW + seconds(60))
    assert single(before).state != single(after).state
    assert as_text(single(before)) == as_text(single(after))


ANNOTATED = {
    "metadata": {
        "annotations": {"kubestorm.io/channel": "#noted"},
        "labels": {"kubestorm.io/channel": "label"},
    }
}


@pytest.mark.parametrize(
    "namespace,obj,settings,channel",
    [
        pytest.param("shop", ANNOTATED, AnnounceSettings(), "#noted", id="annotation before label"),
        pytest.param(
            "shop",
            {"metadata": {"labels": {"kubestorm.io/channel": "team"}}},
            AnnounceSettings(),
            "team",
            id="label",
        ),
        pytest.param(
            "shop",
            ANNOTATED,
            AnnounceSettings(by_namespace=False, channel="#all"),
            "#all",
            id="not followed",
        ),
        pytest.param(
            "shop",
            {"metadata": {"annotations": {"kubestorm.io/channel": "None"}}},
            AnnounceSettings(channel="#all"),
            "",
            id="silence asked for",
        ),
        pytest.param(
            "shop-eu",
            None,
            AnnounceSettings(channels=(ChannelRule("#shop", ("shop-*",)), ChannelRule("#rest"))),
            "#shop",
            id="first pattern that fits",
        ),
        pytest.param("other", None, AnnounceSettings(), "", id="nothing said"),
    ],
)
def test_the_channel_of_a_namespace(
    namespace: str, obj: Any, settings: AnnounceSettings, channel: str
) -> None:
    """Its own word first, then the configuration's."""
    assert channel_of(namespace, obj, settings) == channel


@pytest.mark.parametrize(
    "section,field",
    [
        ({"colour": "red"}, "announcements.colour"),
        ({"through": "pigeon"}, "announcements.through"),
        ({"burst": "many"}, "announcements.burst"),
        ({"by_namespace": "yes"}, "announcements.by_namespace"),
        ({"channels": [{"namespaces": ["*"]}]}, "announcements.channels[0].channel"),
        ({"channel": 7}, "announcements.channel"),
        ({"tell": ["weather"]}, "announcements.tell"),
    ],
)
def test_a_wrong_setting_is_named(section: dict[str, Any], field: str) -> None:
    """With its path."""
    with pytest.raises(DefinitionError) as caught:
        AnnounceSettings.from_config({"announcements": section})
    assert caught.value.field == field


def test_what_the_engine_fills_in_counts_as_not_said() -> None:
    """StackStorm puts empty lists where the operator wrote nothing."""
    assert (
        AnnounceSettings.from_config({"announcements": {"channels": [], "tell": [], "channel": ""}})
        == AnnounceSettings()
    )
