"""The Job controller: runs pods until enough have succeeded or too many have failed.

Pods that failed are replaced after a second rather than the real ten, doubling, so that a test need
not wait. Left out: Indexed completion mode, suspension, pod failure policies (all later than 1.20),
CronJobs.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from sandbox.kubernetes.client.api import Manifest, parse_timestamp, timestamp, utc_now
from sandbox.kubernetes.client.informer import Key
from sandbox.kubernetes.controllers.pods import (
    first_to_go,
    is_active,
    is_true,
    phase_of,
    restarts_of,
)
from sandbox.kubernetes.controllers.world import Controller, World, owner_keys

DEFAULT_BACKOFF_LIMIT = 6
FIRST_REPLACEMENT_SECONDS = 1.0
LAST_REPLACEMENT_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Why a Job is over: the condition's type (`Complete` or `Failed`), reason and message."""

    kind: str
    reason: str = ""
    message: str = ""


def judge(job: Manifest, pods: list[Manifest], now: dt.datetime) -> Verdict | None:
    """Whether the Job is over, and why; None while it goes on."""
    spec = job["spec"]
    failed = sum(phase_of(pod) == "Failed" for pod in pods)
    succeeded = sum(phase_of(pod) == "Succeeded" for pod in pods)
    limit = spec.get("backoffLimit", DEFAULT_BACKOFF_LIMIT)
    in_place = spec["template"]["spec"].get("restartPolicy") == "OnFailure"
    restarts = sum(restarts_of(pod) for pod in pods) if in_place else 0
    if failed > limit or (in_place and restarts > 0 and restarts >= limit):
        message = "Job has reached the specified backoff limit"
        return Verdict(kind="Failed", reason="BackoffLimitExceeded", message=message)
    left = seconds_left(job, now)
    if left is not None and left <= 0:
        message = "Job was active longer than specified deadline"
        return Verdict(kind="Failed", reason="DeadlineExceeded", message=message)
    active = sum(is_active(pod) for pod in pods)
    completions = spec.get("completions")
    enough = succeeded >= completions if completions is not None else succeeded > 0 and not active
    return Verdict(kind="Complete") if enough else None


def seconds_left(job: Manifest, now: dt.datetime) -> float | None:
    """Seconds until activeDeadlineSeconds are over; None where there is no such limit or it has not
    begun.
    """
    limit, begun = (
        job["spec"].get("activeDeadlineSeconds"),
        (job.get("status") or {}).get("startTime"),
    )
    if limit is None or not begun:
        return None
    return limit - (now - parse_timestamp(begun)).total_seconds()


def wanted_active(job: Manifest, succeeded: int) -> int:
    """How many pods should run now."""
    parallelism, completions = job["spec"].get("parallelism", 1), job["spec"].get("completions")
    if completions is None:
        return 0 if succeeded else parallelism
    return min(parallelism, completions - succeeded)


def is_finished(job: Manifest) -> bool:
    """Whether the Job has come to an end, good or bad."""
    return is_true(job, "Complete") or is_true(job, "Failed")


