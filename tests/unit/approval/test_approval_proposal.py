"""What people are shown before they say yes."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from kubestorm.core.naming import Identity
from kubestorm.kinds.common.approval import NOT_NEEDED, Approval
from kubestorm.kinds.database.plan_deletion import Blocked, DeletionState, next_step
from kubestorm.people.approval import gate, messages
from kubestorm.people.approval.proposal import Proposal, deletion_hash, of_deletion, of_rollout
from kubestorm.people.approval.record import Record, fields
from kubestorm.people.approval.settings import Rule

OLD, NEW = "sha256:" + "1" * 64, "sha256:" + "2" * 64
ROLLOUT: dict[str, Any] = {
    "metadata": {"name": "cart-2222-7", "namespace": "shop-prod", "uid": "r1"},
    "spec": {
        "applicationRef": {"name": "cart"},
        "image": {
            "registry": "reg.example",
            "repository": "team/cart",
            "tag": "1.4.2",
            "digest": NEW,
        },
        "previousDigest": OLD,
        "previousTag": "1.4.1",
        "requestedBy": "ada",
        "replicas": {"min": 4},
        "strategy": {"type": "Canary"},
    },
}
APPLICATION: dict[str, Any] = {
    "spec": {"env": {"LOG": "debug", "API_TOKEN": "new-one", "NEW": "1"}}
}
DEPLOYMENT: dict[str, Any] = {
    "spec": {
        "replicas": 3,
        "template": {
            "spec": {
                "containers": [
                    {
                        "image": f"reg.example/team/cart@{OLD}",
                        "env": [
                            {"name": "LOG", "value": "info"},
                            {"name": "API_TOKEN", "value": "old-one"},
                            {"name": "GONE", "value": "x"},
                        ],
                    }
                ]
            }
        },
    }
}


def test_a_rollout_shows_digest_replicas_and_configuration() -> None:
    """Each difference is a line; what looks like a secret shows that it changes and not to what."""
    proposal = of_rollout(ROLLOUT, "rollout", APPLICATION, DEPLOYMENT)
    assert proposal.title == "Roll out 1.4.2 of cart in shop-prod."
    assert ("digest", NEW) in proposal.facts
    assert proposal.changes == (
        f"~ image: reg.example/team/cart@{OLD} → reg.example/team/cart@{NEW}",
        "~ replicas: 3 → 4",
        "~ env API_TOKEN: (not shown)",
        "- env GONE: x",
        "~ env LOG: info → debug",
        "+ env NEW: 1",
    )
    assert "new-one" not in str(proposal)


@pytest.mark.parametrize(
    "path,value,changes",
    [
        pytest.param(("spec", "image", "digest"), OLD, True, id="another digest"),
        pytest.param(("spec", "replicas", "min"), 5, True, id="replicas"),
        pytest.param(("spec", "requestedBy"), "eve", True, id="who asked"),
        pytest.param(("status", "observed"), 7, False, id="a status that moves"),
        pytest.param(("metadata", "resourceVersion"), "9", False, id="a version"),
    ],
)
def test_what_is_shown_decides_the_hash(path: tuple[str, ...], value: Any, changes: bool) -> None:
    """What people see binds their answers; what moves by itself does not."""
    changed = copy.deepcopy(ROLLOUT)
    where = changed
    for key in path[:-1]:
        where = where.setdefault(key, {})
    where[path[-1]] = value
    before = of_rollout(ROLLOUT, "rollout", APPLICATION, DEPLOYMENT)
    assert (
        of_rollout(changed, "rollout", APPLICATION, DEPLOYMENT).shown != before.shown
    ) is changes


def test_an_autoscaler_at_work_voids_nothing() -> None:
    """What it has made of the replicas at this moment is no part of the question."""
    scaled = copy.deepcopy(ROLLOUT)
    scaled["spec"]["replicas"] = {"min": 2, "max": 9}
    busy = copy.deepcopy(DEPLOYMENT)
    busy["spec"]["replicas"] = 8
    assert (
        of_rollout(scaled, "rollout", None, DEPLOYMENT).shown
        == of_rollout(scaled, "rollout", None, busy).shown
    )


def test_without_application_and_deployment_there_is_still_a_question() -> None:
    """A first rollout, or rights that are missing."""
    proposal = of_rollout(ROLLOUT, "promote", None, None)
    assert "Promote 1.4.2" in proposal.title
    assert proposal.changes[0].startswith("+ image: ")


DATABASE: dict[str, Any] = {
    "metadata": {
        "name": "orders",
        "namespace": "shop-prod",
        "uid": "d1",
        "annotations": {"kubestorm.io/requested-by": "ada"},
    },
    "spec": {"engine": "postgres", "version": "16", "size": "small", "storage": {"sizeGiB": 20}},
    "status": {"instanceIdentifier": "ks-orders"},
}
CONFIG = {"approvals": {"rules": [{"namespaces": ["shop-prod"], "what": ["delete"]}]}}


def with_record(state: str, **changes: Any) -> dict[str, Any]:
    values = {
        "what": "delete",
        "content_hash": deletion_hash(DATABASE),
        "shown": "s",
        "state": state,
        "by": "grace",
    }
    found = copy.deepcopy(DATABASE)
    found["status"].update(fields(Record(**{**values, **changes})))
    return found


@pytest.mark.parametrize(
    "database,config,state",
    [
        pytest.param(DATABASE, {}, NOT_NEEDED, id="no rule"),
        pytest.param(DATABASE, CONFIG, "waiting", id="not asked yet"),
        pytest.param(with_record("waiting"), CONFIG, "waiting", id="asked"),
        pytest.param(with_record("granted"), CONFIG, "granted", id="granted"),
        pytest.param(with_record("refused"), CONFIG, "refused", id="refused"),
        pytest.param(with_record("expired"), CONFIG, "expired", id="expired"),
        pytest.param(
            with_record("granted", content_hash="other"),
            CONFIG,
            "waiting",
            id="granted for another",
        ),
        pytest.param(
            with_record("granted", what="rollout"),
            CONFIG,
            "waiting",
            id="granted for something else",
        ),
    ],
)
def test_where_a_deletion_stands(
    database: dict[str, Any], config: dict[str, Any], state: str
) -> None:
    """By the configuration and the object's annotation, bound to this life of this object."""
    assert gate.deletion(database, config).state == state


