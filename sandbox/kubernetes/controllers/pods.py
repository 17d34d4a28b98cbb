"""Judgements about pods that several controllers share; pure functions."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sandbox.kubernetes.client.api import Manifest, parse_timestamp
from sandbox.kubernetes.podlife import TERMINAL_PHASES


def is_active(pod: Manifest) -> bool:
    """Whether the pod still counts: not ended, and not being deleted."""
    return not is_ended(pod) and not pod["metadata"].get("deletionTimestamp")


def is_ended(pod: Manifest) -> bool:
    """Whether all containers have ended for good."""
    return phase_of(pod) in TERMINAL_PHASES


def phase_of(pod: Manifest) -> str:
    """The phase, Pending where none is told."""
    return (pod.get("status") or {}).get("phase", "Pending")


def condition_of(manifest: Manifest, kind: str) -> dict[str, Any] | None:
    """The condition of this type, if there is one."""
    conditions = (manifest.get("status") or {}).get("conditions") or ()
    return next((entry for entry in conditions if entry["type"] == kind), None)


def is_true(manifest: Manifest, kind: str) -> bool:
    """Whether the condition of this type holds."""
    condition = condition_of(manifest, kind)
    return condition is not None and condition["status"] == "True"


def is_ready(pod: Manifest) -> bool:
    """Whether the pod may be sent requests."""
    return is_true(pod, "Ready")


def seconds_until_available(
    pod: Manifest, min_ready_seconds: int, now: dt.datetime
) -> float | None:
    """0 or less where the pod is available, more where it becomes so by waiting, None where it is
    not even ready.
    """
    condition = condition_of(pod, "Ready")
    if not condition or condition["status"] != "True":
        return None
    if not min_ready_seconds:
        return 0
    since = parse_timestamp(condition["lastTransitionTime"])
    return min_ready_seconds - (now - since).total_seconds()


def first_to_go(pods: list[Manifest]) -> list[Manifest]:
    """The pods in the order in which fewer are wanted: unbound, pending, not ready, then the
    youngest first.
    """
    newest_first = sorted(pods, key=lambda pod: pod["metadata"]["creationTimestamp"], reverse=True)
    phases = {"Pending": 0, "Unknown": 1}
    return sorted(
        newest_first,
        key=lambda pod: (
            bool(pod["spec"].get("nodeName")),
            phases.get(phase_of(pod), 2),
            is_ready(pod),
        ),
    )


def restarts_of(pod: Manifest) -> int:
    """How often containers of the pod were started again."""
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    return sum(status.get("restartCount", 0) for status in statuses)


def matches(selector: Manifest, labels: dict[str, str] | None) -> bool:
    """Whether the labels satisfy a plain map of wanted labels (a Service's selector)."""
    return bool(selector) and all(
        (labels or {}).get(key) == value for key, value in selector.items()
    )
