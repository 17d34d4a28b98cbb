"""How answers look: a sentence first, then fields, a table, lines, links and the next step; never a
template.
"""

from __future__ import annotations

import json

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubestorm.people.chat.formatting import (
    COLOURS,
    Message,
    Outcome,
    Table,
    plain,
    safe,
    slack_attachments,
    slack_blocks,
    slack_text,
    table_of,
    with_links,
)

FULL = Message(
    "cart runs 1.4.2 in shop-prod.",
    Outcome.GOOD,
    fields=(("Digest", "sha256:ab12"), ("Pods", "3 of 3")),
    table=Table(("Pod", "State"), (("cart-1", "Running"), ("cart-22", "Pending"))),
    lines=("one", "two"),
    links=(("Dashboard", "https://grafana.example.com/cart"), ("Bad", "javascript:alert(1)")),
    next_step="Say `logs cart` to see more.",
)


def test_plain_text_reads_from_top_to_bottom() -> None:
    """The order is that of importance, columns stand below each other, and what is no address is no
    link.
    """
    assert plain(FULL) == (
        "cart runs 1.4.2 in shop-prod.\n"
        "Digest: sha256:ab12\n"
        "Pods: 3 of 3\n"
        "Pod      State\n"
        "cart-1   Running\n"
        "cart-22  Pending\n"
        "one\ntwo\n"
        "Dashboard: https://grafana.example.com/cart\n"
        "Say `logs cart` to see more."
    )


def test_slack_has_colour_fields_and_links() -> None:
    """The bar's colour is the outcome's; the parts are blocks that Slack takes."""
    (attachment,) = slack_attachments(FULL)
    assert attachment["color"] == COLOURS[Outcome.GOOD]
    blocks = attachment["blocks"]
    assert [block["type"] for block in blocks] == [
        "section",
        "section",
        "section",
        "section",
        "context",
    ]
    assert blocks[0]["text"]["text"] == ":white_check_mark: cart runs 1.4.2 in shop-prod."
    assert [field["text"] for field in blocks[1]["fields"]] == [
        "*Digest*\nsha256:ab12",
        "*Pods*\n3 of 3",
    ]
    assert blocks[4]["elements"][0]["text"] == "<https://grafana.example.com/cart|Dashboard>"
    assert slack_text(FULL) == "cart runs 1.4.2 in shop-prod."


@pytest.mark.parametrize(
    "text, shown",
    [
        ("<!channel> & <@U1>", "&lt;!channel&gt; &amp; &lt;@U1&gt;"),
        ("<https://evil.example.com|cart>", "&lt;https://evil.example.com|cart&gt;"),
    ],
)
def test_slack_markup_of_others_is_text(text: str, shown: str) -> None:
    """Nobody is called and nothing is linked by what a name or a log says."""
    message = Message(text, fields=((text, text),), next_step=text)
    assert slack_text(message) == shown
    rendered = json.dumps(slack_blocks(message), ensure_ascii=False)
    assert text not in rendered
    assert shown in rendered


def test_a_fence_in_a_log_does_not_end_the_quote() -> None:
    """Three back-ticks in a line stay inside the fixed block."""
    (_, block) = slack_blocks(Message("Logs.", lines=("``` <!here>",)))
    assert block["text"]["text"] == "```''' &lt;!here&gt;```"


@given(st.text(alphabet=st.sampled_from("{}%#<> ax\n"), max_size=40))
def test_nothing_quoted_is_a_template(text: str) -> None:
    """Whatever is quoted, Jinja and StackStorm's expressions find nothing in it to evaluate."""
    shown = plain(Message(text, fields=((text, text),), lines=(text,), next_step=text))
    assert not any(mark in shown for mark in ("{{", "{%", "{#", "<%"))
    environment = jinja2.Environment(keep_trailing_newline=True)
    assert environment.from_string(shown).render() == shown


def test_a_template_can_still_be_read() -> None:
    """Only an invisible joiner parts the braces."""
    assert safe("{{ st2kv.system.x }}").replace("\u2060", "") == "{{ st2kv.system.x }}"


def test_control_and_direction_characters_are_taken_off() -> None:
    """A terminal's escapes and reversed text cannot make an answer say something else."""
    assert safe("a\x1b[31mb\u202ec\r\nd\x00") == "a[31mbc\nd"


def test_long_answers_are_cut_where_nothing_is_lost_that_matters() -> None:
    """Twenty rows and a count, the last lines of a log, and never more than a front end takes."""
    rows = tuple((f"pod-{number}", "Running") for number in range(50))
    lines = tuple(f"line {number} " + "x" * 100 for number in range(500))
    text = plain(Message("Pods.", table=Table(("Pod", "State"), rows)))
    assert text.endswith("... and 30 more")
    logs = plain(Message("Logs.", lines=lines))
    assert len(logs) <= 3500
    assert logs.endswith(lines[-1])
    assert "..." in logs
    for block in slack_blocks(Message("x" * 9000, lines=lines)):
        assert len(block["text"]["text"]) <= 3000


def test_a_column_in_which_nothing_stands_is_left_out() -> None:
    """A table is made of mappings; cells are on one line and short."""
    rows = [
        {"name": "orders", "ready": True, "note": ""},
        {"name": "x" * 90, "ready": False, "note": None},
    ]
    table = table_of(rows, (("Name", "name"), ("Ready", "ready"), ("Note", "note")))
    assert table.headings == ("Name", "Ready")
    assert table.rows[0] == ("orders", "yes")
    assert (len(table.rows[1][0]), table.rows[1][1]) == (60, "no")


def test_links_are_added() -> None:
    """Links of the configuration stand behind those of the answer."""
    assert with_links(FULL, ()) is FULL
    assert with_links(FULL, (("Wiki", "https://wiki.example.com"),)).links[-1][0] == "Wiki"
