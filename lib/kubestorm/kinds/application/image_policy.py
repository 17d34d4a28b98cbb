"""The image that an Application should run: an annotation, written by a push to a tag that it
follows or by a person, and replaced only by a newer one.

A push costs one list of Applications and one write to each that follows it; what it leads to is
decided by the Application's own run.
"""

from __future__ import annotations

import datetime as dt
import json
from typing import Any, Dict, List, Mapping, Optional

from kubestorm.clients import resources
from kubestorm.clients.services import Services
from kubestorm.core import status_requests, untrusted
from kubestorm.core.errors import ConflictError, DefinitionError, NotFoundError
from kubestorm.core.tag_policy import (
    Candidate,
    is_newer,
    matches,
    narrowed,
    needs_time,
    newest,
    parse_follow,
)
from kubestorm.core.times import format_milliseconds, parse_time
from kubestorm.core.untrusted import annotations_of, json_object, text
from kubestorm.kinds.application.rollout.settings import RolloutSettings
from kubestorm.kinds.application.rollout.values import FOLLOW, PUSH, DesiredImage
from kubestorm.kinds.application.spec import InvalidSpecError, parse, split_image
from kubestorm.kinds.application.values import ApplicationSpec


def desired_image_of(application: Mapping[str, Any]) -> Optional[DesiredImage]:
    """The desired image; None where there is none, or it cannot be read."""
    said = json_object(annotations_of(application).get(resources.WANTED_IMAGE))
    digest = text(said.get("digest"))
    if not digest.startswith("sha256:"):
        return None
    return DesiredImage(
        digest=digest,
        tag=text(said.get("tag")),
        id=text(said.get("event_id"), digest),
        recorded_at=parse_time(said.get("recorded_at")),
        pushed_at=parse_time(said.get("pushed_at")),
        by=text(said.get("actor")),
        cause=text(said.get("cause"), PUSH),
        follows=bool(said.get("follows")),
    )


def desired_image_annotation(desired: DesiredImage) -> str:
    """The annotation's value: one line of JSON."""
    said = {
        "digest": desired.digest,
        "tag": desired.tag,
        "event_id": desired.id,
        "recorded_at": format_milliseconds(desired.recorded_at),
        "pushed_at": format_milliseconds(desired.pushed_at),
        "actor": desired.by,
        "cause": desired.cause,
        "follows": desired.follows,
    }
    return json.dumps({key: value for key, value in said.items() if value}, sort_keys=True)


ATTEMPTS = 5
MOST_TIMES_ASKED = 50
"""Images whose time is asked for where an order by time has to begin somewhere; the last ones by
name.
"""
Object = Dict[str, Any]


def route(services: Services, pushed: Mapping[str, Any]) -> Mapping[str, Any]:
    """Write the pushed image to every Application that follows it; `pushed` is the payload of
    image_pushed.

    Safe to repeat. `followers` are the Applications that follow the tag, `updated` those for which
    it is the newest.
    """
    registry, repository = str(pushed.get("registry") or ""), str(pushed.get("repository") or "")
    tag, digest = str(pushed.get("tag") or ""), str(pushed.get("digest") or "")
    if not digest.startswith("sha256:") or not repository:
        raise DefinitionError(
            "A push names a repository and a digest (sha256:...).", field="digest"
        )
    followers: List[str] = []
    wanted: List[str] = []
    if tag:
        desired = _pushed_image(services, pushed, tag, digest)
        for resource in services.kube.list_all(resources.APPLICATIONS):
            if not _may_follow(resource, repository):
                continue
            spec = _parsed(resource, services)
            if spec is None or (spec.registry, spec.repository) != (registry, repository):
                continue
            if not follows(spec, tag):
                continue
            where = f"{spec.namespace}/{spec.name}"
            followers.append(where)
            if record_desired_image(services, resource, spec, desired):
                wanted.append(where)
    return {"tag": tag, "digest": digest, "followers": followers, "updated": wanted}


def _pushed_image(
    services: Services, pushed: Mapping[str, Any], tag: str, digest: str
) -> DesiredImage:
    return DesiredImage(
        digest=digest,
        tag=tag,
        id=str(pushed.get("event_id") or digest),
        recorded_at=services.now(),
        pushed_at=parse_time(pushed.get("pushed_at")),
        by=str(pushed.get("actor") or ""),
        cause=PUSH,
    )


