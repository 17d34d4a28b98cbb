"""One object in several versions: what is stored, and what a request for another version or group
sees.

Custom resources convert by name alone (`strategy: None`); of the core kinds two differ in form:
HorizontalPodAutoscaler (autoscaling/v1 and v2) and Event (the core group and events.k8s.io).
"""

from __future__ import annotations

from typing import Any

from sandbox.kubernetes.resources import Resource

Json = dict[str, Any]

_EVENT_NAMES = {
    "involvedObject": "regarding", "message": "note", "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp", "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount", "reportingComponent": "reportingController",
}  # fmt: skip
_EVENT_NAMES_BACK = {new: old for old, new in _EVENT_NAMES.items()}


def is_as_stored(resource: Resource, version: str) -> bool:
    """Whether the stored JSON can be sent as it is."""
    return version == resource.stored_version and resource.storage_group is None


def to_version(resource: Resource, obj: Json, version: str) -> Json:
    """A stored object as the version asked for shows it; the object itself when that is what is
    stored.
    """
    api_version = resource.api_version(version)
    if obj["apiVersion"] == api_version:
        return obj
    converted = {**obj, "apiVersion": api_version}
    if resource.kind == "HorizontalPodAutoscaler":
        return _hpa_to_v1(converted)
    if resource.kind == "Event" and resource.group:
        return {_EVENT_NAMES.get(key, key): value for key, value in converted.items()}
    return converted


def to_storage(resource: Resource, obj: Json) -> Json:
    """An object of any served version as it is stored."""
    group = resource.group if resource.storage_group is None else resource.storage_group
    version = resource.stored_version
    api_version = f"{group}/{version}" if group else version
    if obj["apiVersion"] == api_version:
        return obj
    converted = {**obj, "apiVersion": api_version}
    if resource.kind == "HorizontalPodAutoscaler":
        return _hpa_to_v2(converted)
    if resource.kind == "Event" and resource.group:
        return {_EVENT_NAMES_BACK.get(key, key): value for key, value in converted.items()}
    return converted


def _hpa_to_v2(obj: Json) -> Json:
    spec = dict(obj.get("spec") or {})
    percent = spec.pop("targetCPUUtilizationPercentage", None)
    if percent is not None:
        target = {"type": "Utilization", "averageUtilization": percent}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    status = dict(obj.get("status") or {})
    status.pop("currentCPUUtilizationPercentage", None)
    return {**obj, "spec": spec, "status": status}


def _hpa_to_v1(obj: Json) -> Json:
    spec = dict(obj.get("spec") or {})
    for metric in spec.pop("metrics", None) or []:
        resource = metric.get("resource") or {}
        percent = (resource.get("target") or {}).get("averageUtilization")
        if resource.get("name") == "cpu" and percent is not None:
            spec["targetCPUUtilizationPercentage"] = percent
    spec.pop("behavior", None)
    status = {
        k: v
        for k, v in (obj.get("status") or {}).items()
        if k not in ("currentMetrics", "conditions")
    }
    return {**obj, "spec": spec, "status": status}
