"""How a Database ends under each policy, and what never happens to its data."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from kubestorm.clients.rds import ObservedInstance, ObservedSnapshot
from kubestorm.kinds.database.plan_deletion import (
    Blocked,
    CreateSnapshot,
    DeleteInstance,
    DeletionState,
    Finish,
    WaitFor,
    next_step,
)

UID = "11111111-2222-3333-4444-555555555555"
CONFIRMED = {"kubestorm.io/confirm-delete": "orders"}


def state(policy="Snapshot", instance=None, manual=None, final=None, **more):
    """A deletion under way; snapshots by their status."""
    values = {
        "name": "orders",
        "uid": UID,
        "policy": policy,
        "annotations": {},
        "namespace_terminating": False,
        "instance": instance,
        "manual_snapshot": ObservedSnapshot("m", manual) if manual else None,
        "final_snapshot": ObservedSnapshot("f", final) if final else None,
    }
    return DeletionState(**{**values, **more})


def test_retain_keeps_all_and_lets_the_object_go(observed):
    """The instance, its credentials and its address stay."""
    step = next_step(state("Retain", observed()))
    assert (type(step), step.remove_address, step.remove_credentials) == (Finish, False, False)


def test_snapshot_goes_step_by_step(observed):
    """Snapshot, seen available, deletion with final one, seen available, done; the secret stays."""
    assert isinstance(next_step(state(instance=observed())), CreateSnapshot)
    assert isinstance(next_step(state(instance=observed(), manual="creating")), WaitFor)
    deletion = next_step(state(instance=observed(), manual="available"))
    assert (type(deletion), deletion.keep) == (DeleteInstance, True)
    assert isinstance(
        next_step(state(instance=observed(status="deleting"), manual="available")), WaitFor
    )
    assert isinstance(next_step(state(manual="available", final="creating")), WaitFor)
    end = next_step(state(manual="available", final="available"))
    assert (type(end), end.remove_address, end.remove_credentials) == (Finish, True, False)


def test_a_failed_snapshot_keeps_the_instance(observed):
    """And says what can be done."""
    step = next_step(state(instance=observed(), manual="failed"))
    assert isinstance(step, Blocked)
    assert "Retain" in step.message


def test_delete_needs_the_name_in_an_annotation(observed):
    """The second key; another object's name does not turn it."""
    assert isinstance(next_step(state("Delete", observed())), Blocked)
    wrong = {"kubestorm.io/confirm-delete": "yes"}
    assert isinstance(next_step(state("Delete", observed(), annotations=wrong)), Blocked)
    step = next_step(state("Delete", observed(), annotations=CONFIRMED))
    assert (type(step), step.keep) == (DeleteInstance, False)
    end = next_step(state("Delete", None, annotations=CONFIRMED))
    assert (type(end), end.remove_address, end.remove_credentials) == (Finish, True, True)


def test_in_a_dying_namespace_delete_becomes_snapshot(observed):
    """Confirmed or not: whoever deletes a namespace was not asked about this database."""
    for keys in ({}, CONFIRMED):
        step = next_step(state("Delete", observed(), annotations=keys, namespace_terminating=True))
        assert isinstance(step, CreateSnapshot)


def test_somebody_elses_instance_is_left_alone(observed):
    """Under every policy."""
    for policy in ("Retain", "Snapshot", "Delete"):
        step = next_step(
            state(policy, observed(tags={"kubestorm.io/uid": "other"}), annotations=CONFIRMED)
        )
        assert isinstance(step, Finish)
        assert not step.remove_credentials


def test_deletion_protection_is_named(observed):
    """AWS would refuse, and the spec is no longer carried out: it is turned off in AWS."""
    step = next_step(state(instance=observed(deletion_protection=True)))
    assert isinstance(step, Blocked)
    assert "--no-deletion-protection" in step.message


def test_what_never_existed_leaves_nothing():
    """Deleted before the instance was made: not even a secret stays."""
    step = next_step(state())
    assert (type(step), step.remove_credentials) == (Finish, True)


def test_an_instance_that_vanished_keeps_its_secret():
    """Somebody deleted it in AWS; a backup may yet need the password."""
    step = next_step(state(destroyed_before=True))
    assert (type(step), step.remove_credentials) == (Finish, False)


@given(
    policy=st.sampled_from(["Retain", "Snapshot", "Delete"]),
    status=st.sampled_from(["available", "creating", "modifying", "deleting", "failed", "stopped"]),
    manual=st.sampled_from([None, "creating", "available", "failed"]),
    final=st.sampled_from([None, "creating", "available", "failed"]),
    annotations=st.sampled_from([{}, CONFIRMED, {"kubestorm.io/confirm-delete": "x"}]),
    terminating=st.booleans(),
    protected=st.booleans(),
)
def test_no_data_goes_without_a_snapshot_or_two_keys(
    policy, status, manual, final, annotations, terminating, protected
):
    """Whatever the world looks like, backups go only where policy and annotation say so."""
    instance = ObservedInstance(
        identifier="i", status=status, engine="mysql", version="8.0", instance_class="c",
        storage_gib=20,
        storage_type="gp3", iops=None, max_storage_gib=None, multi_az=False,
        backup_retention_days=7,
        backup_window=None, maintenance_window=None, database_name="d", username="u",
        deletion_protection=protected,
        subnet_group=None, security_groups=(), parameter_group=None, encryption_key=None,
        monitoring_interval_seconds=0, host=None, port=None, tags={"kubestorm.io/uid": UID},
    )  # fmt: skip
    step = next_step(
        state(
            policy,
            instance,
            manual,
            final,
            annotations=annotations,
            namespace_terminating=terminating,
        )
    )
    if isinstance(step, DeleteInstance):
        confirmed = policy == "Delete" and annotations == CONFIRMED and not terminating
        assert not protected
        assert step.keep is not confirmed
        assert confirmed or manual == "available"
    if isinstance(step, Finish) and policy != "Retain":
        raise AssertionError("an instance that is there is not finished with")