@pytest.mark.parametrize(
    "standing,reason",
    [
        (Approval("waiting"), "AwaitingApproval"),
        (Approval("refused", "grace"), "ApprovalRefused"),
        (Approval("expired"), "ApprovalExpired"),
    ],
)
def test_no_data_is_destroyed_without_the_approval(standing: Approval, reason: str) -> None:
    """Confirmed or not: the step is to wait, with a sentence."""
    state = DeletionState(
        "orders", "d1", "Delete", {"kubestorm.io/confirm-delete": "orders"}, False, None, None, None
    )
    step = next_step(DeletionState(**{**vars(state), "approval": standing}))
    assert isinstance(step, Blocked)
    assert step.reason == reason
    granted = next_step(DeletionState(**{**vars(state), "approval": Approval("granted", "grace")}))
    assert not isinstance(granted, Blocked)
    retained = next_step(DeletionState(**{**vars(state), "approval": standing, "policy": "Retain"}))
    assert not isinstance(retained, Blocked)


def test_a_deletion_shows_what_is_destroyed() -> None:
    """Instance, size, and that nothing is kept."""
    proposal = of_deletion(DATABASE, "ks-orders")
    assert "with all its data, for ever" in proposal.title
    assert "no final snapshot" in proposal.changes[0]
    assert proposal.requested_by == "ada"


def test_the_message_has_buttons_a_form_and_no_markup_of_others() -> None:
    """A button carries which question of which object it answers; a deletion asks once more."""
    identity = Identity("c", "kubestorm.io", "v1alpha1", "databases", "shop-prod", "orders", "d1")
    record = Record("delete", "c" * 9, "d" * 9, expires_at="2026-01-02T00:00:00Z", quorum=2)
    blocks = messages.ask_blocks(
        identity, Proposal("Drop <!channel>", changes=("- ```x",)), record, Rule()
    )
    kinds = [block["type"] for block in blocks]
    assert "input" in kinds
    assert kinds[-2:] == ["actions", "context"]
    approve = blocks[-2]["elements"][0]
    assert messages.read_button(approve["value"]) == (
        "databases",
        "shop-prod",
        "orders",
        record.number,
    )
    assert "confirm" in approve
    assert "<!channel>" not in "".join(
        block["text"]["text"] for block in blocks if block["type"] == "section"
    )
    with pytest.raises(ValueError, match="not a button"):
        messages.read_button("x/y")
    assert f"approve {record.number}" in messages.ask_text(Proposal("Drop"), record, Rule())
