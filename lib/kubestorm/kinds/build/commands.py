"""Commands on ImageBuilds: start and cancel a build, show it, read its logs. Requests are written
to the object, and return at once.
"""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence

from kubestorm.clients.services import Services
from kubestorm.core import status_requests, untrusted
from kubestorm.core.conditions import READY, UNKNOWN, condition_in
from kubestorm.core.errors import DefinitionError, Error, NotFoundError
from kubestorm.core.naming import identity_of
from kubestorm.core.times import format_time
from kubestorm.kinds.build.builders import Builder
from kubestorm.kinds.build.builders.host import HostBuilder
from kubestorm.kinds.build.run import BuildRun, Result
from kubestorm.kinds.build.settings import HOST_BUILDAH
from kubestorm.kinds.build.spec import IMAGE_BUILDS, PLURAL
from kubestorm.kinds.build.status import (
    REQUEST_ANNOTATION,
    ImageState,
    Phase,
    build_in,
    images_of,
    is_progressing,
)
from kubestorm.kinds.common.resource import Object

DEFAULT_LOG_BYTES = 20000
FOLLOW_BYTES = 1024 * 1024
FOLLOW_PAUSE_SECONDS = 2.0


def start(
    services: Services,
    namespace: str,
    name: str,
    *,
    by: str = "",
    images: Sequence[str] = (),
    force: bool = True,
) -> Result:
    """Request a build of the named images, or of all. With `force` also unchanged images
    are built.
    """
    resource = read(services, namespace, name)
    known = [str(each.get("name")) for each in (resource.get("spec") or {}).get("images") or ()]
    unknown = [each for each in images if each not in known]
    if unknown:
        message = (
            f"ImageBuild {namespace}/{name} has no image {', '.join(unknown)}; its images are "
            f"{', '.join(known)}."
        )
        raise DefinitionError(message, field="images")
    request = {
        "id": uuid.uuid4().hex[:12],
        "by": by,
        "images": list(images),
        "force": force,
        "at": format_time(services.now()),
    }
    _annotate(services, resource, {REQUEST_ANNOTATION: json.dumps(request)})
    what = f"A build of {', '.join(images)}" if images else "A build"
    _create_event(services, resource, "BuildRequested", f"{what} was requested{_by(by)}.")
    return {
        "namespace": namespace,
        "name": name,
        "request_id": request["id"],
        "images": list(images) or known,
    }


def cancel(
    services: Services, namespace: str, name: str, *, by: str = "", reason: str = ""
) -> Result:
    """Request that the running build stops, which takes seconds."""
    resource = read(services, namespace, name)
    build = build_in(untrusted.status(resource))
    if not is_progressing(build):
        return {
            "namespace": namespace,
            "name": name,
            "canceled": False,
            "message": "No build is running.",
        }
    number = untrusted.integer(build.get("number"))
    request = status_requests.request(by, services.now(), build=number, reason=reason)
    fields = status_requests.fields(cancel=request)
    services.kube.patch_status(IMAGE_BUILDS, name, fields, namespace)
    why = f": {reason}" if reason else "."
    message = f"Cancellation of build {number} was requested{_by(by)}{why}"
    _create_event(services, resource, "CancelRequested", message)
    message = f"Canceling build {number}."
    return {
        "namespace": namespace,
        "name": name,
        "canceled": True,
        "number": number,
        "message": message,
    }


def show(services: Services, namespace: str, name: str) -> Result:
    """The source, the last build, each image with its reason, and the conditions."""
    resource = read(services, namespace, name)
    status = untrusted.status(resource)
    conditions = untrusted.mappings(status.get("conditions"))
    images: List[Dict[str, Any]] = []
    for each in images_of(status):
        known = {key: value for key, value in each.items() if key != "logTail"}
        images.append({**known, "tag": next(iter(each.get("tags") or ()), "")})
    return {
        "namespace": namespace,
        "name": name,
        "ready": condition_in(status, READY).get("status", UNKNOWN),
        "source": {
            **dict((resource.get("spec") or {}).get("source") or {}),
            **dict(untrusted.mapping(status.get("source"))),
        },
        "build": dict(untrusted.mapping(status.get("build"))),
        "images": images,
        "conditions": [
            {key: each.get(key, "") for key in ("type", "status", "reason", "message")}
            for each in conditions
        ],
    }


