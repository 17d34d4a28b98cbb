"""Begin workflows/delivery_pipeline.yaml, and its step: look, and tell. Neither waits; the workflow
does.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, Dict, List, Mapping, Optional, Sequence, Set, Tuple

from kubestorm.application.spec import InvalidSpecError, parse
from kubestorm.approval.engine import EngineApi
from kubestorm.building import records
from kubestorm.building.commands import IMAGE_BUILDS
from kubestorm.conditions import format_time
from kubestorm.dispatching import Dispatch
from kubestorm.errors import DefinitionError, NotFoundError
from kubestorm.pipeline import stages as pipeline
from kubestorm.pipeline.stages import Follower, Stage
from kubestorm.registry.names import split_reference
from kubestorm.rollout import names
from kubestorm.rollout.following import follows
from kubestorm.services import Services

STAGE_ENDED = "kubestorm.pipeline_stage_ended"
STATUS_FIELD = "pipeline"
PIPELINE = "kubestorm.delivery_pipeline"
START_SECONDS = 120.0
"""How long an Application may take to begin the rollout of what it follows, before it counts as one
that does not.
"""

Result = Dict[str, Any]


def start(
    services: Services, namespace: str, name: str, *, by: str, engine: Optional[EngineApi]
) -> Result:
    """Begin a delivery of an ImageBuild, as an execution of its own; `run_id` is also its
    `status.pipeline.runId`.

    Raises NotFoundError when there is no such ImageBuild, DefinitionError outside of an engine.
    """
    _read(services, namespace, name)
    if engine is None:
        raise DefinitionError(f"Only a running engine begins a delivery; run {PIPELINE} instead.")
    parameters = {"namespace": namespace, "name": name, "requested_by": by}
    return {
        "namespace": namespace,
        "name": name,
        "run_id": engine.start(PIPELINE, parameters),
        "message": f"The delivery of {namespace}/{name} has begun: {', '.join(pipeline.NAMES)}.",
    }


def look(
    services: Services, namespace: str, name: str, request_id: str, run_id: str, dispatch: Dispatch
) -> Result:
    """Where the run is; each stage that has ended since the last look is written on the ImageBuild
    and told once.

    Dispatched first and written after: a crash in between tells it again. Returns `done`,
    `outcome`, `message` and `stages`. Raises NotFoundError when the ImageBuild is gone.
    """
    build = _read(services, namespace, name)
    before = _recorded(build, run_id)
    why = pipeline.why_stopped(build, request_id)
    stages = pipeline.stopped_stages(before, why) if why else _stages(services, build, request_id)
    told = {stage.name: stage.outcome for stage in before}
    for stage in stages:
        if stage.outcome in pipeline.DONE and told.get(stage.name) != stage.outcome:
            dispatch(STAGE_ENDED, _payload(services, build, run_id, stage, stages))
    _write(services, build, run_id, stages)
    outcome = pipeline.outcome_of(stages)
    return {
        "done": outcome != pipeline.WAITING,
        "outcome": outcome,
        "message": pipeline.sentence(stages),
        "stages": [
            {"name": each.name, "outcome": each.outcome, "message": each.message} for each in stages
        ],
    }


def _read(services: Services, namespace: str, name: str) -> Mapping[str, Any]:
    try:
        return services.kube.get(IMAGE_BUILDS, name, namespace)
    except NotFoundError as error:
        raise NotFoundError(
            f"There is no ImageBuild {namespace}/{name}.", service="Kubernetes"
        ) from error


def _stages(services: Services, build: Mapping[str, Any], request_id: str) -> Tuple[Stage, ...]:
    status = build.get("status") or {}
    has_test = any(each.get("test") for each in build["spec"].get("images") or ())
    first = pipeline.build_stages(status, request_id, has_test=has_test)
    if pipeline.outcome_of(first) == pipeline.FAILED:
        return (*first, *pipeline.skipped_rollout("Nothing was pushed."))
    if pipeline.outcome_of(first) == pipeline.WAITING:
        return (*first, *(Stage(name, pipeline.WAITING) for name in pipeline.NAMES[3:]))
    return (*first, *pipeline.rollout_stages(_followers(services, status)))


def _followers(services: Services, status: Mapping[str, Any]) -> List[Follower]:
    """The Applications that follow what the build pushed; one that has not begun within its time is
    left out.
    """
    pushed = _pushed(status)
    finished = records.parse_time((status.get("build") or {}).get("finishedAt"))
    is_late = finished is not None and services.now() - finished > dt.timedelta(
        seconds=START_SECONDS
    )
    found: List[Follower] = []
    for resource in services.kube.list_all(names.APPLICATIONS):
        try:
            spec = parse(resource, services.settings)
        except InvalidSpecError:
            continue
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
    number = (status.get("build") or {}).get("number")
    return {
        (
            split_reference(str(each["reference"]))[0],
            tuple(each.get("tags") or ()),
            str(each["digest"]),
        )
        for each in status.get("images") or ()
        if each.get("build") == number and each.get("state") == records.PUSHED
    }


def _rollout(services: Services, namespace: str, application: str, digest: str) -> Any:
    """The newest Rollout of an image to an Application, or None."""
    found = [
        each
        for each in services.kube.list_all(names.ROLLOUTS, namespace)
        if each["spec"]["applicationRef"]["name"] == application
        and each["spec"]["image"]["digest"] == digest
    ]
    return max(found, key=lambda each: each["metadata"]["creationTimestamp"], default=None)


def _recorded(build: Mapping[str, Any], run_id: str) -> Tuple[Stage, ...]:
    """The stages as the look before left them; none of another run."""
    known = (build.get("status") or {}).get(STATUS_FIELD) or {}
    if known.get("runId") != run_id:
        return ()
    listed = known.get("stages") or ()
    return tuple(
        Stage(str(each["name"]), str(each["outcome"]), str(each.get("message") or ""))
        for each in listed
    )


def _write(
    services: Services, build: Mapping[str, Any], run_id: str, stages: Sequence[Stage]
) -> None:
    known = (build.get("status") or {}).get(STATUS_FIELD) or {}
    listed = [
        {"name": each.name, "outcome": each.outcome, "message": each.message} for each in stages
    ]
    outcome = pipeline.outcome_of(stages)
    if (known.get("runId"), known.get("stages")) == (run_id, listed):
        return
    begun = known.get("startedAt") if known.get("runId") == run_id else format_time(services.now())
    fields = {
        "runId": run_id,
        "startedAt": begun,
        "outcome": outcome,
        "stages": listed,
        "finishedAt": None,
    }
    if outcome != pipeline.WAITING:
        fields["finishedAt"] = format_time(services.now())
    metadata = build["metadata"]
    services.kube.patch_status(
        IMAGE_BUILDS, metadata["name"], {STATUS_FIELD: fields}, metadata["namespace"]
    )


def _payload(
    services: Services, build: Mapping[str, Any], run_id: str, stage: Stage, stages: Sequence[Stage]
) -> Dict[str, Any]:
    status, metadata = build.get("status") or {}, build["metadata"]
    made = status.get("build") or {}
    return {
        "cluster": services.settings.cluster,
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "uid": metadata["uid"],
        "run_id": run_id,
        "stage": stage.name,
        "outcome": stage.outcome,
        "message": stage.message,
        "pipeline": pipeline.outcome_of(stages),
        "commit": str(made.get("commit") or ""),
        "requested_by": str(made.get("requestedBy") or ""),
    }
