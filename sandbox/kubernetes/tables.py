"""Objects as tables, which is what `kubectl get` asks for: the columns of the core kinds and of
custom resources.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from typing import Any

from sandbox.kubernetes import jsonpaths
from sandbox.kubernetes.resources import Resource

Json = dict[str, Any]
Cell = Callable[[Json], Any]
Column = tuple[
    str, str, int, Cell
]  # name, type, priority (0 is always shown, 1 with -o wide), value

_NAME_HELP = "Name must be unique within a namespace. Is required when creating resources. Cannot be updated."


def table(
    resource: Resource, version: str, objects: Iterable[Json], include: str, metadata: Json
) -> Json:
    """A `Table` of objects; `include` says what of each object a row carries: Metadata, Object or
    None.
    """
    columns = _columns(resource, version)
    definitions = [
        {"name": name, "type": kind, "format": "name" if name == "Name" else "", "priority": priority,
         "description": _NAME_HELP if name == "Name" else name}
        for name, kind, priority, _cell in columns
    ]  # fmt: skip
    rows = []
    for obj in objects:
        row: Json = {"cells": [_safely(cell, obj) for _name, _kind, _priority, cell in columns]}
        if include != "None":
            row["object"] = obj if include == "Object" else partial(obj)
        rows.append(row)
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": definitions,
        "rows": rows,
    }


def partial(obj: Json) -> Json:
    """Only the metadata of an object."""
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": obj["metadata"],
    }


def _safely(cell: Cell, obj: Json) -> Any:
    """Objects are shown even when a field of theirs has an unexpected form."""
    try:
        return cell(obj)
    except (AttributeError, KeyError, TypeError, ValueError, IndexError):
        return "<unknown>"


def _columns(resource: Resource, version: str) -> list[Column]:
    name: Column = ("Name", "string", 0, lambda obj: obj["metadata"]["name"])
    if resource.is_custom:
        return [name, *(_custom_column(column) for column in resource.custom[version].columns)]
    return [name, *_CORE.get(resource.kind, [_AGE])]


def _custom_column(column: Json) -> Column:
    path, kind = column["jsonPath"], column["type"]

    def cell(obj: Json) -> Any:
        found = jsonpaths.find(obj, path)
        if not found:
            return None
        value = found[0]
        if kind == "date":
            return age(value)
        if kind in ("integer", "number", "boolean") and isinstance(value, (int, float)):
            return value
        return ",".join(_text(item) for item in found) if len(found) > 1 else _text(value)

    return (column["name"], kind, int(column.get("priority", 0)), cell)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return (
            "["
            + ",".join(f'"{item}"' if isinstance(item, str) else _text(item) for item in value)
            + "]"
        )
    return str(value)


def age(stamp: str | None) -> str:
    """The time since a stamp, as kubectl shows it: 5s, 3m20s, 2h, 4d."""
    if not stamp:
        return "<unknown>"
    begin = dt.datetime.fromisoformat(stamp.replace("Z", "+00:00"))
    return duration(max(0, int((dt.datetime.now(dt.UTC) - begin).total_seconds())))


def duration(seconds: int) -> str:
    """Seconds in the two units that matter, after k8s.io/apimachinery/pkg/util/duration."""
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if seconds < 120:
        return f"{seconds}s"
    if minutes < 10:
        return f"{minutes}m{seconds % 60}s" if seconds % 60 else f"{minutes}m"
    if hours < 3:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if days < 2:
        return f"{hours}h"
    if days < 8:
        return f"{days}d{hours % 24}h" if hours % 24 else f"{days}d"
    if days < 730:
        return f"{days}d"
    return f"{days // 365}y"


def _status(field: str, default: Any = 0) -> Cell:
    return lambda obj: (obj.get("status") or {}).get(field, default)


def _spec(field: str, default: Any = "<none>") -> Cell:
    return lambda obj: (obj.get("spec") or {}).get(field, default)


def _size(field: str) -> Cell:
    return lambda obj: len(obj.get(field) or {})


def _template(obj: Json) -> list[Json]:
    return list((obj["spec"].get("template") or obj)["spec"].get("containers") or [])


def _names(obj: Json) -> str:
    return ",".join(c["name"] for c in _template(obj))


def _images(obj: Json) -> str:
    return ",".join(c["image"] for c in _template(obj))


def _selector(obj: Json) -> str:
    selector = obj["spec"].get("selector") or {}
    labels = selector.get("matchLabels", selector) if isinstance(selector, dict) else {}
    return ",".join(f"{k}={v}" for k, v in sorted(labels.items())) or "<none>"


def _of_wanted(ready: str) -> Cell:
    return lambda obj: f"{obj.get('status', {}).get(ready, 0)}/{obj['spec'].get('replicas', 1)}"


def pod_phase(obj: Json) -> str:
    """The STATUS of a pod: its phase, unless a container's reason says more."""
    status = obj.get("status") or {}
    reason = status.get("reason") or status.get("phase") or "Unknown"
    for container in [
        *(status.get("initContainerStatuses") or []),
        *(status.get("containerStatuses") or []),
    ]:
        state = container.get("state") or {}
        if (state.get("waiting") or {}).get("reason"):
            reason = state["waiting"]["reason"]
        elif (state.get("terminated") or {}).get("reason"):
            reason = state["terminated"]["reason"]
    return "Terminating" if obj["metadata"].get("deletionTimestamp") else str(reason)


