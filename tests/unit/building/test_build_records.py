"""What is to be done next about an ImageBuild's builds."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubestorm.core.times import format_time
from kubestorm.kinds.build.failures import classify
from kubestorm.kinds.build.plan import (
    FinishBuild,
    ImageDecision,
    StartBuild,
    key_of,
    plan_build,
    planned,
    requeue_at,
)
from kubestorm.kinds.build.status import (
    FINAL,
    REQUEST_ANNOTATION,
    TURN_SECONDS,
    Request,
    awaiting_turn,
    conditions_of,
    failed,
    read_request,
    replacing,
    running,
    summarized,
)

NOW = dt.datetime(2026, 1, 1, 12, tzinfo=dt.timezone.utc)
OLD, NEW = "a" * 40, "b" * 40
STATES = ["Waiting", "Building", "Testing", "Pushing", "Pushed", "Skipped", "Failed", "Canceled"]


def ago(seconds: float) -> str:
    return format_time(NOW - dt.timedelta(seconds=seconds))


@pytest.fixture
def spec(parse):
    return parse()


def next_of(status: dict[str, Any], spec, **more: Any) -> Any:
    """The decision about a status; a commit, nobody at work and no wishes unless said."""
    given_: dict[str, Any] = {
        "request": None, "alive": False, "attempts": 3, "now": NOW, **more,
    }  # fmt: skip
    return plan_build({"source": {"commit": NEW, "branch": "main"}, **status}, spec, **given_)


def build(spec, **fields: Any) -> dict[str, Any]:
    """A status with one build, finished well, of the newest commit."""
    key = key_of(fields.pop("keyed", NEW), spec, fields.get("requestId", ""))
    return {
        "build": {
            "key": key,
            "number": 4,
            "commit": NEW,
            "phase": "Finished",
            "outcome": "Succeeded",
            **fields,
        }
    }


def test_the_first_look_begins_a_build(spec):
    """Number one, of the wished commit."""
    started = next_of({}, spec)
    assert isinstance(started, StartBuild)
    assert (started.build["number"], started.build["commit"], started.build["phase"]) == (
        1,
        NEW,
        "Requested",
    )


@pytest.mark.parametrize(
    "fields, more, cause",
    [
        ({}, {}, ""),
        ({"keyed": OLD, "commit": OLD}, {}, "Commit"),
        ({"key": f"{NEW[:12]}/other/-"}, {}, "SpecChange"),
        ({}, {"request": Request("r-1", "ada")}, "Command"),
        ({"requestId": "r-1"}, {"request": Request("r-1", "ada")}, ""),
        ({"outcome": "Failed"}, {}, ""),
        ({"outcome": "Canceled"}, {}, ""),
    ],
)
def test_a_build_follows_a_commit_a_change_or_a_command(spec, fields, more, cause):
    """And nothing else: what failed for good or was canceled waits for one of them."""
    decision = next_of(build(spec, **fields), spec, **more)
    if cause:
        assert isinstance(decision, StartBuild)
        assert (decision.build["cause"], decision.build["number"]) == (cause, 5)
    else:
        assert decision is None


def test_a_suspended_one_is_built_by_command_alone(parse):
    """Commits wait until somebody asks."""
    spec = parse(suspend=True)
    assert next_of({}, spec) is None
    assert isinstance(next_of({}, spec, request=Request("r-1")), StartBuild)
    after = build(spec, requestId="r-1", keyed=OLD, commit=OLD)
    assert next_of(after, spec, request=Request("r-1")) is None


def test_while_a_build_is_under_way_the_next_waits(spec):
    """A storm of pushes ends in two builds."""
    running = build(spec, keyed=OLD, commit=OLD, phase="Running")
    assert next_of(running, spec, alive=True) is None


def test_a_build_that_died_is_begun_again_but_not_for_ever(spec):
    """Each time is counted."""
    again = next_of(build(spec, phase="Running"), spec)
    assert isinstance(again, StartBuild)
    assert (again.build["phase"], again.build["interruptions"]) == ("Requested", 1)
    over = next_of(build(spec, phase="Running", interruptions=2), spec)
    assert isinstance(over, FinishBuild)
    assert over.build["outcome"] == "Failed"


@pytest.mark.parametrize(
    "fields, asked",
    [
        ({}, True),
        ({"dispatchedAt": ago(60)}, False),
        ({"dispatchedAt": ago(600)}, True),
        ({"notBefore": ago(-10)}, False),
        ({"notBefore": ago(10)}, True),
        ({"notBefore": ago(10), "dispatchedAt": ago(5)}, False),
    ],
    ids=[
        "not asked for",
        "just asked for",
        "asked for long ago",
        "next try not due",
        "next try due",
        "next try just asked for",
    ],
)
def test_an_execution_is_asked_for_until_one_is_at_work(spec, fields, asked):
    """Not at each look: one that waits for a worker is not asked for again and again."""
    status = build(spec, phase="Requested", **fields)
    assert isinstance(next_of(status, spec), StartBuild) is asked
    due = requeue_at(status["build"], 0.0, NOW)
    assert (due > format_time(NOW)) is not asked


@pytest.mark.parametrize(
    "fields, due",
    [
        ({"phase": "Running"}, ago(-90)),
        ({"phase": "Requested", "notBefore": ago(-10)}, ago(-10)),
        ({"phase": "Finished"}, None),
        ({}, None),
    ],
    ids=["silent", "next try", "over", "no build"],
)
def test_a_build_is_looked_at_by_time_only_where_nobody_would_wake_it(fields, due):
    """One that runs says so itself, and its end is written by whoever ends it."""
    assert requeue_at(fields, 90.0, NOW) == due


def test_a_build_that_waits_for_its_turn_starts_when_it_is_called(spec):
    """Nothing of the waiting stays in its record then."""
    waiting = awaiting_turn({"number": 4, "dispatchedAt": ago(1)}, "Waiting.", NOW)
    assert (waiting["awaitsTurn"], waiting["notBefore"]) == (True, ago(-TURN_SECONDS))
    assert next_of({"build": {**waiting, "commit": NEW}}, spec) is None
    assert running(waiting, host="h", execution_id="e", now=NOW) == {
        "number": 4,
        "phase": "Running",
        "host": "h",
        "executionId": "e",
        "startedAt": ago(0),
        "message": "",
    }


@pytest.mark.parametrize(
    "wish, alive, expected",
    [
        ({"by": "ada"}, False, FinishBuild),
        ({"by": "ada", "build": 4}, False, FinishBuild),
        ({"by": "ada", "build": 3}, False, StartBuild),
        ({"by": "ada"}, True, type(None)),
    ],
    ids=["any", "this one", "an older one", "whoever is at work sees it"],
)
def test_a_cancellation_ends_the_build_it_means(spec, wish, alive, expected):
    """One for an older build is no longer meant."""
    status = build(spec, phase="Requested", requestedAt=ago(60))
    status["requests"] = {"cancel": wish}
    assert isinstance(next_of(status, spec, alive=alive), expected)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"id": 0}', '{"images": 3}'])
def test_wishes_that_cannot_be_read_are_none(text):
    """An annotation is anybody's text."""
    assert read_request({REQUEST_ANNOTATION: text}) is None
    assert read_request({}) is None


