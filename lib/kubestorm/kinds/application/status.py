"""An Application's conditions and status fields. Pure."""

from __future__ import annotations

from typing import Any, Dict, Mapping, Optional, Sequence

from kubestorm.clients import resources
from kubestorm.core import untrusted
from kubestorm.core.conditions import FALSE, TRUE, UNKNOWN, Condition, StrEnum, condition_in, find
from kubestorm.kinds.application import apply, render
from kubestorm.kinds.application.apply import Outcome
from kubestorm.kinds.application.observe import ParsedApplication, current_image
from kubestorm.kinds.application.rollout.values import ABORTED, FAILED
from kubestorm.kinds.application.values import ApplicationSpec


class Reason(StrEnum):
    """Why an Application's conditions are as they are; also the reasons of its Events."""

    VALID = "Valid"
    INVALID_SPEC = "InvalidSpec"
    NO_HOST = "NoHost"
    CLAIMED = "Claimed"
    HOST_TAKEN = "HostTaken"
    APPLIED = "Applied"
    NOT_SUPPORTED_BY_CLUSTER = "NotSupportedByCluster"
    FIELDS_OWNED_BY_OTHERS = "FieldsOwnedByOthers"
    FOREIGN_OBJECT = "ForeignObject"
    CONFIGURATION_MISSING = "ConfigurationMissing"
    WAITING_FOR_CONFIGURATION = "WaitingForConfiguration"
    WAITING_FOR_DATABASE = "WaitingForDatabase"
    WAITING_FOR_IMAGE = "WaitingForImage"
    WAITING_FOR_PUSH = "WaitingForPush"
    ROLLING_OUT = "RollingOut"
    ROLLED_OUT = "RolledOut"
    ROLLOUT_CREATED = "RolloutCreated"
    SETTLING = "Settling"
    FROZEN = "Frozen"
    UNFROZEN = "Unfrozen"
    DIGEST_REFUSED = "DigestRefused"
    NO_SUCH_ROLLOUT = "NoSuchRollout"


SPEC_VALID, HOST_CLAIMED, APPLIED = "SpecValid", "HostClaimed", "Applied"
ROLLED_OUT = "RolledOut"
ORDER: Mapping[str, str] = {
    SPEC_VALID: "Waiting for the spec to be checked.",
    HOST_CLAIMED: "Waiting for the ingress host to be checked.",
    APPLIED: "Waiting for the objects to be applied.",
    ROLLED_OUT: "Waiting for the rollout.",
}
"""The conditions that lead to Ready, and the message of Ready while one is not written yet."""
VALID = Condition(SPEC_VALID, TRUE, Reason.VALID, "Spec is valid.")
NO_HOST = Condition(HOST_CLAIMED, TRUE, Reason.NO_HOST, "No ingress host requested.")


def applied_condition(
    parsed: ParsedApplication, outcomes: Sequence[Outcome], unsupported: str
) -> Condition:
    waiting = parsed.status.get("waitingFor")
    if isinstance(waiting, Mapping):
        return Condition(APPLIED, FALSE, str(waiting.get("reason")), str(waiting.get("message")))
    if unsupported:
        return Condition(APPLIED, FALSE, Reason.NOT_SUPPORTED_BY_CLUSTER, unsupported)
    left = apply.told(outcomes)
    if left:
        return Condition(APPLIED, FALSE, Reason.FIELDS_OWNED_BY_OTHERS, _left_message(parsed, left))
    return Condition(APPLIED, TRUE, Reason.APPLIED, "All objects are up to date.")


def with_left_fields(
    parsed: ParsedApplication, condition: Condition, outcomes: Sequence[Outcome]
) -> Condition:
    """The Deployment's condition, with the fields that are left to others. A number of pods is
    anybody's to set.
    """
    left = apply.told(outcomes)
    if not left:
        return condition
    if apply.is_serious(outcomes):
        return Condition(
            ROLLED_OUT, FALSE, Reason.FIELDS_OWNED_BY_OTHERS, _left_message(parsed, left)
        )
    return condition._replace(message=f"{condition.message} {_left_message(parsed, left)}")