def _pod_ready(obj: Json) -> str:
    statuses = (obj.get("status") or {}).get("containerStatuses") or []
    return (
        f"{sum(bool(s.get('ready')) for s in statuses)}/{len(obj['spec'].get('containers') or [])}"
    )


def _pod_restarts(obj: Json) -> str:
    return str(
        sum(
            s.get("restartCount", 0)
            for s in (obj.get("status") or {}).get("containerStatuses") or []
        )
    )


def _ports(obj: Json) -> str:
    parts = []
    for port in obj["spec"].get("ports") or []:
        node = f":{port['nodePort']}" if port.get("nodePort") else ""
        parts.append(f"{port['port']}{node}/{port.get('protocol', 'TCP')}")
    return ",".join(parts) or "<none>"


def _external(obj: Json) -> str:
    kind = obj["spec"].get("type")
    if kind == "ExternalName":
        return str(obj["spec"].get("externalName"))
    if kind == "LoadBalancer":
        ingress = (obj.get("status") or {}).get("loadBalancer", {}).get("ingress") or []
        return ",".join(i.get("ip") or i.get("hostname", "") for i in ingress) or "<pending>"
    return "<none>"


def _node_status(obj: Json) -> str:
    conditions = {c["type"]: c["status"] for c in (obj.get("status") or {}).get("conditions") or []}
    words = [
        "Ready"
        if conditions.get("Ready") == "True"
        else "NotReady"
        if "Ready" in conditions
        else "Unknown"
    ]
    return ",".join([*words, "SchedulingDisabled"] if obj["spec"].get("unschedulable") else words)


def _node_roles(obj: Json) -> str:
    prefix = "node-role.kubernetes.io/"
    return (
        ",".join(
            k.removeprefix(prefix)
            for k in obj["metadata"].get("labels") or {}
            if k.startswith(prefix)
        )
        or "<none>"
    )


def _job_duration(obj: Json) -> str:
    status = obj.get("status") or {}
    if not status.get("startTime"):
        return ""
    begin = dt.datetime.fromisoformat(status["startTime"].replace("Z", "+00:00"))
    end = status.get("completionTime")
    until = (
        dt.datetime.fromisoformat(end.replace("Z", "+00:00")) if end else dt.datetime.now(dt.UTC)
    )
    return duration(max(0, int((until - begin).total_seconds())))


def _job_completions(obj: Json) -> str:
    return f"{(obj.get('status') or {}).get('succeeded', 0)}/{obj['spec'].get('completions') or 1}"


def _job_status(obj: Json) -> str:
    status = obj.get("status") or {}
    held = {c["type"] for c in status.get("conditions") or [] if c["status"] == "True"}
    for word in ("Complete", "Failed", "Suspended"):
        if word in held:
            return word
    return "Running"


def _hosts(obj: Json) -> str:
    return (
        ",".join(rule["host"] for rule in obj["spec"].get("rules") or [] if rule.get("host")) or "*"
    )


