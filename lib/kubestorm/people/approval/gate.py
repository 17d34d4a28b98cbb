"""For whoever has to wait: where the approval of a deletion stands. Pure. Rollouts have
`rollout.approval`.
"""

from __future__ import annotations

from typing import Any, Mapping, NamedTuple

from kubestorm.people.approval.proposal import deletion_hash
from kubestorm.people.approval.record import EXPIRED, GRANTED, REFUSED, WAITING, read
from kubestorm.people.approval.settings import DELETE, ApprovalSettings

NOT_NEEDED = "not_needed"
AWAITING = "AwaitingApproval"
"""The reason of a condition that waits for people; the sensor then has somebody asked."""


class Standing(NamedTuple):
    """`state` is not_needed, waiting, granted, refused or expired."""

    state: str = NOT_NEEDED
    by: str = ""

    @property
    def is_open(self) -> bool:
        """Whether nothing stands in the way."""
        return self.state in (NOT_NEEDED, GRANTED)


def deletion(database: Mapping[str, Any], config: Mapping[str, Any]) -> Standing:
    """Whether a Database's data may be destroyed, by configuration and the object's status."""
    metadata = database["metadata"]
    if (
        ApprovalSettings.from_config(config).rule_for(str(metadata.get("namespace") or ""), DELETE)
        is None
    ):
        return Standing()
    record = read(database)
    if record is None or record.what != DELETE or record.content_hash != deletion_hash(database):
        return Standing(WAITING)
    return Standing(record.state, record.by)


def deletion_sentence(standing: Standing, name: str) -> str:
    """What a condition says of it."""
    again = (
        f"To ask again: kubectl patch databases.kubestorm.io {name} --subresource=status "
        """--type=merge -p '{"status": {"approval": null}}'"""
    )
    if standing.state == REFUSED:
        return f"{standing.by or 'Somebody'} refused to have the data destroyed. {again}"
    if standing.state == EXPIRED:
        return f"Nobody approved the deletion in time. {again}"
    return "Waiting for approval: somebody else has to approve that the data is destroyed."


def deletion_reason(standing: Standing) -> str:
    """The condition's reason."""
    return {REFUSED: "ApprovalRefused", EXPIRED: "ApprovalExpired"}.get(standing.state, AWAITING)
