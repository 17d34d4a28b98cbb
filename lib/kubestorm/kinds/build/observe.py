"""What is read for an ImageBuild: the commit of its branch, and how far its Jobs are."""

from __future__ import annotations

from typing import Any, List, Mapping, Optional

from kubestorm.core import untrusted
from kubestorm.core.conditions import TRUE, condition_in
from kubestorm.core.times import format_time, parse_time
from kubestorm.kinds.build import builders
from kubestorm.kinds.build.builders.jobs import JobBuilder
from kubestorm.kinds.build.run import BuildRun
from kubestorm.kinds.build.spec import ImageBuildSpec
from kubestorm.kinds.build.status import (
    PUSHED_ANNOTATION,
    SHOWN_COMMIT,
    SOURCE_FETCHED,
    UNDER_WAY,
    Record,
    images_of,
    read_request,
)
from kubestorm.kinds.common.resource import Object

SOURCE_AGE_SECONDS = 3600.0
"""How long an answer of the git server counts where nothing says that it has changed."""


def read_source(run: BuildRun, resource: Object, spec: ImageBuildSpec) -> Optional[Record]:
    """`status.source` by what the git server says now; None where the last answer still counts."""
    known = untrusted.mapping(untrusted.status(resource).get("source"))
    annotations = untrusted.annotations_of(resource)
    request = read_request(annotations)
    answers = annotations.get(PUSHED_ANNOTATION, "") + (f"/{request.id}" if request else "")
    asked = {"generation": run.handle.generation(resource), "answers": answers}
    if _is_current(run, resource, known, asked):
        return None
    with run.git(spec) as git:
        head = git.head(spec.source.branch, spec.source.revision)
    return {
        **asked,
        "url": spec.source.address.url,
        "branch": head.branch,
        "commit": head.commit,
        "shortCommit": head.commit[:SHOWN_COMMIT],
        "seenAt": format_time(run.services.now()),
    }


def _is_current(
    run: BuildRun, resource: Object, known: Mapping[str, Any], asked: Mapping[str, Any]
) -> bool:
    """Whether no event, command or change of the spec has come since the last answer, and it is no
    error and not too old.
    """
    if not known.get("commit") or any(
        (known.get(key) or "") != (value or "") for key, value in asked.items()
    ):
        return False
    condition = condition_in(untrusted.status(resource), SOURCE_FETCHED)
    if (condition.get("status"), condition.get("observedGeneration")) != (
        TRUE,
        asked["generation"],
    ):
        return False
    seen = parse_time(known.get("seenAt"))
    return seen is not None and (run.services.now() - seen).total_seconds() <= SOURCE_AGE_SECONDS


def has_jobs(status: Mapping[str, Any]) -> bool:
    """Whether Jobs build images now, as far as the status says."""
    return any(each.get("job") and each.get("state") in UNDER_WAY for each in images_of(status))


def read_jobs(
    run: BuildRun, spec: ImageBuildSpec, build: Mapping[str, Any], images: List[Record]
) -> List[Record]:
    """The images' records by what has become of their Jobs."""
    builder = run.job_builder(spec)
    return [_read_job(run, spec, builder, build, each) for each in images]


def _read_job(
    run: BuildRun,
    spec: ImageBuildSpec,
    builder: JobBuilder,
    build: Mapping[str, Any],
    record: Record,
) -> Record:
    if not record.get("job") or record.get("state") not in UNDER_WAY:
        return record
    order = run.order(spec, build, record)
    progress = builder.progress(order)
    if progress.state == builders.RUNNING:
        return {**record, "message": progress.message}
    out = run.image_after(record, order, progress)
    return {**out, "logTail": progress.log_tail} if progress.log_tail else out
