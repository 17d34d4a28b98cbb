"""The last step of a Database's run: one step further towards its end, by what `deletion` decides.

Apart from steps.py because it must work without a valid spec: what cannot be parsed can still be
deleted, and then keeps its data.
"""

from __future__ import annotations

import contextlib
from typing import Any, Dict, Mapping, Optional

from kubestorm.core import naming, untrusted
from kubestorm.core.conditions import FALSE, READY, Condition
from kubestorm.core.errors import Error
from kubestorm.kinds.common.approval import DeletionGate
from kubestorm.kinds.common.resource import Object
from kubestorm.kinds.database.deletion import (
    Blocked,
    CreateSnapshot,
    DeleteInstance,
    DeletionState,
    Finish,
    WaitFor,
    describe_step,
    effective_policy,
    next_step,
)
from kubestorm.kinds.database.spec import DELETE, RETAIN, SNAPSHOT, policy_of
from kubestorm.kinds.database.steps import INSTANCE_AVAILABLE, DatabaseRun, Result


def tear_down(run: DatabaseRun, approval: DeletionGate) -> Result:
    """Take the one next step, write it into status, release the finalizer when nothing is left to
    do.
    """
    with run.reporting(INSTANCE_AVAILABLE):
        resource = run.handle.read()
        if resource is None or not resource["metadata"].get("deletionTimestamp"):
            return {"finished": resource is None, "step": "none"}
        state, identifier = _observe(run, resource, approval)
        step = next_step(state)
        fields = _carry_out(run, step, state, identifier, resource)
        if isinstance(step, Finish):
            run.handle.event(resource, "Finished", step.message)
            run.handle.release_finalizer()
        else:
            reason = _reason(step)
            conditions = [
                Condition(kind, FALSE, reason, step.message) for kind in (INSTANCE_AVAILABLE, READY)
            ]
            run.write_status(conditions[0], fields=fields, ready=conditions[1])
        return {"finished": isinstance(step, Finish), **describe_step(step)}


def _observe(
    run: DatabaseRun, resource: Object, approval: DeletionGate
) -> tuple[DeletionState, str]:
    metadata, status = resource["metadata"], untrusted.status(resource)
    identifier = status.get("instanceIdentifier") or (
        run.as_database(resource).get("spec") or {}
    ).get("adopt")
    identifier = str(identifier or run.identifier(resource, None))
    policy = policy_of(run.as_database(resource), run.services.settings.database)
    # Only Delete has to know, so that nothing else needs the permission to read namespaces.
    terminating = policy == DELETE and run.handle.is_namespace_terminating()
    uid = run.identity.uid
    snapshots = effective_policy(policy, namespace_terminating=terminating) == SNAPSHOT
    rds = run.services.rds
    state = DeletionState(
        name=run.identity.name,
        uid=uid,
        policy=policy,
        annotations=untrusted.texts(metadata.get("annotations")),
        namespace_terminating=terminating,
        instance=rds.describe(identifier),
        manual_snapshot=rds.describe_snapshot(_snapshot(identifier, uid, "manual"))
        if snapshots
        else None,
        final_snapshot=rds.describe_snapshot(_snapshot(identifier, uid, "final"))
        if snapshots
        else None,
        destroyed_before=bool(status.get("instanceIdentifier")),
        approval=approval(resource, run.services.settings.raw),
    )
    return state, identifier


def _carry_out(
    run: DatabaseRun, step: Any, state: DeletionState, identifier: str, resource: Object
) -> Mapping[str, Any]:
    """Do it; the fields of status that follow."""
    status: Optional[str] = state.instance.status if state.instance else "deleted"
    fields: Dict[str, Any] = {"instanceStatus": status}
    manual = _snapshot(identifier, state.uid, "manual")
    if isinstance(step, CreateSnapshot):
        run.services.rds.create_snapshot(identifier, manual, naming.owner_tags(run.identity))
        fields["snapshotIdentifier"] = manual
    elif isinstance(step, DeleteInstance):
        final = _snapshot(identifier, state.uid, "final") if step.keep else None
        run.services.rds.delete(identifier, final_snapshot=final)
        fields["instanceStatus"] = "deleting"
    elif isinstance(step, Finish):
        if state.policy == RETAIN:
            _mark_retained(run, state)
        group = untrusted.status(resource).get("parameterGroup")
        if step.remove_address and group:
            run.services.rds.delete_parameter_group(str(group))
        # Consul first: nobody should be sent to what is gone. Vault last: its secret is the last
        # way in.
        if step.remove_address:
            run.services.consul.delete_tree(run.consul_prefix)
        if step.remove_credentials:
            run.services.vault.delete_pending(run.vault_path)
            run.services.vault.delete(run.vault_path)
    return fields


def _mark_retained(run: DatabaseRun, state: DeletionState) -> None:
    """Write on the instance that it was left on purpose; the deletion does not depend on it."""
    instance = state.instance
    if (
        instance is None
        or instance.owner_uid != state.uid
        or instance.tags.get(naming.TAG_RETAINED) == state.uid
    ):
        return
    with contextlib.suppress(Error):
        run.services.rds.tag(instance.arn, {naming.TAG_RETAINED: state.uid})


def _reason(step: Any) -> str:
    if isinstance(step, (WaitFor, Blocked)):
        return str(step.reason)
    return "Snapshotting" if isinstance(step, CreateSnapshot) else "Deleting"


def _snapshot(identifier: str, uid: str, kind: str) -> str:
    return naming.snapshot_identifier(identifier, uid, kind)
