"""Starts, advances and ends deliveries.

workflows/delivery_pipeline.yaml begins one and waits in an inquiry. A sensor (polling.py) advances
it: for each stage that has ended it dispatches kubestorm.pipeline_stage_ended and writes the
ImageBuild's status. After the last one, a rule has the inquiry answered.
"""

from __future__ import annotations

import functools
import time
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from kubestorm.clients.engine_api import EngineApi
from kubestorm.clients.services import Services
from kubestorm.core import untrusted
from kubestorm.core.dispatching import Dispatch
from kubestorm.core.errors import DefinitionError, NotFoundError, TemporaryError
from kubestorm.core.times import format_time
from kubestorm.kinds.build import commands
from kubestorm.kinds.build.pipeline import plan as pipeline
from kubestorm.kinds.build.pipeline.observe import Specs, list_specs, read_stages
from kubestorm.kinds.build.pipeline.plan import Stage
from kubestorm.kinds.build.run import Result
from kubestorm.kinds.build.spec import IMAGE_BUILDS

STAGE_ENDED = "kubestorm.pipeline_stage_ended"
STATUS_FIELD = "pipeline"
PIPELINE = "kubestorm.delivery_pipeline"
INQUIRY = "core.ask"
ANSWER_ATTEMPTS = 60
"""Checks for the workflow's inquiry, one a second: a delivery may fail before it is opened."""
RUN_ENDED = frozenset(("succeeded", "failed", "timeout", "abandoned", "canceled"))


def start(
    services: Services, namespace: str, name: str, *, by: str, engine: Optional[EngineApi]
) -> Result:
    """Start a delivery of an ImageBuild as an execution of its own; `run_id` is also its
    `status.pipeline.runId`.

    Raises NotFoundError when there is no such ImageBuild, DefinitionError outside of an engine.
    """
    commands.read(services, namespace, name)
    if engine is None:
        raise DefinitionError(f"Only an engine can start a delivery; run {PIPELINE} instead.")
    parameters = {"namespace": namespace, "name": name, "requested_by": by}
    return {
        "namespace": namespace,
        "name": name,
        "run_id": engine.start(PIPELINE, parameters),
        "message": f"Started the delivery of {namespace}/{name}: {', '.join(pipeline.NAMES)}.",
    }


def begin(
    services: Services,
    namespace: str,
    name: str,
    run_id: str,
    *,
    by: str = "",
    images: Sequence[str] = (),
    force: bool = True,
    dispatch: Dispatch,
) -> Result:
    """Request the build of a delivery, and write the delivery to the ImageBuild's status.

    A delivery that runs already is ended: the status has room for one.
    """
    build = commands.read(services, namespace, name)
    if _run_of(build) != run_id:
        stop(
            services,
            build,
            f"Replaced by another delivery, started by {by or 'somebody'}.",
            dispatch,
        )
    request = commands.start(services, namespace, name, by=by, images=images, force=force)
    waiting = [Stage(each, pipeline.WAITING) for each in pipeline.NAMES]
    _write(services, build, run_id, waiting, request_id=request["request_id"])
    return {"request_id": request["request_id"], "images": request["images"]}


def is_running(build: Mapping[str, Any]) -> bool:
    """Whether a delivery of an ImageBuild has not ended."""
    known = untrusted.mapping(untrusted.status(build).get(STATUS_FIELD))
    return bool(known.get("runId")) and known.get("outcome") == pipeline.WAITING


def advance(
    services: Services, build: Mapping[str, Any], dispatch: Dispatch, specs: Optional[Specs] = None
) -> str:
    """Dispatch and write each stage of the running delivery that has ended since the last time; the
    delivery's outcome now.

    Dispatched first and written after: a crash in between dispatches it again.
    """
    specs = specs or functools.partial(list_specs, services)
    known = untrusted.mapping(untrusted.status(build).get(STATUS_FIELD))
    request_id = str(known.get("requestId") or "")
    why = pipeline.why_stopped(build, request_id)
    stages = (
        pipeline.stopped_stages(_recorded(build), why)
        if why
        else read_stages(services, build, request_id, specs)
    )
    _dispatch_ended(services, build, stages, dispatch)
    _write(services, build, _run_of(build), stages)
    return pipeline.outcome_of(stages)


def stop(services: Services, build: Mapping[str, Any], why: str, dispatch: Dispatch) -> None:
    """Dispatch the end of the running delivery, if there is one."""
    if is_running(build):
        _dispatch_ended(services, build, pipeline.stopped_stages(_recorded(build), why), dispatch)


