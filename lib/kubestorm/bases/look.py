"""One look at all images and what they stand on: builds are asked for where a base is new, the rest
is reported.

A push of any image, and a timer, say *look*; the decision (graph.py) is made from what the
ImageBuilds and the registries say at that moment. One look at a time: a Lease keeps two from asking
for the same build.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, Dict, FrozenSet, Iterator, List, Mapping, Sequence, Set, Tuple

from kubestorm.bases import recording
from kubestorm.bases.graph import BUILDING, IDLE, BuiltImage, Decision, ImageKey, decide
from kubestorm.bases.names import read_name
from kubestorm.bases.settings import BaseImageSettings
from kubestorm.building import commands, records
from kubestorm.kube import Object
from kubestorm.lease import LeaseLock
from kubestorm.registry.names import split_reference
from kubestorm.services import Services

LEASE = "base-images"
REQUESTER = "a new base image"
"""Who asks for these builds, as an ImageBuild's status says it."""
STATUS_FIELD = "baseImages"

Result = Dict[str, Any]


def look(services: Services) -> Result:
    """Ask for the builds that are due now. Safe to repeat; what is left is found by the next look.

    Returns `started` and `waiting` (image -> why), `failed`, `cycles` and `unknown`, all by
    `namespace/build:image`.
    """
    lease = LeaseLock(
        services.kube,
        LEASE,
        duration_seconds=services.settings.lease.duration_seconds,
        now=services.now,
    )
    if not lease.acquire():
        return {
            "taken": True,
            "message": f"{lease.held_by} is looking; the next push or the timer looks again.",
        }
    try:
        return _look(services)
    finally:
        lease.release()


def _look(services: Services) -> Result:
    found = services.kube.list_all(commands.IMAGE_BUILDS)
    # What is being deleted builds nothing any more, whatever its last status says.
    builds = [build for build in found if not build["metadata"].get("deletionTimestamp")]
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
    started = _start(services, decision.start, {_name_of(build): build for build in builds})
    _report(services, builds, decision)
    count = len(started)
    return {
        "started": [str(key) for key in started],
        "waiting": {str(key): why for key, why in decision.waiting.items()},
        "failed": {str(key): why for key, why in decision.failed.items()},
        "cycles": [[str(key) for key in cycle] for cycle in decision.cycles],
        "unknown": {str(key): list(names) for key, names in decision.unknown.items()},
        "message": f"{count} {'build is' if count == 1 else 'builds are'} asked for; {len(decision.waiting)} wait.",
    }


def images_of(build: Mapping[str, Any]) -> Iterator[BuiltImage]:
    """The images of one ImageBuild that have been built, as its status says."""
    metadata, status = build["metadata"], build.get("status") or {}
    asked = _asked_for(build)
    for record in status.get("images") or ():
        good = record.get("lastGood") or {}
        if not good.get("digest"):
            continue
        name, _tag, _digest = split_reference(str(good.get("reference") or ""))
        yield BuiltImage(
            key=ImageKey(metadata["namespace"], metadata["name"], str(record["name"])),
            produces=frozenset(f"{name}:{tag}" for tag in good.get("tags") or ()),
            stands_on=recording.known(good.get("bases") or {}),
            failed_on=recording.known(record.get("failedOn") or {}),
            state=BUILDING if record["name"] in asked else IDLE,
        )


def _asked_for(build: Mapping[str, Any]) -> FrozenSet[str]:
    """The images of an ImageBuild that are being built, or are going to be without anybody asking
    again.
    """
    status = build.get("status") or {}
    state = status.get("build") or {}
    names = [str(record["name"]) for record in status.get("images") or ()]
    request = records.read_request(build["metadata"].get("annotations") or {})
    asked: Set[str] = set()
    if request is not None and request.id != state.get("requestId"):
        asked |= request.images or set(names)
    if state.get("phase") in (records.REQUESTED_PHASE, records.RUNNING):
        number = state.get("number")
        for record in status.get("images") or ():
            is_planned = record.get("build") == number
            if not is_planned or record.get("state") not in records.FINAL:
                asked.add(str(record["name"]))
        if state.get("requestImages"):
            asked &= set(state["requestImages"]) | (request.images if request else frozenset())
    return frozenset(asked)


def _waits_for_people(build: Mapping[str, Any], now: dt.datetime) -> bool:
    """Whether a build that is not ours waits for its turn, rather than for another try or its end."""
    state = (build.get("status") or {}).get("build") or {}
    if state.get("phase") != records.REQUESTED_PHASE or state.get("requestedBy") == REQUESTER:
        return False
    due = records.parse_time(state.get("notBefore"))
    return due is None or due <= now


def _current(services: Services, base: str) -> str:
    name = read_name(base)
    return recording.current(services, name) if name is not None else ""


def _name_of(build: Mapping[str, Any]) -> Tuple[str, str]:
    return build["metadata"]["namespace"], build["metadata"]["name"]


def _start(
    services: Services, keys: Sequence[ImageKey], builds: Mapping[Tuple[str, str], Object]
) -> List[ImageKey]:
    """Ask for the builds, all images of one ImageBuild at once. One that has an open wish already
    is left for later.
    """
    wanted: Dict[Tuple[str, str], List[ImageKey]] = {}
    for key in keys:
        wanted.setdefault((key.namespace, key.build), []).append(key)
    started: List[ImageKey] = []
    for (namespace, name), group in wanted.items():
        build = builds[namespace, name]
        request = records.read_request(build["metadata"].get("annotations") or {})
        state = (build.get("status") or {}).get("build") or {}
        is_open = request is not None and request.id != state.get("requestId")
        known = {str(each["name"]) for each in build["spec"].get("images") or ()}
        images = sorted(key.image for key in group if key.image in known)
        if is_open or not images:
            continue
        commands.start(services, namespace, name, by=REQUESTER, images=images)
        started += [key for key in group if key.image in known]
    return started


def _report(services: Services, builds: Sequence[Object], decision: Decision) -> None:
    """Write what a person has to know into each ImageBuild's status, where it is not there yet."""
    said: Dict[Tuple[str, str], List[str]] = {}
    for cycle in decision.cycles:
        names = ", ".join(str(key) for key in cycle)
        for key in cycle:
            message = f"{key.image} stands on itself ({names}); it is not rebuilt until one of them changes its FROM."
            said.setdefault((key.namespace, key.build), []).append(message)
    for key, bases in decision.unknown.items():
        message = f"{key.image} stands on {', '.join(bases)}, in no registry that the configuration names."
        said.setdefault((key.namespace, key.build), []).append(message)
    for key, why in decision.failed.items():
        said.setdefault((key.namespace, key.build), []).append(
            f"{key.image} is out of date: {why}."
        )
    for build in builds:
        message = " ".join(said.get(_name_of(build), ()))
        before = ((build.get("status") or {}).get(STATUS_FIELD) or {}).get("message", "")
        if message != before:
            namespace, name = _name_of(build)
            services.kube.patch_status(
                commands.IMAGE_BUILDS, name, {STATUS_FIELD: {"message": message}}, namespace
            )
