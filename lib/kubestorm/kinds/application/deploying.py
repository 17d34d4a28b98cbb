"""The active track's Deployment: which image it has, whether it is as it should be, and what is
said of that.

Which image comes next is a Rollout's to decide; here a Deployment follows its Application's other
values (environment, configuration, resources), with the image that it has.
"""

from __future__ import annotations

from typing import Any, Dict, Mapping, NamedTuple, Optional

from kubestorm.core import untrusted
from kubestorm.core.conditions import FALSE, TRUE, UNKNOWN, Condition, condition_in, find
from kubestorm.kinds.application import render
from kubestorm.kinds.application.values import ApplicationSpec

ROLLED_OUT = "RolledOut"
PREFIX = "sha256:"
# Why an image that is wished for is not rolled out, though nothing hinders the pods.
REFUSALS = frozenset(("DigestRefused", "Frozen"))

Object = Dict[str, Any]


class Image(NamedTuple):
    """One image by digest, and the tag under which it was found."""

    digest: str
    tag: str = ""


def active_track(resource: Mapping[str, Any], service: Optional[Mapping[str, Any]]) -> str:
    """Which track serves: the Service says it; where there is none, the Application itself."""
    for holder in (service, resource):
        if holder is not None:
            track = untrusted.annotations_of(holder).get(render.ACTIVE_TRACK_ANNOTATION)
            if track:
                return str(track)
    return render.STABLE


def current_image(deployment: Optional[Mapping[str, Any]]) -> Optional[Image]:
    """What a Deployment runs; None where there is none, or none by digest."""
    if deployment is None:
        return None
    for container in deployment["spec"]["template"]["spec"].get("containers") or ():
        _, found, digest = str(container.get("image", "")).partition(f"@{PREFIX}")
        if container.get("name") == render.CONTAINER and found:
            tag = untrusted.annotations_of(deployment).get(render.IMAGE_TAG_ANNOTATION, "")
            return Image(f"{PREFIX}{digest}", str(tag))
    return None


def good_image(due: Mapping[str, Any]) -> Optional[Image]:
    """The image of the last Rollout that came to all pods, as `ensure_rollout` tells it."""
    return Image(str(due["good"]), str(due.get("good_tag") or "")) if due.get("good") else None


def judge(deployment: Mapping[str, Any]) -> Condition:
    """Whether every pod is of the present template and serves, by the Deployment's own word."""
    metadata, spec, status = (
        deployment["metadata"],
        deployment["spec"],
        untrusted.status(deployment),
    )
    wanted = untrusted.integer(spec.get("replicas"), 1)
    if untrusted.integer(status.get("observedGeneration")) < untrusted.integer(
        metadata.get("generation")
    ):
        return Condition(ROLLED_OUT, FALSE, "RollingOut", "The Deployment has just been changed.")
    total, updated, available = (
        untrusted.integer(status.get(key))
        for key in ("replicas", "updatedReplicas", "availableReplicas")
    )
    if total == updated == available == wanted:
        return Condition(
            ROLLED_OUT, TRUE, "RolledOut", f"{_pods(wanted)} up to date and available."
        )
    conditions = untrusted.mappings(status.get("conditions"))
    for kind in ("ReplicaFailure", "Progressing"):
        found = find(conditions, kind) or {}
        if (kind, found.get("status")) in (("ReplicaFailure", TRUE), ("Progressing", FALSE)):
            return Condition(
                ROLLED_OUT, FALSE, str(found.get("reason") or kind), str(found.get("message") or "")
            )
    message = f"{updated} of {wanted} pods are up to date, {available} available."
    return Condition(ROLLED_OUT, FALSE, "RollingOut", message)


def waiting_for_image(app: ApplicationSpec, due: Mapping[str, Any]) -> Condition:
    """No image is known yet, or none may be rolled out now."""
    if due.get("message"):
        return Condition(
            ROLLED_OUT, UNKNOWN, str(due.get("reason") or "WaitingForPush"), str(due["message"])
        )
    if app.follow is None:
        message = (
            "No image is chosen: spec.follow is left out, so a person chooses one with "
            "application_rollout."
        )
        return Condition(ROLLED_OUT, UNKNOWN, "WaitingForImage", message)
    message = (
        f"No image of {app.image} that spec.follow names is known yet; the next push brings one."
    )
    return Condition(ROLLED_OUT, UNKNOWN, "WaitingForPush", message)


def refused(due: Mapping[str, Any], status: Mapping[str, Any]) -> Condition:
    """The pods are well, and the image that is wished for is not rolled out. What its Rollout said
    stays.
    """
    told = condition_in(status, ROLLED_OUT)
    phase = untrusted.mapping(status.get("rollout")).get("phase")
    if (
        due["reason"] == "DigestRefused"
        and told.get("status") == FALSE
        and phase in ("Failed", "Aborted")
    ):
        return Condition(ROLLED_OUT, FALSE, str(told.get("reason")), str(told.get("message")))
    return Condition(ROLLED_OUT, FALSE, str(due["reason"]), str(due["message"]))


def status_of(
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
