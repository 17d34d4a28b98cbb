"""How rollouts are written down: requests, approvals, objects, settings, expectations of
answers.
"""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubestorm.core import status_requests
from kubestorm.core.errors import DefinitionError
from kubestorm.core.times import format_milliseconds, parse_time
from kubestorm.kinds.application.image_policy import desired_image_annotation, desired_image_of
from kubestorm.kinds.application.rollout.approval import approval_hash, read_approval
from kubestorm.kinds.application.rollout.expectations import HttpAnswer, unmet
from kubestorm.kinds.application.rollout.observe import (
    read_freeze,
    read_requests,
    read_rollback_request,
)
from kubestorm.kinds.application.rollout.settings import RolloutSettings, approval_rules
from kubestorm.kinds.application.rollout.status import read_status, status_fields
from kubestorm.kinds.application.rollout.values import (
    DesiredImage,
    ObservedState,
    Promotion,
    RolloutSpec,
    Status,
)
from kubestorm.kinds.application.values import HttpCheck, Strategy

NOW = dt.datetime(2026, 1, 1, 12, 0, 0, 250000, tzinfo=dt.timezone.utc)
DIGEST = "sha256:" + "b" * 64


def application(**annotations: str) -> dict[str, Any]:
    return {
        "metadata": {
            "annotations": {
                f"kubestorm.io/{k.replace('_', '-')}": v for k, v in annotations.items()
            }
        }
    }


def rollout(**status: Any) -> dict[str, Any]:
    return {
        "apiVersion": "kubestorm.io/v1alpha1",
        "metadata": {"name": "cart-1", "namespace": "prod-shop", "uid": "u"},
        "spec": {
            "applicationRef": {"name": "cart"},
            "image": {"digest": DIGEST, "repository": "team/cart"},
        },
        "status": status,
    }


def asking(**requests: Any) -> dict[str, Any]:
    return {"metadata": {}, "status": {"requests": requests}}


ANN = {"by": "ann", "at": "2026-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    "found, by",
    [
        pytest.param(asking(abort=ANN), "ann", id="with a name"),
        pytest.param(asking(abort={}), "somebody", id="without one"),
        pytest.param(asking(abort={"by": 3}), "3", id="a number"),
        pytest.param(asking(abort="ann"), "", id="of another form"),
        pytest.param(
            {"metadata": {"annotations": {"kubestorm.io/abort": "ann"}}}, "", id="an annotation"
        ),
    ],
)
def test_who_aborts(found, by):
    """Only what the Rollout's status holds: who may write annotations may not abort."""
    assert read_requests({}, found).abort == by


def test_a_promotion_names_its_stage():
    """Without one it is about wherever the rollout stands."""
    said = asking(promote={**ANN, "stage": 3})
    assert read_requests({}, said).promote == Promotion("ann", 3, False)
    said = asking(promote={"full": True})
    assert read_requests({}, said).promote == Promotion("somebody", -1, True)


@pytest.mark.parametrize(
    "wish, target",
    [
        pytest.param({}, "previous", id="empty"),
        pytest.param({"to": " "}, "previous", id="blank"),
        pytest.param({"to": "1.2.0", "by": "ann"}, "1.2.0", id="a tag"),
        pytest.param({"to": [1]}, "previous", id="of another form"),
    ],
)
def test_where_to_go_back(wish, target):
    """The image before, unless one is named."""
    found = read_rollback_request(asking(rollbackTo=wish))
    assert found is not None
    assert found.target == target


def test_a_wish_survives_its_annotation():
    """Round trip; what is no wish is none."""
    wish = DesiredImage(DIGEST, "1.0", "e1", NOW, NOW, "ann", "push")
    text = desired_image_annotation(wish)
    assert desired_image_of(application(wanted_image=text)) == wish
    for nonsense in ("", "{", "[1]", '{"digest": "latest"}'):
        assert desired_image_of(application(wanted_image=nonsense)) is None