def read_logs(
    services: Services,
    namespace: str,
    name: str,
    *,
    image: str = "",
    tail_bytes: int = DEFAULT_LOG_BYTES,
) -> Result:
    """The end of the log of each image of the last build, or of one image: from the host or the
    Job, otherwise from the status.
    """
    resource = read(services, namespace, name)
    status = untrusted.status(resource)
    build = untrusted.mapping(status.get("build"))
    run = BuildRun(services, identity_of(services.settings.cluster, PLURAL, resource), "logs")
    found: Dict[str, str] = {}
    for record in images_of(status):
        if image and record.get("name") != image:
            continue
        found[str(record["name"])] = _log_of(run, resource, build, record, tail_bytes)
    if image and not found:
        raise NotFoundError(
            f"ImageBuild {namespace}/{name} has not built an image {image}.", service="Kubernetes"
        )
    return {
        "namespace": namespace,
        "name": name,
        "number": build.get("number"),
        "phase": build.get("phase"),
        "execution_id": build.get("executionId", ""),
        "logs": found,
    }


def follow_logs(
    services: Services,
    namespace: str,
    name: str,
    say: Callable[[str], None],
    *,
    image: str = "",
    seconds: float,
    pause_seconds: float = FOLLOW_PAUSE_SECONDS,
) -> None:
    """Pass new lines of the running build's logs to `say`, until it is over or `seconds` have
    passed; at most one MiB of each image.

    The log of a build on another host is in its execution's output; here only the end of the build
    is noticed.
    """
    passed_on: Dict[str, int] = {}
    deadline = time.monotonic() + seconds
    while True:
        found = read_logs(services, namespace, name, image=image, tail_bytes=FOLLOW_BYTES)
        for each, text in found["logs"].items():
            fresh = text[passed_on.get(each, 0) :]
            # An incomplete line waits for its end.
            whole = fresh[: fresh.rfind("\n") + 1]
            passed_on[each] = passed_on.get(each, 0) + len(whole)
            for line in whole.splitlines():
                say(f"{each}: {line}" if len(found["logs"]) > 1 else line)
        if found["phase"] == Phase.FINISHED or time.monotonic() >= deadline:
            return
        time.sleep(pause_seconds)


def _log_of(
    run: BuildRun,
    resource: Object,
    build: Mapping[str, Any],
    record: Mapping[str, Any],
    tail_bytes: int,
) -> str:
    text = ""
    if (
        record.get("build") == build.get("number")
        and record.get("state") != ImageState.SKIPPED
        and record.get("attempts")
    ):
        spec = run.parse(resource)
        builder: Optional[Builder] = None
        if str(build.get("builder")) == HOST_BUILDAH:
            builder = HostBuilder(run.settings)
        elif record.get("job"):
            builder = run.job_builder(spec)
        if builder is not None and spec.image(str(record["name"])) is not None:
            text = builder.logs(run.order(spec, build, record), tail_bytes)
    return text or str(record.get("logTail") or record.get("message") or "")


def read(services: Services, namespace: str, name: str) -> Object:
    """The ImageBuild. Raises NotFoundError when there is none."""
    try:
        return services.kube.get(IMAGE_BUILDS, name, namespace)
    except NotFoundError as error:
        raise NotFoundError(
            f"ImageBuild {namespace}/{name} does not exist.", service="Kubernetes"
        ) from error


def _by(person: str) -> str:
    return f" by {person}" if person else ""


def _create_event(services: Services, resource: Object, reason: str, message: str) -> None:
    """Best effort: a failure is ignored."""
    with contextlib.suppress(Error):
        services.kube.create_event(
            resource, reason=reason, message=message, type="Normal", now=services.now()
        )


def _annotate(services: Services, resource: Object, annotations: Mapping[str, str]) -> None:
    metadata = resource["metadata"]
    body = {"metadata": {"annotations": dict(annotations), "uid": metadata["uid"]}}
    services.kube.patch(IMAGE_BUILDS, metadata["name"], body, metadata["namespace"])
