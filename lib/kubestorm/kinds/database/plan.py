"""What has to be done so that an RDS instance is what a Database asks for. Pure: values in, a list
of decisions out. `plan_changes` compares the fields, `plan_rotation`, `plan_snapshot` and
`plan_deletion` decide about credentials, requested snapshots and the end.

All or nothing: where one field asks for what AWS cannot do, the whole change is refused before any
call, so that an instance never has half of a spec.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any, Collection, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

from kubestorm.clients.rds import ObservedInstance
from kubestorm.core import untrusted
from kubestorm.core.conditions import condition_in
from kubestorm.core.naming import (
    RECREATE_ANNOTATION,
    TAG_CLUSTER,
    TAG_CREDENTIALS_VERSION,
    TAG_NAMESPACE,
    TAG_UID,
    Identity,
)
from kubestorm.kinds.database.plan_changes import (
    Change,
    Refuse,
    differences,
    is_pending,
    refuse_impossible,
)
from kubestorm.kinds.database.spec import DatabaseSpec
from kubestorm.kinds.database.status import (
    BROKEN,
    INSTANCE_AVAILABLE,
    SERVING,
    Reason,
    busy_message,
    busy_reason,
    has_endpoint,
)


class Create(NamedTuple):
    """Create the instance, or restore it where the spec says so."""


class Modify(NamedTuple):
    """Change these fields."""

    changes: Tuple[Change, ...]


class RotatePassword(NamedTuple):
    """The instance was given an older version of the credentials than Vault holds."""

    version: int


class Tag(NamedTuple):
    """Set these tags on it (ours, after adopting; or the resource's own)."""

    tags: Mapping[str, str]


class Wait(NamedTuple):
    """RDS is busy. `settled`: the instance serves; the rest follows in the maintenance window."""

    reason: str
    message: str
    settled: bool = False


Decision = Union[Create, Modify, RotatePassword, Tag, Wait, Refuse]


def plan_instance(
    spec: DatabaseSpec,
    observed: Optional[ObservedInstance],
    *,
    uid: str,
    identifier: str,
    tags: Mapping[str, str],
    credentials_version: Optional[int] = None,
    apply_immediately: bool = True,
    vanished: bool = False,
    restore_refused: Optional[Refuse] = None,
) -> Tuple[Decision, ...]:
    """The decisions, in the order to carry out; empty when nothing differs and nothing is under
    way.

    `tags` are all that the instance should carry. `credentials_version` is the version of the Vault
    secret, None where the password is not ours to set. `vanished`: see `has_vanished`; an empty
    database under a known name would hide that the data is gone. `restore_refused`: why the source
    that the spec names may not be restored.
    """
    if observed is None:
        refusal = _refuse_absent(spec, identifier, vanished=vanished) or restore_refused
        return (refusal,) if refusal else (Create(),)
    refusal = _refuse_foreign(spec, observed, uid) or refuse_impossible(spec, observed)
    if refusal:
        return (refusal,)
    if observed.status in BROKEN:
        message = (
            f"RDS instance {observed.identifier} is {observed.status}; operations have to "
            "repair it in AWS."
        )
        return (Refuse(Reason.INSTANCE_BROKEN, message),)
    decisions: List[Decision] = []
    missing_tags = {key: value for key, value in tags.items() if observed.tags.get(key) != value}
    if missing_tags:
        decisions.append(Tag(missing_tags))
    if observed.status not in SERVING:
        return (*decisions, _wait(observed))
    changes = differences(spec, observed)
    waiting = tuple(change for change in changes if is_pending(change, observed))
    ready = tuple(change for change in changes if change not in waiting)
    rotate = needs_password(observed, credentials_version)
    if (ready or rotate) and observed.status != "available":
        return (*decisions, _wait(observed))
    if ready:
        decisions.append(Modify(ready))
    if rotate and credentials_version is not None:
        decisions.append(RotatePassword(credentials_version))
    if waiting and not ready:
        if apply_immediately:
            decisions.append(Wait(Reason.MODIFYING, f"Changing {listed(waiting)}."))
        else:
            message = f"RDS will change {listed(waiting)} in the maintenance window."
            decisions.append(Wait(Reason.PENDING_MAINTENANCE, message, settled=True))
    return tuple(decisions)


def pending_changes(observed: ObservedInstance, maintenance: Sequence[str] = ()) -> Tuple[str, ...]:
    """What RDS has accepted and not applied yet, a phrase each: changes, a reboot, maintenance."""
    changes = tuple(f"{name} becomes {value}" for name, value in sorted(observed.pending.items()))
    reboot = (
        (f"a reboot, for parameter group {observed.parameter_group}",)
        if observed.pending_reboot
        else ()
    )
    return (*changes, *reboot, *maintenance)


def needs_password(observed: ObservedInstance, credentials_version: Optional[int]) -> bool:
    """Whether Vault holds newer credentials than the instance was given."""
    given = observed.tags.get(TAG_CREDENTIALS_VERSION)
    return (
        credentials_version is not None and given is not None and given != str(credentials_version)
    )


def has_vanished(resource: Mapping[str, Any], generation: int) -> bool:
    """Whether an absent instance is a loss: it served once, and no one has said since how to go on.
    `resource` has the spec of a Database. `generation` is that of the spec, 0 for a kind whose
    generation counts our own writes: there no new spec can answer.
    """
    if not has_endpoint(resource):
        return False
    name = resource["metadata"]["name"]
    if untrusted.annotations_of(resource).get(RECREATE_ANNOTATION) == name:
        return False
    condition = condition_in(untrusted.status(resource), INSTANCE_AVAILABLE)
    # Only a restoreFrom that was set after the loss was reported counts: the first one would bring
    # back the data of long ago unasked. One that was refused was set as an answer.
    answered = condition.get("reason") == Reason.RESTORE_REFUSED or (
        condition.get("reason") == Reason.INSTANCE_VANISHED
        and untrusted.integer(condition.get("observedGeneration")) < generation
    )
    return not (answered and (resource.get("spec") or {}).get("restoreFrom"))


def _refuse_absent(spec: DatabaseSpec, identifier: str, *, vanished: bool) -> Optional[Refuse]:
    """Why no instance is created, None where it may be."""
    if spec.adopt:
        message = (
            f"spec.adopt names the RDS instance {spec.adopt}, which does not exist; correct the "
            "name or leave it out."
        )
        return Refuse(Reason.ADOPTED_INSTANCE_MISSING, message)
    if vanished:
        message = (
            f"The RDS instance {identifier} of this Database no longer exists. No empty one is "
            "created in its place. To restore the data, set or change spec.restoreFrom; to start "
            f"again with spec as it is, annotate this resource with "
            f"{RECREATE_ANNOTATION}=NAME, its own name."
        )
        return Refuse(Reason.INSTANCE_VANISHED, message)
    if not identifier:
        return Refuse(Reason.INVALID_SPEC, "the instance has no identifier")
    return None


class RestoreSource(NamedTuple):
    """What is to be restored: the field that names it, `snapshot` or `instance`, its identifier."""

    field: str
    what: str
    identifier: str

    def is_allowed(self, patterns: Collection[str]) -> bool:
        """Whether operations let it be restored, whosever it is. RDS takes identifiers in any
        case.
        """
        name = self.identifier.lower()
        return any(fnmatchcase(name, pattern.lower()) for pattern in patterns)


def restore_source(spec: DatabaseSpec) -> Optional[RestoreSource]:
    """What the spec begins with; None where it begins empty."""
    if spec.restore_snapshot:
        return RestoreSource("spec.restoreFrom.snapshot", "snapshot", spec.restore_snapshot)
    if spec.restore_point:
        field = "spec.restoreFrom.pointInTime.sourceInstance"
        return RestoreSource(field, "instance", spec.restore_point.source_instance)
    return None


def refuse_restore(
    source: RestoreSource, tags: Mapping[str, str], identity: Identity
) -> Optional[Refuse]:
    """Why it is not restored, None where it may be. `tags` are those of the source in RDS, none
    where it does not exist.

    The pack's credentials reach every snapshot of the account, so a name is no right. What counts
    are the tags that the pack sets itself: those of this cluster and namespace. What has none is
    nobody's until operations name it (`restore_from` in `database.limits`). The message is the same
    for what does not exist and for what is another namespace's.
    """
    if (tags.get(TAG_CLUSTER), tags.get(TAG_NAMESPACE)) == (identity.cluster, identity.namespace):
        return None
    message = (
        f"{source.field}: RDS has no {source.what} {untrusted.shown(source.identifier)} that is, "
        f"by its tags, of namespace {identity.namespace} in cluster {identity.cluster}, and "
        "operations allow no other of that name here; name one of this namespace, or ask "
        "operations to allow it (restore_from in database.limits)."
    )
    return Refuse(Reason.RESTORE_REFUSED, message, change=True)


def _refuse_foreign(spec: DatabaseSpec, observed: ObservedInstance, uid: str) -> Optional[Refuse]:
    owner = observed.owner_uid
    if owner == uid or (spec.adopt == observed.identifier and owner is None):
        return None
    whose = f"belongs to the Database with uid {owner}" if owner else "has no owner"
    message = f"RDS instance {observed.identifier} already exists and {whose}; not changed. " + (
        "Delete that Database first, or choose another name."
        if owner and spec.adopt
        else f"To adopt it, set spec.adopt: {observed.identifier}"
        + (f" after operations removed its tag {TAG_UID}." if owner else ".")
    )
    return Refuse(Reason.FOREIGN_INSTANCE, message)


def _wait(observed: ObservedInstance) -> Wait:
    return Wait(busy_reason(observed.status), busy_message(observed))


def listed(changes: Sequence[Change]) -> str:
    return ", ".join(str(change) for change in changes)