def end(
    services: Services,
    namespace: str,
    name: str,
    run_id: str,
    engine: EngineApi,
    *,
    pause: Callable[[float], None] = time.sleep,
) -> Result:
    """Answer the inquiry in which the workflow of a delivery waits, with the delivery's `outcome`,
    `message` and `stages`. Safe to repeat: a workflow that has ended is left alone.

    Raises TemporaryError when the workflow opens no inquiry within a minute.
    """
    for _ in range(ANSWER_ATTEMPTS):
        answer = _answer(services, namespace, name, run_id)
        waiting = [each for each in engine.children(run_id) if _is_waiting(each)]
        if answer is not None and waiting:
            engine.respond(str(waiting[0]["id"]), answer)
            return {"answered": True, **answer}
        if engine.execution(run_id).get("status") in RUN_ENDED:
            return {"answered": False, "message": f"Execution {run_id} has ended already."}
        pause(1.0)
    raise TemporaryError(f"Execution {run_id} has not opened an inquiry.", service="StackStorm")


def _is_waiting(execution: Mapping[str, Any]) -> bool:
    reference = (execution.get("action") or {}).get("ref")
    return reference == INQUIRY and execution.get("status") == "pending"


def _answer(services: Services, namespace: str, name: str, run_id: str) -> Optional[Result]:
    """How a delivery ended; None while it runs."""
    try:
        build = commands.read(services, namespace, name)
    except NotFoundError as error:
        return _failed(str(error))
    if _run_of(build) != run_id:
        return _failed(f"Replaced by another delivery of {namespace}/{name}.")
    stages = _recorded(build)
    outcome = pipeline.outcome_of(stages)
    if outcome != pipeline.WAITING:
        message = pipeline.sentence(stages)
        return {"outcome": outcome, "message": message, "stages": _listed(stages)}
    if build["metadata"].get("deletionTimestamp"):
        return _failed(f"ImageBuild {namespace}/{name} is being deleted.")
    return None


def _failed(message: str) -> Result:
    return {"outcome": pipeline.FAILED, "message": message, "stages": []}


def _run_of(build: Mapping[str, Any]) -> str:
    known = untrusted.mapping(untrusted.status(build).get(STATUS_FIELD))
    return str(known.get("runId") or "")


def _recorded(build: Mapping[str, Any]) -> Tuple[Stage, ...]:
    """The stages as last written."""
    known = untrusted.mapping(untrusted.status(build).get(STATUS_FIELD))
    return tuple(
        Stage(str(each["name"]), str(each["outcome"]), str(each.get("message") or ""))
        for each in known.get("stages") or ()
    )


def _listed(stages: Sequence[Stage]) -> List[Dict[str, str]]:
    return [
        {"name": each.name, "outcome": each.outcome, "message": each.message} for each in stages
    ]


def _dispatch_ended(
    services: Services, build: Mapping[str, Any], stages: Sequence[Stage], dispatch: Dispatch
) -> None:
    """Dispatch each stage that has ended since the last write."""
    before = {stage.name: stage.outcome for stage in _recorded(build)}
    for stage in stages:
        if stage.outcome in pipeline.DONE and before.get(stage.name) != stage.outcome:
            dispatch(STAGE_ENDED, _payload(services, build, _run_of(build), stage, stages))


def _write(
    services: Services,
    build: Mapping[str, Any],
    run_id: str,
    stages: Sequence[Stage],
    *,
    request_id: str = "",
) -> None:
    """Write the stages where they differ; with `request_id`, as those of a new delivery."""
    known = untrusted.mapping(untrusted.status(build).get(STATUS_FIELD))
    listed = _listed(stages)
    if not request_id and known.get("stages") == listed:
        return
    outcome, now = pipeline.outcome_of(stages), format_time(services.now())
    fields = {
        "outcome": outcome,
        "stages": listed,
        "finishedAt": None if outcome == pipeline.WAITING else now,
    }
    if request_id:
        fields.update(runId=run_id, requestId=request_id, startedAt=now)
    metadata = build["metadata"]
    services.kube.patch_status(
        IMAGE_BUILDS, metadata["name"], {STATUS_FIELD: fields}, metadata["namespace"]
    )


def _payload(
    services: Services, build: Mapping[str, Any], run_id: str, stage: Stage, stages: Sequence[Stage]
) -> Dict[str, Any]:
    status, metadata = untrusted.status(build), build["metadata"]
    made = untrusted.mapping(status.get("build"))
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
