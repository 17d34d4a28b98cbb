"""One look at all images and what they stand on: builds are requested where a base is new, the rest
is reported.

A push of any image, and what the polling sensor finds, say *look*; the decision (graph.py) is made
from what the ImageBuilds and the registries say at that moment. One look at a time: a Lease keeps
two from requesting the same build.
"""

from __future__ import annotations

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

from kubestorm.core import untrusted
from kubestorm.kinds.build.base_images import recording
from kubestorm.kinds.build.base_images.graph import (
    BUILDING,
    IDLE,
    BuiltImage,
    Decision,
    ImageKey,
    decide,
)
from kubestorm.kinds.build.base_images.names import read_name
from kubestorm.kinds.build.base_images.settings import BaseImageSettings
from kubestorm.kinds.build import commands, records
from kubestorm.clients.kube import Object
from kubestorm.core.image_names import ImageName, split_reference
from kubestorm.kinds.common.resource import LEASE_WAIT_SECONDS
from kubestorm.clients.services import Services

LEASE = "base-images"
REQUESTER = "a new base image"
"""Who requests these builds, as an ImageBuild's status says it."""
STATUS_FIELD = "baseImages"

BuildName = Tuple[str, str]
"""Namespace and name of an ImageBuild."""
Result = Dict[str, Any]


class Findings(NamedTuple):
    """What a look would do, and why the rest waits."""

    decision: Decision
    requests: Mapping[BuildName, Sequence[ImageKey]]
    """The images to build, all of one ImageBuild at once."""
    messages: Mapping[BuildName, str]
    """What a person has to know, where the ImageBuild's status does not say it yet."""
    is_under_way: bool
    """Whether images wait, or a build that a look requested has not ended."""


def look(services: Services, pushed: Optional[ImageName] = None) -> Result:
    """Request the builds that are due now. Safe to repeat; what is left is found by the next look.

    With `pushed`, nothing is done where no image is built on one of that repository. Returns
    `started` and `waiting` (image -> why), `failed`, `cycles` and `unknown`, all by
    `namespace/build:image`.
    """
    if pushed is not None and not _concerns(pushed, _builds(services)):
        return {"started": [], "message": f"No image is built on {pushed}."}
    lease = services.lease(LEASE)
    if not lease.acquire_or_mark(LEASE_WAIT_SECONDS):
        return {"skipped": True, "message": f"{lease.held_by} is looking, and looks once more."}
    with services.holding(lease):
        result = _look(services)
    return look(services) if lease.was_marked else result


def _look(services: Services) -> Result:
    found = inspect(services)
    for (namespace, name), keys in found.requests.items():
        images = sorted(key.image for key in keys)
        commands.start(services, namespace, name, by=REQUESTER, images=images)
    for (namespace, name), message in found.messages.items():
        status = {STATUS_FIELD: {"message": message}}
        services.kube.patch_status(commands.IMAGE_BUILDS, name, status, namespace)
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
    """What a look would do now; changes nothing."""
    builds = _builds(services)
    images = [image for build in builds for image in images_of(build)]
    digests = {
        base: _current(services, base)
        for base in sorted({base for image in images for base in image.stands_on})
    }
    decision = decide(
        images,
        digests,
        limit=BaseImageSettings.from_config(services.settings.raw).concurrency,
        interactive_waiting=sum(_waits_for_people(build, services.now()) for build in builds),
    )
    named = {_name_of(build): build for build in builds}
    return Findings(
        decision,
        _requests(decision.start, named),
        _messages(builds, decision),
        bool(decision.waiting) or any(_is_ours_under_way(build) for build in builds),
    )


def _builds(services: Services) -> List[Object]:
    """What is being deleted builds nothing any more, whatever its last status says."""
    found = services.kube.list_all(commands.IMAGE_BUILDS)
    return [build for build in found if not build["metadata"].get("deletionTimestamp")]


def _concerns(pushed: ImageName, builds: Sequence[Object]) -> bool:
    """Whether an image is built on one of that repository, or it was built because of its own base:
    the next ones may have waited for that.
    """
    for build in builds:
        is_ours = (
            untrusted.mapping(untrusted.status(build).get("build")).get("requestedBy") == REQUESTER
        )
        for image in images_of(build):
            names = [*image.stands_on, *(image.produces if is_ours else ())]
            if any(name and name.image == pushed for name in map(read_name, names)):
                return True
    return False


