"""The last step of a Database's run: carry out one step of its deletion (`plan_deletion`).

It works without a valid spec: what cannot be parsed can still be deleted, and then keeps its data.
"""

from __future__ import annotations

import contextlib
from typing import Any, Dict, Mapping

from kubestorm.core import naming, untrusted
from kubestorm.core.conditions import FALSE, READY, Condition
from kubestorm.core.errors import Error
from kubestorm.kinds.common.approval import DeletionGate
from kubestorm.kinds.common.resource import Object
from kubestorm.kinds.database.observe import observe_deletion
from kubestorm.kinds.database.plan_deletion import (
    CreateSnapshot,
    DeleteInstance,
    DeletionState,
    Finish,
    Step,
    describe_step,
    next_step,
)
from kubestorm.kinds.database.run import DatabaseRun
from kubestorm.kinds.database.spec import RETAIN
from kubestorm.kinds.database.status import INSTANCE_AVAILABLE, Reason

Result = Dict[str, Any]


def tear_down(run: DatabaseRun, approval: DeletionGate) -> Result:
    """Take the next step, write it into status, release the finalizer after the last one. Safe to
    repeat.
    """
    with run.reporting(INSTANCE_AVAILABLE):
        resource = run.handle.read()
        if resource is None or not resource["metadata"].get("deletionTimestamp"):
            return {"finished": resource is None, "step": "none"}
        state = observe_deletion(run, resource, approval)
        step = next_step(state)
        fields = _carry_out(run, step, state, resource)
        if isinstance(step, Finish):
            run.handle.event(resource, Reason.FINISHED, step.message)
            run.handle.release_finalizer()
        else:
            available, ready = (
                Condition(kind, FALSE, step.reason, step.message)
                for kind in (INSTANCE_AVAILABLE, READY)
            )
            run.write_status(available, fields=fields, ready=ready)
        return {"finished": isinstance(step, Finish), **describe_step(step)}


def _carry_out(
    run: DatabaseRun, step: Step, state: DeletionState, resource: Object
) -> Mapping[str, Any]:
    """The fields of status that follow."""
    services = run.services
    fields: Dict[str, Any] = {
        "instanceStatus": state.instance.status if state.instance else "deleted"
    }
    if isinstance(step, CreateSnapshot):
        tags = naming.owner_tags(run.identity)
        services.rds.create_snapshot(state.identifier, state.manual_identifier, tags)
        fields["snapshotIdentifier"] = state.manual_identifier
    elif isinstance(step, DeleteInstance):
        final = state.final_identifier if step.keep else None
        services.rds.delete(state.identifier, final_snapshot=final)
        fields["instanceStatus"] = "deleting"
    elif isinstance(step, Finish):
        if state.policy == RETAIN:
            _tag_retained(run, state)
        group = untrusted.status(resource).get("parameterGroup")
        if step.remove_address and group:
            services.rds.delete_parameter_group(str(group))
        # Consul first: no application should be sent to what is gone. Vault last: its secret is the
        # last way in.
        if step.remove_address:
            services.consul.delete_tree(run.consul_prefix)
        if step.remove_credentials:
            services.vault.delete_pending(run.vault_path)
            services.vault.delete(run.vault_path)
    return fields


def _tag_retained(run: DatabaseRun, state: DeletionState) -> None:
    """Tag the instance as retained on purpose; the deletion does not depend on it."""
    instance = state.instance
    if instance is None or instance.owner_uid != state.uid:
        return
    if instance.tags.get(naming.TAG_RETAINED) != state.uid:
        with contextlib.suppress(Error):
            run.services.rds.tag(instance.arn, {naming.TAG_RETAINED: state.uid})