def _addresses(obj: Json) -> str:
    ingress = (obj.get("status") or {}).get("loadBalancer", {}).get("ingress") or []
    return ",".join(i.get("ip") or i.get("hostname", "") for i in ingress)


def _endpoints(obj: Json) -> str:
    found = [
        f"{address['ip']}:{port['port']}"
        for subset in obj.get("subsets") or []
        for port in subset.get("ports") or []
        for address in subset.get("addresses") or []
    ]
    more = f" + {len(found) - 3} more..." if len(found) > 3 else ""
    return ",".join(found[:3]) + more or "<none>"


def _hpa_targets(obj: Json) -> str:
    now = (obj.get("status") or {}).get("currentMetrics") or []
    parts = []
    for place, metric in enumerate(obj["spec"].get("metrics") or []):
        wanted = (metric.get("resource") or {}).get("target", {}).get("averageUtilization")
        have = (
            (now[place].get("resource") or {}).get("current", {}).get("averageUtilization")
            if place < len(now)
            else None
        )
        parts.append(f"{'<unknown>' if have is None else f'{have}%'}/{wanted}%")
    return ", ".join(parts) or "<none>"


def _event_object(obj: Json) -> str:
    about = obj.get("involvedObject") or obj.get("regarding") or {}
    return f"{about.get('kind', '').lower()}/{about.get('name', '')}"


def _event_seen(obj: Json) -> str:
    return age(
        obj.get("lastTimestamp")
        or (obj.get("eventTime") or "")[:19] + "Z"
        or obj["metadata"]["creationTimestamp"]
    )


def _role(obj: Json) -> str:
    return f"{obj['roleRef']['kind']}/{obj['roleRef']['name']}"


def _reference(obj: Json) -> str:
    target = obj["spec"]["scaleTargetRef"]
    return f"{target['kind']}/{target['name']}"


_AGE: Column = ("Age", "string", 0, lambda obj: age(obj["metadata"].get("creationTimestamp")))
_TEMPLATE: list[Column] = [
    ("Containers", "string", 1, _names),
    ("Images", "string", 1, _images),
    ("Selector", "string", 1, _selector),
]
_COUNTS: list[Column] = [
    ("Desired", "integer", 0, _spec("replicas", 0)),
    ("Current", "integer", 0, _status("replicas")),
    ("Ready", "integer", 0, _status("readyReplicas")),
    _AGE,
    *_TEMPLATE,
]
_TIMES = "lastScheduleTime"