def images_of(build: Mapping[str, Any]) -> Iterator[BuiltImage]:
    """The images of one ImageBuild that have been built, as its status says."""
    metadata, status = build["metadata"], untrusted.status(build)
    asked = _asked_for(build)
    for record in records.images_of(status):
        good = record.get("lastGood") or {}
        if not good.get("digest"):
            continue
        name, _tag, _digest = split_reference(untrusted.text(good.get("reference")))
        yield BuiltImage(
            key=ImageKey(metadata["namespace"], metadata["name"], str(record["name"])),
            produces=frozenset(f"{name}:{tag}" for tag in untrusted.words(good.get("tags"))),
            stands_on=recording.known(untrusted.texts(good.get("bases"))),
            failed_on=recording.known(untrusted.texts(record.get("failedOn"))),
            state=BUILDING if record["name"] in asked else IDLE,
        )


def _asked_for(build: Mapping[str, Any]) -> FrozenSet[str]:
    """The images of an ImageBuild that are being built, or are going to be without anybody asking
    again.
    """
    status = untrusted.status(build)
    state = untrusted.mapping(status.get("build"))
    names = [str(record["name"]) for record in records.images_of(status)]
    request = records.read_request(untrusted.annotations_of(build))
    asked: Set[str] = set()
    if request is not None and request.id != state.get("requestId"):
        asked |= request.images or set(names)
    if state.get("phase") in (records.REQUESTED_PHASE, records.RUNNING):
        number = state.get("number")
        for record in records.images_of(status):
            is_planned = record.get("build") == number
            if not is_planned or record.get("state") not in records.FINAL:
                asked.add(str(record["name"]))
        if state.get("requestImages"):
            asked &= set(untrusted.words(state["requestImages"])) | (
                request.images if request else frozenset()
            )
    return frozenset(asked)


def _waits_for_people(build: Mapping[str, Any], now: dt.datetime) -> bool:
    """Whether a build that is not ours waits for its turn, not for another try or its end."""
    state = untrusted.mapping(untrusted.status(build).get("build"))
    if state.get("phase") != records.REQUESTED_PHASE or state.get("requestedBy") == REQUESTER:
        return False
    if state.get("awaitsTurn"):
        return True
    due = untrusted.moment(state.get("notBefore"))
    return due is None or due <= now


def _is_ours_under_way(build: Mapping[str, Any]) -> bool:
    state = untrusted.mapping(untrusted.status(build).get("build"))
    request = records.read_request(untrusted.annotations_of(build))
    is_open = request is not None and request.id != state.get("requestId")
    by = request.by if request is not None and is_open else state.get("requestedBy")
    return by == REQUESTER and (is_open or state.get("phase") != records.FINISHED)


def _current(services: Services, base: str) -> str:
    name = read_name(base)
    return recording.current(services, name) if name is not None else ""


def _name_of(build: Mapping[str, Any]) -> BuildName:
    return build["metadata"]["namespace"], build["metadata"]["name"]


def _requests(
    keys: Sequence[ImageKey], builds: Mapping[BuildName, Object]
) -> Dict[BuildName, List[ImageKey]]:
    """The images by ImageBuild. One that has an open request already is left for later."""
    found: Dict[BuildName, List[ImageKey]] = {}
    for key in keys:
        build = builds[key.namespace, key.build]
        request = records.read_request(untrusted.annotations_of(build))
        state = untrusted.mapping(untrusted.status(build).get("build"))
        is_open = request is not None and request.id != state.get("requestId")
        is_known = any(each["name"] == key.image for each in build["spec"].get("images") or ())
        if is_known and not is_open:
            found.setdefault((key.namespace, key.build), []).append(key)
    return found


def _messages(builds: Sequence[Object], decision: Decision) -> Dict[BuildName, str]:
    said: Dict[BuildName, List[str]] = {}
    for cycle in decision.cycles:
        names = ", ".join(str(key) for key in cycle)
        for key in cycle:
            message = (
                f"{key.image} stands on itself ({names}); it is not rebuilt until one of them "
                "changes its FROM."
            )
            said.setdefault((key.namespace, key.build), []).append(message)
    for key, bases in decision.unknown.items():
        message = (
            f"{key.image} stands on {', '.join(bases)}, in no registry that the configuration "
            "names."
        )
        said.setdefault((key.namespace, key.build), []).append(message)
    for build in builds:
        for record in untrusted.mappings(untrusted.status(build).get("images")):
            good = untrusted.mapping(record.get("lastGood"))
            for sentence in untrusted.words(good.get("unknownBases")):
                said.setdefault(_name_of(build), []).append(
                    f"{record.get('name')} is not rebuilt by each new base. {sentence}"
                )
    for key, why in decision.failed.items():
        said.setdefault((key.namespace, key.build), []).append(
            f"{key.image} is out of date: {why}."
        )
    found = {_name_of(build): " ".join(said.get(_name_of(build), ())) for build in builds}
    before = {
        _name_of(build): untrusted.mapping(untrusted.status(build).get(STATUS_FIELD)).get(
            "message", ""
        )
        for build in builds
    }
    return {name: message for name, message in found.items() if message != before[name]}
