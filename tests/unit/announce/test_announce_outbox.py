"""What is said at once, what waits, what is summarised, what is not said at all."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubestorm.announce.channels import channel_of
from kubestorm.announce.news import BAD, GOOD, INFO, News
from kubestorm.announce.outbox import Item, Told, decide, item_from_json, item_to_json, new_item
from kubestorm.announce.posting import as_text
from kubestorm.announce.settings import AnnounceSettings, ChannelRule
from kubestorm.announce.waiting import overdue
from kubestorm.errors import DefinitionError

NOW = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
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
    return Item(f"{name}.{state}.{age}", channel, news(name, state, **changes), NOW - seconds(age))


def texts(decision: Any) -> list[str]:
    return [message.text for message in decision.messages]


def test_few_messages_go_out_at_once() -> None:
    """Each on its own."""
    decision = decide([item("a"), item("b")], {}, {}, SETTINGS, NOW)
    assert texts(decision) == ["Rollout of a is Complete.", "Rollout of b is Complete."]


def test_of_a_storm_the_first_go_out_and_the_rest_is_one_message() -> None:
    """Three at once, and when the window has passed, the other nine with their names."""
    storm = [item(f"app{number:02d}") for number in range(12)]
    first = decide(storm, {}, {}, SETTINGS, NOW)
    assert len(first.messages) == 3
    rest = storm[3:]
    later = NOW + seconds(10)
    assert decide(rest, {}, {"#shop": [NOW] * 3}, SETTINGS, later).messages == ()
    done = decide(rest, {}, {"#shop": [NOW] * 3}, SETTINGS, NOW + seconds(20))
    names = ", ".join(f"app{number:02d}" for number in range(3, 12))
    assert texts(done) == [f"9 rollouts complete in shop: {names}."]
    assert [one.key for one in done.messages[0].items] == [one.key for one in rest]


def test_a_summary_tells_the_worst_first_and_why() -> None:
    """Failures keep their reasons, each topic and namespace has its line."""
    failed = {
        "topic": "rollouts failed",
        "tone": BAD,
        "sentence": "Rollout of x failed: no memory.",
    }
    waiting = [item(name, age=30) for name in "abc"] + [item("x", "Failed", age=25, **failed)]
    decision = decide(waiting, {}, {"#shop": [NOW] * 3}, SETTINGS, NOW)
    assert len(decision.messages) == 1
    message = decision.messages[0]
    assert message.tone == BAD
    assert message.lines == (
        "Rollout of x failed: no memory.",
        "• Rollout of x failed: no memory.",
        "3 rollouts complete in shop: a, b, c.",
    )


def test_channels_do_not_wait_for_each_other() -> None:
    """A storm in one is nothing to the other."""
    storm = [item(f"a{number}", channel="#noisy") for number in range(9)]
    decision = decide(
        [*storm, item("b", channel="#quiet")], {}, {"#noisy": [NOW] * 3}, SETTINGS, NOW
    )
    assert [message.channel for message in decision.messages] == ["#quiet"]


def test_what_is_no_longer_so_is_not_told() -> None:
    """Of what was held back the latest counts; where that was told before, nothing is."""
    told = {"rollouts/shop/a/u": Told("ready", "#shop")}
    decision = decide(
        [item("a", "trouble", age=9), item("a", "ready", age=1)], told, {}, SETTINGS, NOW
    )
    assert decision.messages == ()
    assert {one.news.state for one in decision.dropped} == {"trouble", "ready"}


def test_the_same_news_again_does_not_wait_longer() -> None:
    """The one that was there first stays, with its time."""
    first, second = item("a", "trouble", age=90), item("a", "trouble", age=1)
    assert decide([second, first], {}, {}, SETTINGS, NOW).dropped == (second,)


def test_the_outcome_joins_the_thread_that_the_start_began() -> None:
    """In the same channel only."""
    told = {"rollouts/shop/a/u": Told("Progressing", "#shop", "1.2")}
    assert decide([item("a")], told, {}, SETTINGS, NOW).messages[0].thread == "1.2"
    assert decide([item("a", channel="#new")], told, {}, SETTINGS, NOW).messages[0].thread == ""


def test_old_news_is_none_and_passing_trouble_waits() -> None:
    """A new installation tells nothing of last year; a service that is away for a minute is not
    told of.
    """
    old = news("a", since=NOW - seconds(SETTINGS.fresh_seconds + 1))
    assert new_item("k", "#shop", old, SETTINGS, NOW) is None
    passing = new_item(
        "k", "#shop", news("a", passing=True, since=NOW - seconds(20)), SETTINGS, NOW
    )
    assert passing is not None
    assert decide([passing], {}, {}, SETTINGS, NOW).messages == ()
    assert len(decide([passing], {}, {}, SETTINGS, NOW + seconds(101)).messages) == 1


@given(
    st.lists(
        st.tuples(
            st.sampled_from("abcde"),
            st.sampled_from(["Progressing", "Complete", "Failed"]),
            st.sampled_from(["#x", "#y"]),
            st.floats(0, 60),
        ),
        max_size=30,
    ),
    st.integers(0, 5),
    st.integers(0, 4),
)
def test_nothing_is_lost_told_twice_or_told_in_a_flood(
    rows: list[Any], recent: int, burst: int
) -> None:
    """Whatever waits is told, dropped or kept, never two of them; no channel gets more than its
    burst.
    """
    items = [
        Item(f"{index}", channel, news(name, state), NOW - seconds(age))
        for index, (name, state, channel, age) in enumerate(rows)
    ]
    settings = AnnounceSettings(burst=burst, window_seconds=20)
    decision = decide(items, {}, {"#x": [NOW] * recent}, settings, NOW)
    said = [one.key for message in decision.messages for one in message.items]
    dropped = [one.key for one in decision.dropped]
    assert len(set(said) | set(dropped)) == len(said) + len(dropped)
    for channel in ("#x", "#y"):
        assert sum(message.channel == channel for message in decision.messages) <= max(burst, 1)
    if not said and len(dropped) < len(items):
        later = decide(
            [one for one in items if one.key not in dropped], {}, {}, settings, NOW + seconds(20)
        )
        assert later.messages


def test_an_item_is_read_back_as_it_was() -> None:
    """Through JSON."""
    before = item("a", facts=(("digest", "sha256:1"),), since=NOW)
    assert item_from_json(before.key, json.loads(json.dumps(item_to_json(before)))) == before
    with pytest.raises(ValueError, match="no announcement"):
        item_from_json("k", {"channel": "#x"})


def test_a_message_in_plain_text() -> None:
    """Mark, sentence, facts."""
    decision = decide([item("a", facts=(("size", "small"),))], {}, {}, SETTINGS, NOW)
    assert as_text(decision.messages[0]) == "✔ Rollout of a is Complete.\nsize: small"


def test_what_stays_is_due_after_its_window() -> None:
    """Not at once: the run that put it there posts it."""
    fresh, held = item("a", age=1), item("b", age=21)
    assert list(overdue([fresh, held], NOW, seconds(20))) == [held]


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
            AnnounceSettings(
                channels=(ChannelRule(("shop-*",), "#shop"), ChannelRule(("*",), "#rest"))
            ),
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
        ({"channels": [{"namespaces": ["*"]}]}, "announcements.channels[0]"),
        ({"channel": 7}, "announcements.channel"),
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
        AnnounceSettings.from_config({"announcements": {"channels": [], "channel": ""}})
        == AnnounceSettings()
    )
    assert INFO
