"""Carry out a rotation of credentials: every step of `plan_rotation` that needs no waiting."""

from __future__ import annotations

from typing import Any, List, Mapping, NamedTuple, Optional, Tuple, Union

from kubestorm.clients.rds import ObservedInstance
from kubestorm.clients.services import Services
from kubestorm.core.errors import ConflictError
from kubestorm.core.naming import TAG_CREDENTIALS_PENDING, TAG_CREDENTIALS_VERSION
from kubestorm.kinds.database import plan_rotation as plan
from kubestorm.kinds.database.observe import observe_rotation

# Store, set, promote, conclude; more only when others write at the same time.
MOST_STEPS = 6


class Rotation(NamedTuple):
    """How far it got: the steps taken, and what it waits for, None where it does not."""

    steps: Tuple[str, ...] = ()
    waiting: Optional[str] = None
    fields: Mapping[str, Any] = {}
    """For status, to be written before the pending copy is deleted."""
    delete_pending: bool = False
    """The pending copy in Vault is no longer needed."""


def rotate(
    services: Services, path: str, resource: Mapping[str, Any], instance: ObservedInstance
) -> Rotation:
    """Safe to repeat and to be killed anywhere. The caller writes `fields` into status and then
    deletes the pending copy: in this order, a request is never carried out twice.
    """
    taken: List[str] = []
    for _ in range(MOST_STEPS):
        step = plan.next_step(observe_rotation(services, path, resource, instance))
        if step is None:
            return Rotation(tuple(taken))
        taken.append(type(step).__name__)
        if isinstance(step, plan.AwaitPassword):
            waiting = "RDS is applying the new password; the old one stays current until then."
            return Rotation(tuple(taken), waiting)
        if isinstance(step, plan.StorePending):
            services.vault.store_pending(
                path, instance.username, request=step.request, replaces=step.replaces
            )
            continue
        pending = services.vault.find_pending(path)
        if pending is None:
            continue  # another run was faster
        if isinstance(step, plan.Promote):
            services.vault.write(path, pending.username, pending.password, replaces=step.replaces)
            continue
        if isinstance(step, plan.SetPassword):
            services.rds.set_password(instance.identifier, pending.password)
            services.rds.tag(instance.arn, {TAG_CREDENTIALS_PENDING: pending.token})
            waiting = (
                "RDS has the new password; it becomes current in Vault once RDS has applied it."
            )
            return Rotation(tuple(taken), waiting)
        return _end(services, path, instance, step, tuple(taken))
    raise ConflictError(
        f"Gave up the rotation after {MOST_STEPS} steps: others keep changing the credentials.",
        service="Vault",
    )


def _end(
    services: Services,
    path: str,
    instance: ObservedInstance,
    step: Union[plan.Conclude, plan.Abandon],
    taken: Tuple[str, ...],
) -> Rotation:
    version = services.vault.version(path)
    # Vault has no version 0: after that tag, the next run gives the instance what Vault holds.
    tag = str(version) if isinstance(step, plan.Conclude) else "0"
    services.rds.tag(instance.arn, {TAG_CREDENTIALS_VERSION: tag})
    waiting = None
    if isinstance(step, plan.Abandon):
        waiting = "Somebody changed the credentials in Vault during the rotation; using those."
    fields = {plan.STATUS_FIELD: step.request, "vaultVersion": version}
    return Rotation(taken, waiting, fields, delete_pending=True)