def _may_follow(resource: Mapping[str, Any], repository: str) -> bool:
    """A cheap check before the whole spec is parsed."""
    spec = resource.get("spec") or {}
    said = (spec.get("image") or {}).get("repository")
    return bool(spec.get("follow")) and isinstance(said, str) and split_image(said)[1] == repository


def _parsed(resource: Mapping[str, Any], services: Services) -> Optional[ApplicationSpec]:
    if resource["metadata"].get("deletionTimestamp"):
        return None
    try:
        return parse(resource, services.settings)
    except InvalidSpecError:
        return None  # its own run reports why


def follows(spec: ApplicationSpec, tag: str) -> bool:
    """Whether an Application follows a tag of its image."""
    return bool(spec.follow) and matches(parse_follow(spec.follow or {}), tag)


def record_desired_image(
    services: Services, resource: Mapping[str, Any], spec: ApplicationSpec, desired: DesiredImage
) -> bool:
    """Write a desired image unless the Application has a newer one; whether it was written."""
    for _ in range(ATTEMPTS):
        present = desired_image_of(resource)
        if present is not None and present.id == desired.id:
            return False
        if not is_newer(
            parse_follow(spec.follow or {}), _candidate(desired), _current(resource, present)
        ):
            return False
        try:
            write_desired_image(
                services,
                resource,
                desired._replace(follows=_is_of_storm(services, desired, present)),
            )
        except NotFoundError:
            return False
        except ConflictError:
            resource = services.kube.get(resources.APPLICATIONS, spec.name, spec.namespace)
            continue
        return True
    raise ConflictError(
        f"Application {spec.namespace}/{spec.name} was changed by others during every attempt; "
        f"try again."
    )


def _is_of_storm(
    services: Services, desired: DesiredImage, present: Optional[DesiredImage]
) -> bool:
    if present is None or present.recorded_at is None or desired.recorded_at is None:
        return False
    settle = RolloutSettings.from_config(services.settings.raw).settle_seconds
    return (desired.recorded_at - present.recorded_at).total_seconds() < settle


def write_desired_image(
    services: Services, resource: Mapping[str, Any], desired: DesiredImage
) -> None:
    """Write the desired image; ConflictError where the object has changed since it was read."""
    metadata = resource["metadata"]
    body = {
        "metadata": {
            "annotations": {resources.WANTED_IMAGE: desired_image_annotation(desired)},
            "resourceVersion": metadata["resourceVersion"],
        }
    }
    services.kube.patch(resources.APPLICATIONS, metadata["name"], body, metadata["namespace"])


def _candidate(desired: DesiredImage) -> Candidate:
    return Candidate(desired.tag, desired.digest, desired.pushed_at)


def _current(resource: Mapping[str, Any], present: Optional[DesiredImage]) -> Optional[Candidate]:
    """The desired image, or else the running one: an older version must not replace it."""
    if present is not None:
        return _candidate(present)
    image = untrusted.mapping(untrusted.status(resource).get("image"))
    if not image.get("digest") or not image.get("tag"):
        return None
    return Candidate(str(image["tag"]), str(image["digest"]), None)


def first_desired_image(
    services: Services, spec: ApplicationSpec, now: dt.datetime
) -> Optional[DesiredImage]:
    """The newest image of the registry that it follows; None where no tag matches."""
    from kubestorm.core.image_names import ImageName

    if not spec.follow:
        return None
    follow = parse_follow(spec.follow)
    image = ImageName(spec.registry, spec.repository)
    client = services.registry
    tags = narrowed(follow, client.tags(image))
    candidates = []
    for tag in tags[-MOST_TIMES_ASKED:] if needs_time(follow) else tags:
        time = (
            client.image_created(image, client.resolve(image, tag)) if needs_time(follow) else None
        )
        candidates.append(Candidate(tag, "", time))
    best = newest(follow, candidates)
    if best is None:
        return None
    digest = client.resolve(image, best.tag)
    return DesiredImage(digest, best.tag, f"follow {digest}", now, best.time, "", FOLLOW)


def requests_shown(resource: Mapping[str, Any]) -> Mapping[str, Any]:
    """The desired image and the requests of an Application, for people."""
    image = untrusted.json_object(untrusted.annotations_of(resource).get(resources.WANTED_IMAGE))
    said = untrusted.mapping(untrusted.status(resource).get(status_requests.FIELD))
    return {**({"image": image} if image else {}), **said}
