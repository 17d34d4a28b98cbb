"""Filters, paging, order and attributes of each list."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.integration.engine.serving import Served

_KINDS = (
    *(
        "actions",
        "rules",
        "triggertypes",
        "triggers",
        "timers",
        "sensortypes",
        "packs",
        "runnertypes",
        "policies",
    ),
    *(
        "policytypes",
        "ruletypes",
        "actionalias",
        "executions",
        "triggerinstances",
        "ruleenforcements",
        "keys",
    ),
    *("traces", "inquiries", "webhooks", "apikeys", "configs", "config_schemas"),
)


@pytest.mark.parametrize("kind", _KINDS)
def test_every_list_is_paged(served: Served, kind: str) -> None:
    """limit and offset cut the list, X-Total-Count tells its length, and a slash at the end is
    nothing.
    """
    everything = served.http.get(f"/v1/{kind}", params={"limit": -1})
    assert everything.headers["X-Total-Count"] == str(len(everything.json()))
    part = served.http.get(f"/api/v1/{kind}/", params={"limit": 1, "offset": 1})
    assert part.json() == everything.json()[1:2]
    assert (part.headers["X-Total-Count"], part.headers["X-Limit"]) == (
        everything.headers["X-Total-Count"],
        "1",
    )


@pytest.mark.parametrize("kind", _KINDS)
@pytest.mark.parametrize(
    "query", [{"limit": "many"}, {"limit": "-2"}, {"offset": "-1"}], ids=lambda query: str(query)
)
def test_no_list_takes_a_wrong_page(served: Served, kind: str, query: dict[str, str]) -> None:
    """400 with the word that is wrong."""
    response = served.http.get(f"/v1/{kind}", params=query)
    assert (response.status_code, list(response.json())) == (400, ["faultstring"])


@pytest.mark.parametrize(
    "kind, query, expected",
    [
        (
            "actions",
            {"pack": "engine_demo"},
            {"engine_demo.fan_out", "engine_demo.greet", "engine_demo.greet_twice"},
        ),
        ("actions", {"name": "noop"}, {"core.noop"}),
        (
            "actions",
            {"runner_type": "action-chain", "pack": "engine_demo"},
            {"engine_demo.greet_twice"},
        ),
        ("actions", {"pack": "nowhere"}, set()),
        ("rules", {"pack": "engine_steps"}, {"engine_steps.asked_walk"}),
        ("rules", {"action": "engine_steps.walk"}, {"engine_steps.asked_walk"}),
        ("rules", {"trigger": "engine_demo.counted"}, {"engine_demo.counted_greet"}),
        ("rules", {"enabled": "True", "pack": "engine_steps"}, {"engine_steps.asked_walk"}),
        ("rules", {"enabled": "false", "pack": "engine_steps"}, set()),
        ("triggertypes", {"pack": "engine_steps"}, {"engine_steps.asked"}),
        ("sensortypes", {"trigger": "engine_demo.counted"}, {"engine_demo.Counter"}),
        ("packs", {"name": "core"}, {"core"}),
        ("policytypes", {"name": "retry"}, {"action.retry"}),
    ],
)
def test_content_is_filtered(
    served: Served, kind: str, query: dict[str, str], expected: set[str]
) -> None:
    """Filters are compared whole, and all of them must fit."""
    assert {item["ref"] for item in served.get(f"/v1/{kind}", **query)} == expected


@pytest.mark.parametrize(
    "query, first",
    [
        ({}, "chatops"),
        ({"sort": "-ref"}, "engine_steps"),
        ({"sort_desc": "True"}, "engine_steps"),
        ({"sort": "ref"}, "chatops"),
    ],
    ids=["by-ref", "minus", "sort-desc", "plain"],
)
def test_content_is_ordered(served: Served, query: dict[str, str], first: str) -> None:
    """By ref, and the other way round where that is asked for."""
    assert served.get("/v1/packs", **query)[0]["ref"] == first


def test_executions_are_ordered_by_time(served: Served) -> None:
    """Newest first; sort_asc turns it, and a lower bound of time does, too, as in StackStorm."""
    ids = [served.run("core.echo", message=str(number))["id"] for number in range(3)]
    start = served.get(f"/v1/executions/{ids[0]}")["start_timestamp"]

    def listed(**query: Any) -> list[str]:
        return [item["id"] for item in served.get("/v1/executions", action="core.echo", **query)]

    assert listed(limit=3) == ids[::-1]
    assert listed(sort_asc="True", timestamp_gt=start) == ids[1:]
    assert listed(timestamp_gt=start) == ids[1:]
    assert listed(sort_desc="True", timestamp_gt=start) == ids[:0:-1]


@pytest.mark.parametrize(
    "kind, field",
    [
        ("executions", "start_timestamp"),
        ("triggerinstances", "occurrence_time"),
        ("ruleenforcements", "enforced_at"),
    ],
)
def test_records_are_sorted_by_their_instant(served: Served, kind: str, field: str) -> None:
    """`sort` names it, with a minus for the newest first; nothing else can be sorted by."""
    for name in ("Wim", "Wanda"):
        body = {"trigger": "engine_demo.happened", "payload": {"name": name, "number": 1}}
        served.http.post("/v1/webhooks/st2", json=body).raise_for_status()
    for query in ({}, {"sort": f"-{field}"}):
        newest = [item[field] for item in served.get(f"/v1/{kind}", limit=3, **query)]
        assert newest == sorted(newest, reverse=True)
    oldest = [item[field] for item in served.get(f"/v1/{kind}", limit=3, sort=f"+{field}")]
    assert oldest == sorted(oldest)
    assert oldest[0] < newest[0]
    wrong = served.http.get(f"/v1/{kind}", params={"sort": "colour"})
    assert (wrong.status_code, "colour" in wrong.json()["faultstring"]) == (400, True)


def test_bounds_of_time_are_instants(served: Served) -> None:
    """However an instant may be written, it is compared by time; what is none is a 400."""
    ended = served.run("core.noop")
    start = datetime.fromisoformat(ended["start_timestamp"])
    second = start.replace(microsecond=0)

    def listed(kind: str, **query: str) -> list[str]:
        return [item["id"] for item in served.get(f"/v1/{kind}", **query)]

    for before in (
        f"{second - timedelta(seconds=1):%Y-%m-%dT%H:%M:%SZ}",
        f"{second:%Y-%m-%d %H:%M:%S}+00:00",
        f"{second:%Y-%m-%d %H:%M:%S}.000Z",
    ):
        assert ended["id"] in listed("executions", timestamp_gt=before)
        assert ended["id"] not in listed("executions", timestamp_lt=before)
    for kind, name in (
        ("executions", "timestamp_lt"),
        ("triggerinstances", "timestamp_gt"),
        ("ruleenforcements", "enforced_at_gt"),
    ):
        wrong = served.http.get(f"/v1/{kind}", params={name: "yesterday"})
        assert (wrong.status_code, name in wrong.json()["faultstring"]) == (400, True)


@pytest.mark.parametrize(
    "query, expected",
    [
        ({"include_attributes": "ref,pack"}, {"id", "ref", "pack"}),
        ({"include_attributes": "nothing"}, {"id"}),
        ({"include_attributes": "parameters.message"}, {"id", "parameters"}),
    ],
)
def test_attributes_are_chosen(served: Served, query: dict[str, str], expected: set[str]) -> None:
    """include_attributes shows what is named, by dotted paths, and always the id."""
    (shown,) = served.get("/v1/actions", name="echo", **query)
    assert shown.keys() == expected


def test_attributes_are_left_out(served: Served) -> None:
    """exclude_attributes hides what is named, in lists and alone."""
    for path in ("/v1/actions/core.echo", "/v1/actions"):
        found = served.get(path, exclude_attributes="parameters,uid")
        for item in found if isinstance(found, list) else [found]:
            assert not item.keys() & {"parameters", "uid"}
            assert "ref" in item


@pytest.mark.parametrize("name", ["limit", "offset"])
def test_counts_have_an_end(served: Served, name: str) -> None:
    """A number that no list reaches is refused in StackStorm's words, before it reaches the
    database.
    """
    refused = served.http.get("/v1/executions", params={name: 2**63})
    assert (refused.status_code, "is more than 32-bit int" in refused.json()["faultstring"]) == (
        400,
        True,
    )