def test_what_was_skipped_keeps_its_image(spec):
    """Its digest is that of the last good build."""
    good = {
        "commit": OLD,
        "inputs": "x",
        "digest": "sha256:1",
        "reference": "r@sha256:1",
        "tags": ["t"],
    }
    (record,) = planned(
        [ImageDecision("cart", False, "PathsUnchanged", "m")],
        {"cart": {"lastGood": good}},
        number=2,
        commit=NEW,
    )
    assert (record["state"], record["digest"], record["lastGood"]) == ("Skipped", "sha256:1", good)


@pytest.mark.parametrize("attempts, state", [(1, "Waiting"), (2, "Waiting"), (3, "Failed")])
def test_tries_are_counted_and_spread(attempts, state):
    """Each waits twice as long as the one before."""
    record = failed(
        {"name": "cart", "attempts": attempts}, reason="NetworkFailed", message="m.",
        retryable=True, log_tail="",
        attempts=3, retry_seconds=30, now=NOW,
    )  # fmt: skip
    assert record["state"] == state
    if state == "Waiting":
        assert record["retryAt"] == ago(-30 * 2 ** (attempts - 1))


@given(st.lists(st.sampled_from(STATES), min_size=1, max_size=5))
def test_a_build_is_over_when_all_its_images_are(states):
    """One failure fails it; nothing made is an outcome of its own."""
    images = [{"name": f"i{n}", "state": state} for n, state in enumerate(states)]
    settled = summarized({"number": 1, "phase": "Running"}, images, NOW)
    assert (settled["phase"] == "Finished") is (set(states) <= FINAL)
    if settled["phase"] == "Finished":
        best = {
            "Failed": "Failed",
            "Canceled": "Canceled",
            "Pushed": "Succeeded",
            "Skipped": "NothingToDo",
        }
        assert settled["outcome"] == next(word for state, word in best.items() if state in states)


@given(st.lists(st.sampled_from(STATES), min_size=1, max_size=5))
def test_conditions_are_true_only_when_a_build_is_over_and_well(states):
    """Whatever state its images are in."""
    images = [{"name": f"i{n}", "state": state, "message": "m"} for n, state in enumerate(states)]
    settled = summarized({"number": 1, "phase": "Running", "commit": NEW}, images, NOW)
    pushed = next(each for each in conditions_of(settled, images) if each.type == "Pushed")
    assert (pushed.status == "True") is (set(states) <= {"Pushed", "Skipped"})


def test_a_status_holds_nothing_that_says_nothing():
    """Some API servers take an empty text for null."""
    assert replacing({"a": 1, "gone": "x"}, {"a": "", "b": 0, "c": {"d": ""}, "e": []}) == {
        "a": None, "gone": None, "c": {}, "e": [],
    }  # fmt: skip


@pytest.mark.parametrize(
    "stage, log, reason, again",
    [
        ("build", "STEP 3\nerror: building at STEP: exit status 1", "BuildFailed", False),
        ("build", "Get https://x/v2/: dial tcp: lookup x: no such host", "NetworkFailed", True),
        (
            "build",
            "received unexpected HTTP status: 503 Service Unavailable",
            "NetworkFailed",
            True,
        ),
        ("build", "toomanyrequests: You have reached your pull rate limit", "NetworkFailed", True),
        ("build", "manifest unknown: manifest unknown", "BaseImageMissing", False),
        ("build", "write /x: no space left on device", "DiskFull", False),
        ("push", "denied: requested access to the resource is denied", "RegistryDenied", False),
        ("push", "something odd", "PushFailed", True),
        ("test", "connection refused", "TestFailed", False),
        ("build", "", "BuildFailed", False),
    ],
)
def test_only_what_may_pass_by_itself_is_tried_again(stage, log, reason, again):
    """The network and the registry, never the Dockerfile or the test."""
    verdict = classify(stage, log, 1)
    assert (verdict.reason, verdict.retryable) == (reason, again)
