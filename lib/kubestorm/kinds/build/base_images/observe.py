"""What images are built on, and which digests their bases have now: read from Dockerfiles,
registries and the status of ImageBuilds.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from typing import (
    Any,
    Dict,
    FrozenSet,
    Iterator,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Set,
    Tuple,
)

from kubestorm.clients.kube import Object
from kubestorm.clients.registry.settings import declared
from kubestorm.clients.services import Services
from kubestorm.core import untrusted
from kubestorm.core.errors import DefinitionError, Error
from kubestorm.core.image_names import ImageName, split_reference
from kubestorm.core.times import parse_time
from kubestorm.kinds.build.base_images.dockerfile import find_bases
from kubestorm.kinds.build.base_images.names import BaseName, read_name
from kubestorm.kinds.build.base_images.plan import BUILDING, IDLE, BuiltImage, ImageKey
from kubestorm.kinds.build.spec import IMAGE_BUILDS
from kubestorm.kinds.build.status import (
    FINAL,
    Phase,
    Request,
    build_in,
    images_of,
    is_progressing,
    read_request,
)

UNKNOWN = "unknown"
"""Written to a status for an unknown digest; empty text would be left out there."""
REQUESTER = "a new base image"
"""Who requests these builds, as an ImageBuild's status names it."""


class RecordedBases(NamedTuple):
    """What a build is about to use."""

    digests: Dict[str, str]
    """Name of each base -> its digest, or UNKNOWN. A base that is pinned by a digest is left out.
    """
    unknown: Tuple[str, ...]
    """Sentences about the bases that cannot be known."""
    images: Optional[Tuple[ImageName, ...]] = None
    """All bases, pinned ones too; None where some of them cannot be known."""


def record_bases(
    services: Services,
    dockerfile: str,
    arguments: Mapping[str, str],
    target: str,
    *,
    platforms: Sequence[str] = (),
    builder_platform: str = "",
) -> RecordedBases:
    """Asks the registries that the configuration names, once for each base. `builder_platform` is
    empty where any node may build.
    """
    try:
        found = find_bases(
            dockerfile, arguments, target, platforms=platforms, builder_platform=builder_platform
        )
    except DefinitionError as error:  # The builder may accept it, and reports it if not.
        return RecordedBases({}, (str(error),))
    digests: Dict[str, str] = {}
    names = list(filter(None, map(read_name, found.images)))
    for name in names:
        if not name.digest:
            digests[str(name)] = current_digest(services, name) or UNKNOWN
    images = None if found.unknown else tuple(name.image for name in names)
    return RecordedBases(digests, found.unknown, images)


def current_digest(services: Services, name: Optional[BaseName]) -> str:
    """The digest that a base has now; empty where its registry is not configured or does not
    answer.
    """
    hosts = declared(services.settings.raw).hosts
    if name is not None and name.image.registry in {each.host for each in hosts}:
        with contextlib.suppress(Error):
            return services.registry.resolve(name.image, name.tag)
    return ""


def list_builds(services: Services) -> List[Object]:
    """The ImageBuilds. One that is being deleted builds nothing, whatever its last status says."""
    found = services.kube.list_all(IMAGE_BUILDS)
    return [build for build in found if not build["metadata"].get("deletionTimestamp")]


def built_images(build: Mapping[str, Any]) -> Iterator[BuiltImage]:
    """The images of one ImageBuild that have been built, as its status says."""
    metadata, status = build["metadata"], untrusted.status(build)
    requested = _requested_images(build)
    for record in images_of(status):
        good = record.get("lastGood") or {}
        if not good.get("digest"):
            continue
        name, _tag, _digest = split_reference(untrusted.text(good.get("reference")))
        yield BuiltImage(
            key=ImageKey(metadata["namespace"], metadata["name"], str(record["name"])),
            produces=frozenset(f"{name}:{tag}" for tag in untrusted.words(good.get("tags"))),
            bases=_known(untrusted.texts(good.get("bases"))),
            failed_on=_known(untrusted.texts(record.get("failedOn"))),
            state=BUILDING if record["name"] in requested else IDLE,
        )


def _known(bases: Mapping[str, str]) -> Dict[str, str]:
    """What was recorded, with empty text for an unknown digest."""
    return {base: "" if digest == UNKNOWN else digest for base, digest in bases.items()}


def open_request(build: Mapping[str, Any]) -> Optional[Request]:
    """The request on an ImageBuild that no build has answered yet."""
    request = read_request(untrusted.annotations_of(build))
    last = build_in(untrusted.status(build)).get("requestId")
    return request if request is not None and request.id != last else None


def _requested_images(build: Mapping[str, Any]) -> FrozenSet[str]:
    """The images of an ImageBuild that are being built, or will be without another request."""
    status = untrusted.status(build)
    last, images = build_in(status), images_of(status)
    request = open_request(build)
    requested: Set[str] = set()
    if request is not None:
        requested |= request.images or {str(record["name"]) for record in images}
    if is_progressing(last):
        for record in images:
            is_planned = record.get("build") == last.get("number")
            if not is_planned or record.get("state") not in FINAL:
                requested.add(str(record["name"]))
        if last.get("requestImages"):
            any_request = read_request(untrusted.annotations_of(build))
            requested &= set(untrusted.words(last["requestImages"])) | (
                any_request.images if any_request else frozenset()
            )
    return frozenset(requested)


def is_rebuild(build: Mapping[str, Any]) -> bool:
    """Whether the last build was requested because of a new base."""
    return build_in(untrusted.status(build)).get("requestedBy") == REQUESTER


def is_rebuilding(build: Mapping[str, Any]) -> bool:
    """Whether a build that was requested because of a new base has not ended."""
    request = open_request(build)
    if request is not None:
        return request.by == REQUESTER
    return is_rebuild(build) and (build_in(untrusted.status(build)).get("phase") != Phase.FINISHED)


def waits_for_turn(build: Mapping[str, Any], now: dt.datetime) -> bool:
    """Whether a build that others requested waits to start, not for its next attempt or its end."""
    last = build_in(untrusted.status(build))
    if last.get("phase") != Phase.REQUESTED or is_rebuild(build):
        return False
    if last.get("awaitsTurn"):
        return True
    due = parse_time(last.get("notBefore"))
    return due is None or due <= now