@given(
    st.datetimes(
        timezones=st.just(dt.timezone.utc),
        min_value=dt.datetime(2000, 1, 1),
        max_value=dt.datetime(8000, 1, 1),
    )
)
def test_moments_survive_their_text(moment):
    """To the millisecond."""
    whole = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    assert parse_time(format_milliseconds(moment)) == whole


def test_a_freeze_names_owner_and_reason():
    """Also where a person wrote less; an annotation is none, and takes none away."""
    held = read_freeze(asking(freeze={"owner": "carol", "reason": "audit"}))
    assert held is not None
    assert (held.owner, held.reason) == ("carol", "audit")
    less = read_freeze(asking(freeze=ANN))
    assert less is not None
    assert less.owner == "ann"
    assert read_freeze(application(freeze="carol")) is None


def test_what_is_asked_anew_is_not_taken_back():
    """A step takes away what it has read, and not what came while it worked."""
    before, after = asking(abort=ANN, promote=ANN), asking(abort=ANN, promote={"by": "bob"})
    assert status_requests.taken_back(after, "abort", "promote", since=before) == {
        "requests": {"abort": None}
    }
    assert status_requests.taken_back(after, "promote", since=before) == {}
    assert status_requests.taken_back(after, "promote") == {"requests": {"promote": None}}


def test_an_approval_is_for_all_that_the_spec_says():
    """Another strategy, or what to go back to, is another question."""
    for key in ("strategy", "previousDigest", "cause"):
        other = rollout()
        other["spec"][key] = "x"
        assert approval_hash(other, "promote") != approval_hash(rollout(), "promote")


CONFIG = {"approvals": {"rules": [{"namespaces": ["prod-*"], "what": ["rollout", "promote"]}]}}


def answered(state: str, what: str, **more: Any) -> dict[str, Any]:
    hashed = approval_hash(rollout(), what)
    return rollout(approval={"contentHash": hashed, "state": state, "by": "dan", **more})


def forged() -> dict[str, Any]:
    """As whoever may write the object, and not its status, would."""
    found = rollout()
    said = {"contentHash": approval_hash(found, "rollout"), "state": "granted"}
    said["content_hash"] = said["contentHash"]
    found["metadata"]["annotations"] = {"kubestorm.io/approval": json.dumps(said)}
    return found


@pytest.mark.parametrize(
    "found, config, state",
    [
        pytest.param(rollout(), {}, "NotNeeded", id="no rule"),
        pytest.param(rollout(), CONFIG, "Waiting", id="nobody has answered"),
        pytest.param(answered("granted", "rollout"), CONFIG, "Granted", id="granted"),
        pytest.param(answered("refused", "rollout"), CONFIG, "Refused", id="refused"),
        pytest.param(answered("expired", "rollout"), CONFIG, "Expired", id="expired"),
        pytest.param(
            answered("granted", "promote"), CONFIG, "Waiting", id="an answer to another question"
        ),
        pytest.param(
            answered("granted", "rollout", contentHash="x"),
            CONFIG,
            "Waiting",
            id="for another image",
        ),
        pytest.param(rollout(approval="granted"), CONFIG, "Waiting", id="no answer in our form"),
        pytest.param(forged(), CONFIG, "Waiting", id="an annotation"),
    ],
)
def test_an_approval_is_bound_to_its_content(found, config, state):
    """Who says yes says it of this digest, and of this question."""
    assert read_approval(found, config).rollout.state == state


def test_an_approval_of_another_digest_is_none():
    """The hash is of the image."""
    other = rollout()
    other["spec"]["image"]["digest"] = "sha256:" + "c" * 64
    assert approval_hash(other, "rollout") != approval_hash(rollout(), "rollout")