_CORE: dict[str, list[Column]] = {
    "Pod": [
        ("Ready", "string", 0, _pod_ready),
        ("Status", "string", 0, pod_phase),
        ("Restarts", "string", 0, _pod_restarts),
        _AGE,
        ("IP", "string", 1, _status("podIP", "<none>")),
        ("Node", "string", 1, _spec("nodeName")),
        ("Nominated Node", "string", 1, _status("nominatedNodeName", "<none>")),
        ("Readiness Gates", "string", 1, lambda _obj: "<none>"),
    ],
    "Namespace": [("Status", "string", 0, _status("phase", "Active")), _AGE],
    "Service": [
        ("Type", "string", 0, _spec("type")),
        ("Cluster-IP", "string", 0, _spec("clusterIP")),
        ("External-IP", "string", 0, _external),
        ("Port(s)", "string", 0, _ports),
        _AGE,
        ("Selector", "string", 1, _selector),
    ],
    "Endpoints": [("Endpoints", "string", 0, _endpoints), _AGE],
    "ConfigMap": [
        (
            "Data",
            "string",
            0,
            lambda obj: len(obj.get("data") or {}) + len(obj.get("binaryData") or {}),
        ),
        _AGE,
    ],
    "Secret": [
        ("Type", "string", 0, lambda obj: obj.get("type")),
        ("Data", "string", 0, _size("data")),
        _AGE,
    ],
    "ServiceAccount": [("Secrets", "string", 0, lambda obj: len(obj.get("secrets") or [])), _AGE],
    "Node": [
        ("Status", "string", 0, _node_status),
        ("Roles", "string", 0, _node_roles),
        _AGE,
        (
            "Version",
            "string",
            0,
            lambda obj: obj["status"].get("nodeInfo", {}).get("kubeletVersion", ""),
        ),
    ],
    "PersistentVolumeClaim": [
        ("Status", "string", 0, _status("phase", "Pending")),
        ("Volume", "string", 0, _spec("volumeName", "")),
        ("StorageClass", "string", 0, _spec("storageClassName", "")),
        _AGE,
    ],
    "Deployment": [
        ("Ready", "string", 0, _of_wanted("readyReplicas")),
        ("Up-to-date", "string", 0, _status("updatedReplicas")),
        ("Available", "string", 0, _status("availableReplicas")),
        _AGE,
        *_TEMPLATE,
    ],
    "ReplicaSet": _COUNTS,
    "ReplicationController": _COUNTS,
    "StatefulSet": [("Ready", "string", 0, _of_wanted("readyReplicas")), _AGE, *_TEMPLATE[:2]],
    "DaemonSet": [
        ("Desired", "integer", 0, _status("desiredNumberScheduled")),
        ("Current", "integer", 0, _status("currentNumberScheduled")),
        ("Ready", "integer", 0, _status("numberReady")),
        ("Up-to-date", "integer", 0, _status("updatedNumberScheduled")),
        ("Available", "integer", 0, _status("numberAvailable")),
        _AGE,
        *_TEMPLATE,
    ],
    "Job": [
        ("Status", "string", 0, _job_status),
        ("Completions", "string", 0, _job_completions),
        ("Duration", "string", 0, _job_duration),
        _AGE,
        *_TEMPLATE,
    ],
    "CronJob": [
        ("Schedule", "string", 0, _spec("schedule")),
        ("Suspend", "boolean", 0, lambda obj: str(obj["spec"].get("suspend", False))),
        ("Active", "integer", 0, lambda obj: len(obj.get("status", {}).get("active") or [])),
        (
            "Last Schedule",
            "string",
            0,
            lambda obj: (
                age(obj["status"][_TIMES]) if obj.get("status", {}).get(_TIMES) else "<none>"
            ),
        ),
        _AGE,
    ],
    "HorizontalPodAutoscaler": [
        ("Reference", "string", 0, _reference),
        ("Targets", "string", 0, _hpa_targets),
        ("MinPods", "string", 0, _spec("minReplicas", 1)),
        ("MaxPods", "string", 0, _spec("maxReplicas")),
        ("Replicas", "string", 0, _status("currentReplicas")),
        _AGE,
    ],
    "PodDisruptionBudget": [
        ("Min Available", "string", 0, _spec("minAvailable", "N/A")),
        ("Max Unavailable", "string", 0, _spec("maxUnavailable", "N/A")),
        ("Allowed Disruptions", "string", 0, _status("disruptionsAllowed")),
        _AGE,
    ],
    "Ingress": [
        ("Class", "string", 0, _spec("ingressClassName")),
        ("Hosts", "string", 0, _hosts),
        ("Address", "string", 0, _addresses),
        ("Ports", "string", 0, lambda obj: "80, 443" if obj["spec"].get("tls") else "80"),
        _AGE,
    ],
    "IngressClass": [("Controller", "string", 0, _spec("controller")), _AGE],
    "NetworkPolicy": [
        (
            "Pod-Selector",
            "string",
            0,
            lambda obj: _selector({"spec": {"selector": obj["spec"].get("podSelector")}}),
        ),
        _AGE,
    ],
    "RoleBinding": [("Role", "string", 0, _role), _AGE],
    "ClusterRoleBinding": [("Role", "string", 0, _role), _AGE],
    "Role": [("Created At", "date", 0, lambda obj: obj["metadata"]["creationTimestamp"])],
    "ClusterRole": [("Created At", "date", 0, lambda obj: obj["metadata"]["creationTimestamp"])],
    "CustomResourceDefinition": [
        ("Created At", "date", 0, lambda obj: obj["metadata"]["creationTimestamp"])
    ],
    "Lease": [("Holder", "string", 0, _spec("holderIdentity", "")), _AGE],
    "Event": [
        ("Last Seen", "string", 0, _event_seen),
        ("Type", "string", 0, lambda obj: obj.get("type", "")),
        ("Reason", "string", 0, lambda obj: obj.get("reason", "")),
        ("Object", "string", 0, _event_object),
        ("Message", "string", 0, lambda obj: obj.get("message") or obj.get("note") or ""),
    ],
}
