"""What a delivery waits for: the ImageBuild's own stages, and the Rollouts of the Applications that
follow what it pushed.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from typing import Any, Callable, List, Mapping, Sequence, Set, Tuple

from kubestorm.clients import resources
from kubestorm.clients.services import Services
from kubestorm.core import untrusted
from kubestorm.core.image_names import split_reference
from kubestorm.core.times import parse_time
from kubestorm.kinds.application.image_policy import follows
from kubestorm.kinds.application.spec import InvalidSpecError, parse
from kubestorm.kinds.application.values import ApplicationSpec
from kubestorm.kinds.build.pipeline import plan as pipeline
from kubestorm.kinds.build.pipeline.plan import Follower, Stage
from kubestorm.kinds.build.status import ImageState, build_in, images_of

START_SECONDS = 120.0
"""How long an Application may take to start the rollout of an image that it follows; after that it
is left out.
"""
Specs = Callable[[], Sequence[ApplicationSpec]]
"""Lists the Applications of the cluster; called only once the images are pushed."""


def list_specs(services: Services) -> List[ApplicationSpec]:
    """The specs of all Applications that have a valid one."""
    found: List[ApplicationSpec] = []
    for resource in services.kube.list_all(resources.APPLICATIONS):
        with contextlib.suppress(InvalidSpecError):
            found.append(parse(resource, services.settings))
    return found


def read_stages(
    services: Services, build: Mapping[str, Any], request_id: str, specs: Specs
) -> Tuple[Stage, ...]:
    status = untrusted.status(build)
    has_test = any(each.get("test") for each in build["spec"].get("images") or ())
    first = pipeline.build_stages(status, request_id, has_test=has_test)
    if pipeline.outcome_of(first) == pipeline.FAILED:
        return (*first, *pipeline.skipped_rollout("Nothing was pushed."))
    if pipeline.outcome_of(first) == pipeline.WAITING:
        return (*first, *(Stage(name, pipeline.WAITING) for name in pipeline.NAMES[3:]))
    return (*first, *pipeline.rollout_stages(_followers(services, status, specs())))


def _followers(
    services: Services, status: Mapping[str, Any], specs: Sequence[ApplicationSpec]
) -> List[Follower]:
    """The Applications that follow the pushed images; one whose rollout has not started in time is
    left out.
    """
    pushed = _pushed(status)
    finished = parse_time(build_in(status).get("finishedAt"))
    is_late = finished is not None and services.now() - finished > dt.timedelta(
        seconds=START_SECONDS
    )
    found: List[Follower] = []
    for spec in specs:
        for repository, tags, digest in pushed:
            if repository != f"{spec.registry}/{spec.repository}" or not any(
                follows(spec, tag) for tag in tags
            ):
                continue
            rollout = _rollout(services, spec.namespace, spec.name, digest)
            if rollout is not None or not is_late:
                found.append(Follower(f"{spec.namespace}/{spec.name}", digest, rollout))
    return found


def _pushed(status: Mapping[str, Any]) -> Set[Tuple[str, Tuple[str, ...], str]]:
    """(registry/repository, tags, digest) of each image that the build pushed."""
    number = build_in(status).get("number")
    return {
        (
            split_reference(str(each["reference"]))[0],
            tuple(each.get("tags") or ()),
            str(each["digest"]),
        )
        for each in images_of(status)
        if each.get("build") == number and each.get("state") == ImageState.PUSHED
    }


def _rollout(services: Services, namespace: str, application: str, digest: str) -> Any:
    """The newest Rollout of an image to an Application, or None."""
    found = [
        each
        for each in services.kube.list_all(
            resources.ROLLOUTS, namespace, label_selector=resources.selector(application)
        )
        if each["spec"]["image"]["digest"] == digest
    ]
    return max(found, key=lambda each: each["metadata"]["creationTimestamp"], default=None)