def test_settings_refuse_what_nobody_reads():
    """With the name of the setting."""
    with pytest.raises(DefinitionError, match=r"rollout\.patience"):
        RolloutSettings.from_config({"rollout": {"patience": 1}})
    with pytest.raises(DefinitionError, match="settle_seconds"):
        RolloutSettings.from_config({"rollout": {"settle_seconds": -1}})
    with pytest.raises(DefinitionError, match="ingress_address"):
        RolloutSettings.from_config({"rollout": {"ingress_address": "10.0.0.5"}})
    with pytest.raises(DefinitionError, match="what"):
        approval_rules({"approvals": {"rules": [{"what": ["lunch"]}]}})
    assert RolloutSettings.from_config({"rollout": {}}) == RolloutSettings()


def test_a_status_survives_its_object():
    """What one decision remembers is what the next is given."""
    request = RolloutSpec(DIGEST, "sha256:" + "a" * 64, Strategy(), replicas=3)
    status = Status(
        phase="Progressing",
        stage=0,
        since=NOW,
        weight=100,
        base="stable",
        total=3,
        reason="Update",
        message="x",
        trouble="CrashLoop",
        trouble_since=NOW,
        unsettled_since=NOW,
        started_at=NOW,
        tested="It passed.",
    )
    fields = status_fields(request, status, ObservedState(), requeue_at=NOW)
    assert read_status({"status": fields}) == status
    assert fields["requeueAt"] == "2026-01-01T12:00:00.250Z"


def answer(body: str = "", status: int = 200, seconds: float = 0.1, **headers: str) -> HttpAnswer:
    return HttpAnswer(
        status, {key.replace("_", "-"): value for key, value in headers.items()}, body, seconds
    )


JSON = '{"checks": [{"state": "up"}], "ok": true, "n": 3}'


@pytest.mark.parametrize(
    "check, found, wrong",
    [
        pytest.param(HttpCheck("/"), answer(), None, id="a status"),
        pytest.param(
            HttpCheck("/", 204),
            answer(status=500, body="no"),
            "answered 500, expected 204",
            id="other",
        ),
        pytest.param(HttpCheck("/", contains="up"), answer("it is up"), None, id="contains"),
        pytest.param(
            HttpCheck("/", contains="up"),
            answer("down"),
            "does not contain 'up'",
            id="does not",
        ),
        pytest.param(HttpCheck("/", matches="v[0-9]+"), answer("v12"), None, id="matches"),
        pytest.param(
            HttpCheck("/", matches="^v$"), answer("v12"), "does not match", id="does not match"
        ),
        pytest.param(
            HttpCheck("/", matches="(a+)+$"),
            answer("a" * 40 + "b"),
            "does not match",
            id="a pattern astray",
        ),
        pytest.param(
            HttpCheck("/", json={"$.checks[0].state": "up"}), answer(JSON), None, id="JSON path"
        ),
        pytest.param(
            HttpCheck("/", json={"ok": "true", "n": "3"}), answer(JSON), None, id="no strings"
        ),
        pytest.param(
            HttpCheck("/", json={"$.checks[1].state": "up"}),
            answer(JSON),
            "$.checks[1].state is absent, expected 'up'",
            id="absent",
        ),
        pytest.param(
            HttpCheck("/", json={"$['ok']": "false"}),
            answer(JSON),
            "$['ok'] has another value, expected 'false'",
            id="differs",
        ),
        pytest.param(
            HttpCheck("/", json={"a": "b"}), answer("<html>"), "is not JSON", id="no JSON"
        ),
        pytest.param(
            HttpCheck("/", expect_headers={"X-A": "1"}), answer(x_a="1"), None, id="header"
        ),
        pytest.param(
            HttpCheck("/", expect_headers={"X-A": "1"}),
            answer(),
            "header X-A is absent, expected '1'",
            id="no header",
        ),
        pytest.param(
            HttpCheck("/", within_seconds=0.05),
            answer(),
            "took 0.10 s, expected at most 0.05 s",
            id="slow",
        ),
    ],
)
def test_what_an_answer_has_to_be(check, found, wrong):
    """The first thing that is wrong, in words."""
    said = unmet(check, found)
    assert (said is None) is (wrong is None)
    if wrong is not None:
        assert wrong in said
