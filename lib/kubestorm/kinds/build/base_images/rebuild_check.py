"""Checks all images against their bases: requests builds where a base is new, and reports the rest.

A push of any image, and the polling sensor, start a check; what is due is decided (plan.py) from
what the ImageBuilds and the registries say at that moment. A Lease lets one check run at a time, so
that no build is requested twice.
"""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from kubestorm.clients.kube import Object
from kubestorm.clients.services import Services
from kubestorm.core import untrusted
from kubestorm.core.image_names import ImageName
from kubestorm.kinds.build import commands
from kubestorm.kinds.build.base_images.names import read_name
from kubestorm.kinds.build.base_images.observe import (
    REQUESTER,
    built_images,
    current_digest,
    is_rebuild,
    is_rebuilding,
    list_builds,
    open_request,
    waits_for_turn,
)
from kubestorm.kinds.build.base_images.plan import Decision, ImageKey, decide
from kubestorm.kinds.build.base_images.settings import BaseImageSettings
from kubestorm.kinds.build.run import Result
from kubestorm.kinds.build.spec import IMAGE_BUILDS
from kubestorm.kinds.common.resource import LEASE_WAIT_SECONDS

LEASE = "base-images"
STATUS_FIELD = "baseImages"
BuildName = Tuple[str, str]
"""Namespace and name of an ImageBuild."""


class Findings(NamedTuple):
    """What a check would do, and why the rest waits."""

    decision: Decision
    requests: Mapping[BuildName, Sequence[ImageKey]]
    """The images to build, all of one ImageBuild at once."""
    messages: Mapping[BuildName, str]
    """What the ImageBuild's status does not say yet."""
    is_progressing: bool
    """Whether images wait, or a build that a check requested has not ended."""


def check(services: Services, pushed: Optional[ImageName] = None) -> Result:
    """Request the builds that are due now. Safe to repeat; the rest is found by the next check.

    With `pushed`, nothing is done where no image is built on one of that repository. Returns
    `started` and `waiting` (image -> why), `failed`, `cycles` and `unknown`, all by
    `namespace/build:image`.
    """
    if pushed is not None and not _concerns(pushed, list_builds(services)):
        return {"started": [], "message": f"No image is built on {pushed}."}
    lease = services.lease(LEASE)
    if not lease.acquire_or_mark(LEASE_WAIT_SECONDS):
        message = f"{lease.held_by} is checking base images and will check once more."
        return {"skipped": True, "message": message}
    with services.holding(lease):
        result = _check(services)
    return check(services) if lease.was_marked else result


def _check(services: Services) -> Result:
    found = inspect(services)
    for (namespace, name), keys in found.requests.items():
        images = sorted(key.image for key in keys)
        commands.start(services, namespace, name, by=REQUESTER, images=images)
    for (namespace, name), message in found.messages.items():
        status = {STATUS_FIELD: {"message": message}}
        services.kube.patch_status(IMAGE_BUILDS, name, status, namespace)
    started = [str(key) for keys in found.requests.values() for key in keys]
    decision = found.decision
    return {
        "started": started,
        "waiting": {str(key): why for key, why in decision.waiting.items()},
        "failed": {str(key): why for key, why in decision.failed.items()},
        "cycles": [[str(key) for key in cycle] for cycle in decision.cycles],
        "unknown": {str(key): list(names) for key, names in decision.unknown.items()},
        "message": f"Images requested: {len(started)}; waiting: {len(decision.waiting)}.",
    }


def inspect(services: Services) -> Findings:
    """What a check would do now; changes nothing."""
    builds = list_builds(services)
    images = [image for build in builds for image in built_images(build)]
    digests = {
        base: current_digest(services, read_name(base))
        for base in sorted({base for image in images for base in image.bases})
    }
    decision = decide(
        images,
        digests,
        limit=BaseImageSettings.from_config(services.settings.raw).concurrency,
        interactive_waiting=sum(waits_for_turn(build, services.now()) for build in builds),
    )
    return Findings(
        decision,
        _requests(decision.start, {_name_of(build): build for build in builds}),
        _messages(builds, decision),
        bool(decision.waiting) or any(is_rebuilding(build) for build in builds),
    )


def _concerns(pushed: ImageName, builds: Sequence[Object]) -> bool:
    """Whether an image is built on one of that repository, or it was built because of its own base:
    the next ones may have waited for that.
    """
    for build in builds:
        for image in built_images(build):
            names = [*image.bases, *(image.produces if is_rebuild(build) else ())]
            if any(name and name.image == pushed for name in map(read_name, names)):
                return True
    return False


def _name_of(build: Mapping[str, Any]) -> BuildName:
    return build["metadata"]["namespace"], build["metadata"]["name"]


def _requests(
    keys: Sequence[ImageKey], builds: Mapping[BuildName, Object]
) -> Dict[BuildName, List[ImageKey]]:
    """The images by ImageBuild. One that has an open request already is left for later."""
    found: Dict[BuildName, List[ImageKey]] = {}
    for key in keys:
        build = builds[key.namespace, key.build]
        is_known = any(each["name"] == key.image for each in build["spec"].get("images") or ())
        if is_known and open_request(build) is None:
            found.setdefault((key.namespace, key.build), []).append(key)
    return found


def _messages(builds: Sequence[Object], decision: Decision) -> Dict[BuildName, str]:
    said: Dict[BuildName, List[str]] = {_name_of(build): [] for build in builds}
    for cycle in decision.cycles:
        names = ", ".join(str(key) for key in cycle)
        for key in cycle:
            message = (
                f"{key.image} is built on itself ({names}); change the FROM of one of them to have "
                "it rebuilt."
            )
            said[key.namespace, key.build].append(message)
    for key, bases in decision.unknown.items():
        message = (
            f"{key.image} is built on {', '.join(bases)}; no configured registry has that image."
        )
        said[key.namespace, key.build].append(message)
    for build in builds:
        for record in untrusted.mappings(untrusted.status(build).get("images")):
            good = untrusted.mapping(record.get("lastGood"))
            for sentence in untrusted.words(good.get("unknownBases")):
                said[_name_of(build)].append(
                    f"{record.get('name')} is not rebuilt for every new base image. {sentence}"
                )
    for key, why in decision.failed.items():
        said[key.namespace, key.build].append(f"{key.image} is out of date: {why}.")
    found = {}
    for build in builds:
        name, status = _name_of(build), untrusted.status(build)
        message = " ".join(said[name])
        if message != untrusted.mapping(status.get(STATUS_FIELD)).get("message", ""):
            found[name] = message
    return found
