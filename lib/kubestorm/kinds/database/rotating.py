"""A rotation carried out: looks at Vault and RDS, does what `rotation` decides, as far as that goes
without waiting.
"""

from __future__ import annotations

from typing import Any, List, Mapping, NamedTuple, Optional, Tuple, Union

from kubestorm.clients.rds import ObservedInstance
from kubestorm.clients.services import Services
from kubestorm.core import untrusted
from kubestorm.core.errors import ConflictError
from kubestorm.core.naming import (
    ROTATE_ANNOTATION,
    TAG_CREDENTIALS_PENDING,
    TAG_CREDENTIALS_VERSION,
)
from kubestorm.kinds.database import rotation

STATUS_FIELD = "credentialsRotation"
# Store, set, promote, conclude; more only when others write at the same time.
MOST_STEPS = 6


class Rotation(NamedTuple):
    """How far it got. `fields` are for status, to be written before `forget`; `waiting` says why it
    is not done yet.
    """

    steps: Tuple[str, ...] = ()
    waiting: Optional[str] = None
    fields: Mapping[str, Any] = {}
    forget: bool = False
    """The pending copy has done its work."""


def requested(resource: Mapping[str, Any]) -> Optional[str]:
    """What the object's annotation asks for."""
    value = untrusted.annotations_of(resource).get(ROTATE_ANNOTATION)
    return str(value) if value else None


def observe(
    services: Services, path: str, resource: Mapping[str, Any], instance: ObservedInstance
) -> rotation.RotationState:
    """What there is now, without a secret in it."""
    pending = services.vault.find_pending(path)
    current = services.vault.find(path) if pending else None
    return rotation.RotationState(
        request=requested(resource),
        done=untrusted.text(untrusted.status(resource).get(STATUS_FIELD)) or None,
        current_version=services.vault.version(path),
        pending_request=pending.request if pending else None,
        pending_replaces=pending.replaces if pending else 0,
        pending_token=pending.token if pending else "",
        promoted=bool(pending and current and current.password.same_as(pending.password)),
        instance_token=instance.tags.get(TAG_CREDENTIALS_PENDING),
        instance_settled=instance.status == "available" and not instance.password_pending,
    )


def carry_on(
    services: Services, path: str, resource: Mapping[str, Any], instance: ObservedInstance
) -> Rotation:
    """Take every step that can be taken now. Safe to repeat and to be killed anywhere.

    The caller writes `fields` into status and then calls `forget`: in this order, a request is
    never carried out twice.
    """
    taken: List[str] = []
    for _ in range(MOST_STEPS):
        step = rotation.next_step(observe(services, path, resource, instance))
        if step is None:
            return Rotation(tuple(taken))
        taken.append(type(step).__name__)
        if isinstance(step, rotation.AwaitPassword):
            waiting = (
                "RDS is applying the new password; the old one stays the current one in Vault "
                "until then."
            )
            return Rotation(tuple(taken), waiting)
        if isinstance(step, rotation.StorePending):
            services.vault.store_pending(
                path, instance.username, request=step.request, replaces=step.replaces
            )
            continue
        pending = services.vault.find_pending(path)
        if pending is None:
            continue  # another run was faster
        if isinstance(step, rotation.Promote):
            services.vault.write(path, pending.username, pending.password, replaces=step.replaces)
            continue
        if isinstance(step, rotation.SetPassword):
            services.rds.set_password(instance.identifier, pending.password)
            services.rds.tag(instance.arn, {TAG_CREDENTIALS_PENDING: pending.token})
            waiting = (
                "RDS was given a new password; it becomes the current one in Vault when RDS has "
                "applied it."
            )
            return Rotation(tuple(taken), waiting)
        return _end(services, path, instance, step, tuple(taken))
    raise ConflictError(
        "The credentials are changed by others all the time; try again.", service="Vault"
    )


def forget(services: Services, path: str) -> None:
    """Remove the pending copy. Safe to repeat."""
    services.vault.delete_pending(path)


def _end(
    services: Services,
    path: str,
    instance: ObservedInstance,
    step: Union[rotation.Conclude, rotation.Abandon],
    taken: Tuple[str, ...],
) -> Rotation:
    version = services.vault.version(path)
    if isinstance(step, rotation.Conclude):
        services.rds.tag(instance.arn, {TAG_CREDENTIALS_VERSION: str(version)})
        return Rotation(
            taken, None, {STATUS_FIELD: step.request, "vaultVersion": version}, forget=True
        )
    # No version is 0: the next look gives the instance what Vault holds.
    services.rds.tag(instance.arn, {TAG_CREDENTIALS_VERSION: "0"})
    waiting = (
        "Somebody else changed the credentials in Vault during the rotation; the instance is "
        "given theirs."
    )
    return Rotation(
        taken, waiting, {STATUS_FIELD: step.request, "vaultVersion": version}, forget=True
    )
