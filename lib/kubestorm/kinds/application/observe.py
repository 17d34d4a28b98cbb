"""What an Application's objects in the cluster say: the active track and the image that it runs."""

from __future__ import annotations

from typing import Any, Mapping, NamedTuple, Optional

from kubestorm.clients import resources
from kubestorm.core import untrusted
from kubestorm.kinds.application import render
from kubestorm.kinds.application.values import ApplicationSpec
from kubestorm.kinds.common.resource import Object


class ParsedApplication(NamedTuple):
    """The object as one step sees it."""

    resource: Object
    app: ApplicationSpec
    generation: int

    @property
    def takes(self) -> bool:
        """Whether a person has asked to take fields from their owners."""
        return bool(untrusted.annotations_of(self.resource).get(resources.TAKE_FIELDS))

    @property
    def status(self) -> Mapping[str, Any]:
        return untrusted.status(self.resource)


def active_track(application: Mapping[str, Any], service: Optional[Mapping[str, Any]]) -> str:
    """Which track carries the good image: the Service says it, or the Application where there is no
    Service.
    """
    for obj in (service, application):
        said = untrusted.annotations_of(obj).get(resources.ACTIVE_TRACK)
        if said:
            return said
    return render.STABLE


def digest_of(deployment: Mapping[str, Any]) -> str:
    """The digest that its first container runs; empty where the image is not pinned."""
    containers = deployment["spec"]["template"]["spec"].get("containers") or [{}]
    return str(containers[0].get("image") or "").partition("@")[2]


PREFIX = "sha256:"


class Image(NamedTuple):
    """One image by digest, and the tag under which it was found."""

    digest: str
    tag: str = ""


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
    """The image of the last Rollout that came to all pods, as `ensure_rollout` returns it."""
    return Image(str(due["good"]), str(due.get("good_tag") or "")) if due.get("good") else None
