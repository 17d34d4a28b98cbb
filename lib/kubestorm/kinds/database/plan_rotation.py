"""The next step of a rotation of credentials. Pure: what Vault and RDS say in, one step out.

The new password is first stored in Vault next to the current one (`<path>/pending`), then set in
RDS, then, once RDS has applied it, made the current one with check-and-set. Readers see the current
one until then. All state is in these places, so a run that died is simply repeated; at each moment
the password that opens the instance is in Vault, as the current or as the pending one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping, NamedTuple, Optional, Union

from kubestorm.core import untrusted
from kubestorm.core.naming import ROTATE_ANNOTATION

STATUS_FIELD = "credentialsRotation"


@dataclass(frozen=True)
class RotationState:
    """What the decision needs."""

    request: Optional[str]
    """The rotation that the object's annotation asks for, None without one."""
    done: Optional[str]
    """The request that status says was carried out last."""
    current_version: int
    """The version of the current secret; 0 where there is none."""
    pending_request: Optional[str]
    """The request of the pending secret, None where there is no pending one."""
    pending_replaces: int
    pending_token: str
    promoted: bool
    """The current secret holds the pending one's password."""
    instance_token: Optional[str]
    """The rotation whose password RDS was given last, by the instance's tag."""
    instance_settled: bool
    """The instance is available and has no password left to apply."""


class StorePending(NamedTuple):
    """Make a new password and store it next to the current one, which is version `replaces`."""

    request: str
    replaces: int


class SetPassword(NamedTuple):
    """Give the instance the pending password, then tag it with the token: in this order, a repeat
    sets it again.
    """


class AwaitPassword(NamedTuple):
    """RDS is applying it."""


class Promote(NamedTuple):
    """Make the pending password the version after `replaces`."""

    replaces: int


class Conclude(NamedTuple):
    """The current secret opens the instance: tag it with the version, record the request, delete
    the pending copy.
    """

    request: str


class Abandon(NamedTuple):
    """Somebody else changed the current secret meanwhile: give the instance theirs."""

    request: str


Step = Union[StorePending, SetPassword, AwaitPassword, Promote, Conclude, Abandon]


def requested(resource: Mapping[str, Any]) -> Optional[str]:
    """The rotation that the object's annotation asks for, None without one."""
    return untrusted.annotations_of(resource).get(ROTATE_ANNOTATION) or None


def is_rotating(state: RotationState) -> bool:
    """Whether a rotation is asked for or under way."""
    return state.pending_request is not None or bool(state.request and state.request != state.done)


def next_step(state: RotationState) -> Optional[Step]:
    """The one next thing to do, None when there is no rotation."""
    if state.pending_request is None:
        if state.request and state.request != state.done:
            return StorePending(state.request, state.current_version)
        return None
    if state.promoted:
        return Conclude(state.pending_request)
    if state.current_version != state.pending_replaces:
        return Abandon(state.pending_request)
    if state.instance_token != state.pending_token:
        return SetPassword() if state.instance_settled else AwaitPassword()
    if not state.instance_settled:
        return AwaitPassword()
    return Promote(state.pending_replaces)