def _left_message(parsed: ParsedApplication, left: Sequence[str]) -> str:
    name = parsed.app.name
    return (
        f"{'; '.join(left)}. To take the fields back: kubectl annotate "
        f"applications.kubestorm.io {name} "
        f"{resources.TAKE_FIELDS}=yes"
    )


# Why the desired image is not rolled out although the pods are available.
REFUSALS = frozenset((Reason.DIGEST_REFUSED, Reason.FROZEN))


def deployment_condition(deployment: Mapping[str, Any]) -> Condition:
    """Whether every pod is of the present template and serves, by the Deployment's status."""
    metadata, spec, status = (
        deployment["metadata"],
        deployment["spec"],
        untrusted.status(deployment),
    )
    wanted = untrusted.integer(spec.get("replicas"), 1)
    if untrusted.integer(status.get("observedGeneration")) < untrusted.integer(
        metadata.get("generation")
    ):
        return Condition(
            ROLLED_OUT, FALSE, Reason.ROLLING_OUT, "The Deployment has just been changed."
        )
    total, updated, available = (
        untrusted.integer(status.get(key))
        for key in ("replicas", "updatedReplicas", "availableReplicas")
    )
    if total == updated == available == wanted:
        return Condition(
            ROLLED_OUT, TRUE, Reason.ROLLED_OUT, f"{_pods(wanted)} up to date and available."
        )
    conditions = untrusted.mappings(status.get("conditions"))
    for kind in ("ReplicaFailure", "Progressing"):
        found = find(conditions, kind) or {}
        if (kind, found.get("status")) in (("ReplicaFailure", TRUE), ("Progressing", FALSE)):
            return Condition(
                ROLLED_OUT, FALSE, str(found.get("reason") or kind), str(found.get("message") or "")
            )
    message = f"{updated} of {wanted} pods are up to date, {available} available."
    return Condition(ROLLED_OUT, FALSE, Reason.ROLLING_OUT, message)


def waiting_for_image(app: ApplicationSpec, due: Mapping[str, Any]) -> Condition:
    """No image is known yet, or none may be rolled out now."""
    if due.get("message"):
        return Condition(
            ROLLED_OUT,
            UNKNOWN,
            str(due.get("reason") or Reason.WAITING_FOR_PUSH),
            str(due["message"]),
        )
    if app.follow is None:
        message = "No image selected: spec.follow is not set. Choose one with application_rollout."
        return Condition(ROLLED_OUT, UNKNOWN, Reason.WAITING_FOR_IMAGE, message)
    message = f"No image of {app.image} that spec.follow selects is known yet; waiting for a push."
    return Condition(ROLLED_OUT, UNKNOWN, Reason.WAITING_FOR_PUSH, message)


def refused(due: Mapping[str, Any], status: Mapping[str, Any]) -> Condition:
    """The pods are available, but the desired image is not rolled out. The message of its Rollout
    is kept.
    """
    told = condition_in(status, ROLLED_OUT)
    phase = untrusted.mapping(status.get("rollout")).get("phase")
    if (
        due["reason"] == Reason.DIGEST_REFUSED
        and told.get("status") == FALSE
        and phase in (FAILED, ABORTED)
    ):
        return Condition(ROLLED_OUT, FALSE, str(told.get("reason")), str(told.get("message")))
    return Condition(ROLLED_OUT, FALSE, str(due["reason"]), str(due["message"]))


def pod_fields(
    app: ApplicationSpec, track: str, deployment: Optional[Mapping[str, Any]]
) -> Dict[str, Any]:
    """The fields of status that sum the pods up; None removes one."""
    status = untrusted.status(deployment)
    image = current_image(deployment)
    labels = render.labels(app.name)
    return {
        "activeTrack": track,
        "image": {"repository": app.image, "tag": image.tag, "digest": image.digest}
        if image
        else None,
        "replicas": untrusted.integer(status.get("replicas")),
        "availableReplicas": untrusted.integer(status.get("availableReplicas")),
        "selector": f"{render.APPLICATION_LABEL}={labels[render.APPLICATION_LABEL]}",
    }


def _pods(count: int) -> str:
    return "1 pod is" if count == 1 else f"{count} pods are"
