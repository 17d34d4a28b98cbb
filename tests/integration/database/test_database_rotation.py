"""Credentials are exchanged on demand; readers always find in Vault what is, or was until a moment
ago, the way in.
"""

from __future__ import annotations

import json

import pytest
from kubestorm.clients.rds import RdsClient
from kubestorm.clients.vault import VaultStore
from kubestorm.core.naming import ROTATE_ANNOTATION
from kubestorm.core.secrets import make_password
from kubestorm.kinds.database import commands


class Killed(BaseException):
    """The process is gone: nothing of the pack catches this."""


def path(world):
    return f"kubestorm/test/{world.namespace}/orders"


def current(world):
    """The credentials that readers see."""
    return world.services().vault.read(path(world))


def matches(world, credentials):
    return world.aws.password_matches(
        world.get()["status"]["instanceIdentifier"], credentials.password.reveal()
    )


@pytest.fixture
def ready(world):
    """A Database that is Ready, asked to exchange its credentials."""
    world.apply()
    world.until_ready()
    world.annotate(**{ROTATE_ANNOTATION: "first"})
    return world


def test_a_rotation_from_annotation_to_promotion(ready):
    """Pending first, current when RDS has applied it, and once a request."""
    old = current(ready)
    first = ready.reconcile()
    assert first["instance"]["rotation"] == ["StorePending", "SetPassword"]
    assert ready.condition("Ready") == ("False", "RotatingCredentials")
    assert current(ready).version == old.version
    pending = ready.services().vault.find_pending(path(ready))
    assert not pending.password.same_as(old.password)
    ready.until_ready()
    new = current(ready)
    assert new.version == old.version + 1
    assert new.password.same_as(pending.password)
    assert matches(ready, new)
    assert ready.services().vault.find_pending(path(ready)) is None
    status = ready.get()["status"]
    assert (status["credentialsRotation"], status["vaultVersion"]) == ("first", new.version)
    assert ready.reconcile()["instance"]["rotation"] == []
    assert current(ready).version == new.version
    assert pending.password.reveal() not in json.dumps([first, ready.get()], default=repr)
    ready.annotate(**{ROTATE_ANNOTATION: "second"})
    ready.reconcile()
    ready.until_ready()
    assert current(ready).version == new.version + 1


EFFECTS = {
    "stored": (VaultStore, "store_pending", 1),
    "set": (RdsClient, "set_password", 1),
    "noted": (RdsClient, "tag", 1),
    "promoted": (VaultStore, "write", 1),
    "version-noted": (RdsClient, "tag", 2),
    "recorded": (VaultStore, "delete_pending", 0),
    "forgotten": (VaultStore, "delete_pending", 1),
}


@pytest.mark.parametrize("owner, name, calls", EFFECTS.values(), ids=EFFECTS.keys())
def test_a_rotation_killed_after_any_effect_is_finished_by_the_next_run(
    ready, monkeypatch, owner, name, calls
):
    """At each moment the way in is in Vault; in the end there is exactly one new version, and it
    opens the instance.
    """
    old = current(ready)
    original = getattr(owner, name)
    count = 0

    def dies(*arguments, **named):
        nonlocal count
        count += 1
        if calls:
            original(*arguments, **named)
        if count >= calls:
            raise Killed

    monkeypatch.setattr(owner, name, dies)
    for _ in range(4):
        try:
            ready.reconcile()
        except Killed:
            break
        ready.let_aws_finish()
    else:
        raise AssertionError("it was never killed")
    monkeypatch.undo()
    pending = ready.services().vault.find_pending(path(ready))
    ready.let_aws_finish()
    assert matches(ready, current(ready)) or matches(ready, pending)
    lease = (
        f"/apis/coordination.k8s.io/v1/namespaces/{ready.namespace}/leases/"
        f"{ready.get()['metadata']['uid']}"
    )
    ready.http.delete(lease).raise_for_status()
    ready.reconcile()
    ready.until_ready()
    new = current(ready)
    assert new.version == old.version + 1
    assert matches(ready, new)
    assert ready.services().vault.find_pending(path(ready)) is None


def test_a_secret_written_by_hand_meanwhile_counts(ready):
    """The rotation gives way, and the instance is given what the person wrote."""
    old = current(ready)
    ready.reconcile()
    by_hand = make_password()
    ready.services().vault.write(path(ready), "dbadmin", by_hand, replaces=old.version)
    ready.let_aws_finish()
    ready.reconcile()
    ready.until_ready()
    assert current(ready).password.same_as(by_hand)
    assert matches(ready, current(ready))
    assert ready.services().vault.find_pending(path(ready)) is None


def test_vault_sealed_in_the_middle_stops_nothing_for_ever(ready):
    """The service is named, and the rotation goes on when it is back."""
    ready.reconcile()
    there = ready.config["vault"]["url"]
    ready.config["vault"]["url"] = "http://127.0.0.1:1"
    ready.let_aws_finish()
    assert "error" in ready.reconcile()
    assert ready.condition("Ready") == ("False", "VaultUnavailable")
    ready.config["vault"]["url"] = there
    ready.until_ready()
    assert matches(ready, current(ready))


def test_the_action_asks_by_annotation(ready):
    """What it writes is what a developer may write; the same word twice is one rotation."""
    answer = commands.rotate(ready.services(), ready.namespace, "orders", "by-action")
    assert answer["request"] == "by-action"
    ready.reconcile()
    ready.until_ready()
    version = current(ready).version
    commands.rotate(ready.services(), ready.namespace, "orders", "by-action")
    ready.reconcile()
    assert current(ready).version == version
    assert ready.condition("Ready")[0] == "True"