class Jobs(Controller):
    """Starts, counts and ends a Job's pods."""

    name = "job"

    def __init__(self, world: World) -> None:
        super().__init__(world, world.jobs)
        self.follow(world.pods, owner_keys("Job"))

    async def sync(self, key: Key) -> None:
        """Do what the Job needs next and tell the counts."""
        job = self.own.get(*key)
        if not job or job["metadata"].get("deletionTimestamp"):
            return
        now = utc_now()
        if is_finished(job):
            await self._expire(job, key, now)
            return
        pods = self.world.pods.controlled_by(job["metadata"]["uid"])
        verdict = judge(job, pods, now)
        if verdict:
            for pod in pods:
                if is_active(pod):
                    await self.delete_owned(self.world.pods, pod)
        else:
            await self._adjust(job, key, pods, now)
        pods = self.world.pods.controlled_by(job["metadata"]["uid"])
        await self.write_status(job, job_status(job, pods, verdict, now))
        if verdict:
            self._tell(job, verdict)
        elif (left := seconds_left(job, now)) is not None:
            self.enqueue_after(key, left)

    def _tell(self, job: Manifest, verdict: Verdict) -> None:
        if verdict.kind == "Complete":
            self.events.normal(job, "Completed", "Job completed")
        else:
            self.events.warning(job, verdict.reason, verdict.message)

    async def _adjust(
        self, job: Manifest, key: Key, pods: list[Manifest], now: dt.datetime
    ) -> None:
        active = [pod for pod in pods if is_active(pod)]
        succeeded = sum(phase_of(pod) == "Succeeded" for pod in pods)
        wanted = wanted_active(job, succeeded)
        for pod in first_to_go(active)[: max(0, len(active) - wanted)]:
            await self.delete_owned(self.world.pods, pod)
        missing = wanted - len(active)
        if missing > 0 and (wait := replacement_wait(pods, now)) > 0:
            self.enqueue_after(key, wait)
            return
        for _ in range(missing):
            pod = await self.create_owned(self.world.pods, job, _pod(job))
            self.events.normal(job, "SuccessfulCreate", f"Created pod: {pod['metadata']['name']}")

    async def _expire(self, job: Manifest, key: Key, now: dt.datetime) -> None:
        """Remove the Job when ttlSecondsAfterFinished are over."""
        keep = job["spec"].get("ttlSecondsAfterFinished")
        if keep is None:
            return
        ends = [
            entry["lastTransitionTime"]
            for entry in job["status"]["conditions"]
            if entry["status"] == "True"
        ]
        left = keep - (now - parse_timestamp(max(ends))).total_seconds()
        if left <= 0:
            await self.delete_owned(self.own, job)
        else:
            self.enqueue_after(key, left)


def replacement_wait(pods: list[Manifest], now: dt.datetime) -> float:
    """Seconds until a failed pod may be replaced: one second at first, doubling with every failure."""
    failed = [pod for pod in pods if phase_of(pod) == "Failed"]
    if not failed:
        return 0
    ends = [
        status["state"]["terminated"]["finishedAt"]
        for pod in failed
        for status in (pod.get("status") or {}).get("containerStatuses") or ()
        if (status.get("state") or {}).get("terminated")
    ]
    if not ends:
        return 0
    backoff = min(FIRST_REPLACEMENT_SECONDS * 2 ** (len(failed) - 1), LAST_REPLACEMENT_SECONDS)
    return backoff - (now - parse_timestamp(max(ends))).total_seconds()


def _pod(job: Manifest) -> Manifest:
    template = job["spec"]["template"]
    metadata = template.get("metadata") or {}
    uid, name = job["metadata"]["uid"], job["metadata"]["name"]
    labels = {"controller-uid": uid, "job-name": name, **(metadata.get("labels") or {})}
    made: Manifest = {"generateName": f"{name}-", "labels": labels}
    if metadata.get("annotations"):
        made["annotations"] = metadata["annotations"]
    return {"metadata": made, "spec": template["spec"]}


def job_status(
    job: Manifest, pods: list[Manifest], verdict: Verdict | None, now: dt.datetime
) -> Manifest:
    """The status for these pods and this verdict."""
    before = job.get("status") or {}
    counts = {
        "active": sum(is_active(pod) for pod in pods),
        "succeeded": sum(phase_of(pod) == "Succeeded" for pod in pods),
        "failed": sum(phase_of(pod) == "Failed" for pod in pods),
    }
    status: Manifest = {"startTime": before.get("startTime") or timestamp(now)}
    status.update({key: count for key, count in counts.items() if count})
    if not verdict:
        return status
    condition = {
        "type": verdict.kind,
        "status": "True",
        "lastProbeTime": timestamp(now),
        "lastTransitionTime": timestamp(now),
        **({"reason": verdict.reason, "message": verdict.message} if verdict.reason else {}),
    }
    status["conditions"] = [condition]
    if verdict.kind == "Complete":
        status["completionTime"] = timestamp(now)
    return status
