"""What RDS, Vault and the object say of one Database now. Changes nothing."""

from __future__ import annotations

from typing import Any, Mapping, NamedTuple, Optional, Sequence

from kubestorm.clients.rds import ObservedInstance, RdsClient
from kubestorm.clients.services import Services
from kubestorm.core import naming, untrusted
from kubestorm.core.errors import PermanentError
from kubestorm.kinds.common.approval import DeletionGate
from kubestorm.kinds.common.resource import Object
from kubestorm.kinds.database import plan_rotation
from kubestorm.kinds.database.plan import (
    RestoreSource,
    has_vanished,
    pending_changes,
    restore_source,
)
from kubestorm.kinds.database.plan_deletion import DeletionState, effective_policy
from kubestorm.kinds.database.plan_parameters import with_own_group
from kubestorm.kinds.database.plan_rotation import RotationState
from kubestorm.kinds.database.run import DatabaseRun
from kubestorm.kinds.database.spec import DELETE, SNAPSHOT, DatabaseSpec, limits_for, policy_of


class Observed(NamedTuple):
    """A Database and its instance."""

    resource: Object
    spec: DatabaseSpec
    """With its own parameter group, where it states parameters."""
    identifier: str
    instance: Optional[ObservedInstance]
    is_ours: bool
    """The instance carries this object's uid."""
    is_rotating: bool
    credentials_version: Optional[int]
    """Of the secret in Vault; None where there is none, or a rotation has a newer one."""
    vanished: bool
    source: Optional[RestoreSource]
    """What is to be restored and needs its namespace's tags."""
    source_tags: Mapping[str, str]
    pending: Sequence[str]
    """What waits for a maintenance window or a reboot, a phrase each."""


def observe(run: DatabaseRun, resource: Object, spec: DatabaseSpec) -> Observed:
    """Everything that planning needs. Raises the errors of RDS and Vault."""
    services = run.services
    identifier = run.identifier(resource, spec)
    instance = services.rds.describe(identifier)
    vanished = instance is None and has_vanished(
        run.as_database(resource), run.handle.generation(resource)
    )
    source = None
    if instance is None and not vanished:
        limits = limits_for(run.identity.namespace, services.settings.database)
        source = restore_source(spec)
        source = None if source and source.is_allowed(limits.restore_from) else source
    is_rotating = instance is not None and plan_rotation.is_rotating(
        observe_rotation(services, run.vault_path, resource, instance)
    )
    secret = None if is_rotating else services.vault.describe(run.vault_path)
    return Observed(
        resource,
        with_own_group(spec, run.own_identifier, instance),
        identifier,
        instance,
        is_ours=instance is not None and instance.owner_uid == run.identity.uid,
        is_rotating=is_rotating,
        credentials_version=int(secret["version"]) if secret else None,
        vanished=vanished,
        source=source,
        source_tags=source_tags(services.rds, source) if source else {},
        pending=_pending(run, instance),
    )


def source_tags(rds: RdsClient, source: RestoreSource) -> Mapping[str, str]:
    """The tags of what is to be restored; empty where there is none."""
    describe = rds.describe_snapshot if source.what == "snapshot" else rds.describe
    found = describe(source.identifier)
    return found.tags if found is not None else {}


def observe_rotation(
    services: Services, path: str, resource: Mapping[str, Any], instance: ObservedInstance
) -> RotationState:
    """How far a rotation of credentials is, without a secret in it. `path` is Vault's."""
    pending = services.vault.find_pending(path)
    current = services.vault.find(path) if pending else None
    done = untrusted.status(resource).get(plan_rotation.STATUS_FIELD)
    return RotationState(
        request=plan_rotation.requested(resource),
        done=untrusted.text(done) or None,
        current_version=services.vault.version(path),
        pending_request=pending.request if pending else None,
        pending_replaces=pending.replaces if pending else 0,
        pending_token=pending.token if pending else "",
        promoted=bool(pending and current and current.password.same_as(pending.password)),
        instance_token=instance.tags.get(naming.TAG_CREDENTIALS_PENDING),
        instance_settled=instance.status == "available" and not instance.password_pending,
    )


def observe_deletion(run: DatabaseRun, resource: Object, approval: DeletionGate) -> DeletionState:
    """Everything that the next step of a deletion needs; works without a valid spec."""
    status, uid, rds = untrusted.status(resource), run.identity.uid, run.services.rds
    database = run.as_database(resource)
    adopted = (database.get("spec") or {}).get("adopt")
    identifier = str(status.get("instanceIdentifier") or adopted or run.own_identifier)
    policy = policy_of(database, run.services.settings.database)
    # Only Delete has to know, so that nothing else needs the permission to read namespaces.
    terminating = policy == DELETE and run.handle.is_namespace_terminating()
    manual, final = (
        naming.snapshot_identifier(identifier, uid, kind) for kind in ("manual", "final")
    )
    snapshots = effective_policy(policy, namespace_terminating=terminating) == SNAPSHOT
    return DeletionState(
        name=run.identity.name,
        uid=uid,
        policy=policy,
        annotations=untrusted.annotations_of(resource),
        namespace_terminating=terminating,
        instance=rds.describe(identifier),
        manual_snapshot=rds.describe_snapshot(manual) if snapshots else None,
        final_snapshot=rds.describe_snapshot(final) if snapshots else None,
        destroyed_before=bool(status.get("instanceIdentifier")),
        approval=approval(resource, run.services.settings.raw),
        identifier=identifier,
        manual_identifier=manual,
        final_identifier=final,
    )


def _pending(run: DatabaseRun, instance: Optional[ObservedInstance]) -> Sequence[str]:
    """Where maintenance cannot be read, its phrase says so."""
    if instance is None or instance.owner_uid != run.identity.uid:
        return ()
    try:
        maintenance = run.services.rds.pending_maintenance(instance.arn)
    except PermanentError as error:
        maintenance = (str(error),)
    return pending_changes(instance, maintenance)
