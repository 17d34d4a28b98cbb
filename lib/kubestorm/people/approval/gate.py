"""Whether people approved a deletion: a kinds.common.approval.DeletionGate. Pure. Rollouts
have `rollout.approval`.
"""

from __future__ import annotations

from typing import Any, Mapping

from kubestorm.kinds.common.approval import WAITING, Approval
from kubestorm.people.approval.proposal import deletion_hash
from kubestorm.people.approval.record import read
from kubestorm.people.approval.settings import DELETE, ApprovalSettings


def deletion(database: Mapping[str, Any], config: Mapping[str, Any]) -> Approval:
    """Whether a Database's data may be destroyed, by configuration and the object's status."""
    metadata = database["metadata"]
    settings = ApprovalSettings.from_config(config)
    if settings.rule_for(str(metadata.get("namespace") or ""), DELETE) is None:
        return Approval()
    record = read(database)
    if record is None or record.what != DELETE or record.content_hash != deletion_hash(database):
        return Approval(WAITING)
    return Approval(record.state, record.by)
