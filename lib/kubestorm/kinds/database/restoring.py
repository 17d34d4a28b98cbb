"""Whose data a Database may begin with: that of its own namespace, and what operations allow.

The pack's credentials reach every snapshot of the account, and the name of an instance follows from
namespace and name, so a name is no right. What counts are the tags that the pack itself sets: those
of this cluster and this namespace. What has none (made by hand, of an instance that does not copy
its tags, shared by another account) is nobody's until operations name it (`restore_from` in
`database.limits`).
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Collection, NamedTuple, Optional

from kubestorm.clients.rds import RdsClient
from kubestorm.core import untrusted
from kubestorm.core.naming import TAG_CLUSTER, TAG_NAMESPACE, Identity
from kubestorm.kinds.database.plan import Refuse
from kubestorm.kinds.database.spec import DatabaseSpec

REFUSED = "RestoreRefused"


class Source(NamedTuple):
    """What is to be restored: the field that names it, what it is, its identifier."""

    field: str
    what: str
    identifier: str


def source_of(spec: DatabaseSpec) -> Optional[Source]:
    """What the spec begins with; None where it begins empty."""
    if spec.restore_snapshot:
        return Source("spec.restoreFrom.snapshot", "snapshot", spec.restore_snapshot)
    if spec.restore_point:
        field = "spec.restoreFrom.pointInTime.sourceInstance"
        return Source(field, "instance", spec.restore_point.source_instance)
    return None


def is_allowed(identifier: str, patterns: Collection[str]) -> bool:
    """Whether operations let it be restored, whosever it is. RDS takes identifiers in any case."""
    return any(fnmatchcase(identifier.lower(), pattern.lower()) for pattern in patterns)


def refusal(
    rds: RdsClient, spec: DatabaseSpec, identity: Identity, allowed: Collection[str]
) -> Optional[Refuse]:
    """Why it is not restored, None where it may be. Looks at the source in RDS, and changes
    nothing.

    One sentence for what is not there and for what is another's: who may not have it is not told
    whether it is there.
    """
    source = source_of(spec)
    if source is None or is_allowed(source.identifier, allowed):
        return None
    look = rds.describe_snapshot if spec.restore_snapshot else rds.describe
    found = look(source.identifier)
    tags = found.tags if found is not None else {}
    if (tags.get(TAG_CLUSTER), tags.get(TAG_NAMESPACE)) == (identity.cluster, identity.namespace):
        return None
    message = (
        f"{source.field}: RDS has no {source.what} {untrusted.shown(source.identifier)} that is, "
        f"by its tags, of namespace {identity.namespace} in cluster {identity.cluster}, and "
        "operations allow no other of that name here; name one of this namespace, or ask "
        "operations to allow it (restore_from in database.limits)."
    )
    return Refuse(REFUSED, message, change=True)
