"""What a kind asks before it destroys data: did people approve? A port; `people.approval.gate`
implements it and the action hands it in.
"""

from __future__ import annotations

from typing import Any, Mapping, NamedTuple, Protocol

NOT_NEEDED = "not_needed"
WAITING, GRANTED, REFUSED, EXPIRED = "waiting", "granted", "refused", "expired"


class Approval(NamedTuple):
    """`state` is one of the words above; `by` is who decided, where that is known."""

    state: str = NOT_NEEDED
    by: str = ""

    @property
    def is_open(self) -> bool:
        """Whether the deletion may go on."""
        return self.state in (NOT_NEEDED, GRANTED)


NO_APPROVAL_NEEDED = Approval()


class DeletionGate(Protocol):
    """Whether the data of this object may be destroyed."""

    def __call__(self, resource: Mapping[str, Any], config: Mapping[str, Any], /) -> Approval:
        """`resource` as the Kubernetes API returns it, `config` the pack's configuration."""
