"""The defaults and checks of the core kinds that clients and controllers rely on.

A chosen few of k8s.io/kubernetes/pkg/apis/*/{defaults,validation}: what a Deployment, Service, Pod
or Job needs to be understood by `kubectl` and by controllers. Fields nobody here reads are stored
as they were given.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from typing import Any

from sandbox.kubernetes.errors import Cause, go_value, required, unsupported, wrong
from sandbox.kubernetes.selectors import matches_selector

Json = dict[str, Any]
Default = Callable[[Json], None]
Check = Callable[[Json, Json | None], list[Cause]]


def set_defaults(kind: str, obj: Json) -> None:
    """Fill in what the real API server would, in place."""
    default = _DEFAULTS.get(kind)
    if default:
        default(obj)


def check(kind: str, obj: Json, old: Json | None) -> list[Cause]:
    """What is wrong with an object of a core kind; `old` is the stored one on an update."""
    test = _CHECKS.get(kind)
    return test(obj, old) if test else []


# --- defaults
# -----------------------------------------------------------------------------------------------------


def _pod_spec(spec: Json) -> None:
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("schedulerName", "default-scheduler")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("securityContext", {})
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        spec["serviceAccountName"] = spec["serviceAccount"] = account
    for word in ("containers", "initContainers"):
        for container in spec.get(word) or []:
            _container(container)
    for volume in spec.get("volumes") or []:
        for source in ("secret", "configMap", "projected", "downwardAPI"):
            if isinstance(volume.get(source), dict):
                volume[source].setdefault("defaultMode", 0o644)


def _container(container: Json) -> None:
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    container.setdefault("resources", {})
    image = str(container.get("image", ""))
    latest = image.endswith(":latest") or (":" not in image.rsplit("/", 1)[-1] and "@" not in image)
    container.setdefault("imagePullPolicy", "Always" if latest else "IfNotPresent")
    limits = container["resources"].get("limits")
    if limits:
        container["resources"]["requests"] = {
            **limits,
            **(container["resources"].get("requests") or {}),
        }
    for port in container.get("ports") or []:
        port.setdefault("protocol", "TCP")
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        if isinstance(container.get(probe), dict):
            _probe(container[probe])


def _probe(probe: Json) -> None:
    for field, value in (
        ("timeoutSeconds", 1),
        ("periodSeconds", 10),
        ("successThreshold", 1),
        ("failureThreshold", 3),
    ):
        probe.setdefault(field, value)
    if isinstance(probe.get("httpGet"), dict):
        probe["httpGet"].setdefault("scheme", "HTTP")
        probe["httpGet"].setdefault("path", "/")


def _template(spec: Json) -> None:
    template = spec.setdefault("template", {})
    template.setdefault("metadata", {}).setdefault("creationTimestamp", None)
    _pod_spec(template.setdefault("spec", {}))


def _pod(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    _pod_spec(spec)
    spec.setdefault("enableServiceLinks", True)
    spec.setdefault("serviceAccountName", "default")
    spec.setdefault("serviceAccount", spec["serviceAccountName"])
    spec.setdefault("preemptionPolicy", "PreemptLowerPriority")
    spec.setdefault("priority", 0)
    seconds = {"effect": "NoExecute", "operator": "Exists", "tolerationSeconds": 300}
    keys = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
    spec.setdefault("tolerations", [{**seconds, "key": key} for key in keys])
    status = obj.setdefault("status", {})
    status.setdefault("phase", "Pending")
    status.setdefault("qosClass", _quality(spec))


def _quality(spec: Json) -> str:
    resources = [
        c.get("resources") or {}
        for c in (spec.get("containers") or []) + (spec.get("initContainers") or [])
    ]
    if not any(r.get("requests") or r.get("limits") for r in resources):
        return "BestEffort"
    wanted = ("cpu", "memory")
    full = all(set(wanted) <= (r.get("limits") or {}).keys() for r in resources)
    same = all(
        all((r.get("requests") or {}).get(w) == (r.get("limits") or {}).get(w) for w in wanted)
        for r in resources
    )
    return "Guaranteed" if full and same else "Burstable"


def _deployment(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    spec.setdefault("progressDeadlineSeconds", 600)
    spec.setdefault("revisionHistoryLimit", 10)
    strategy = spec.setdefault("strategy", {})
    strategy.setdefault("type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", "25%")
        rolling.setdefault("maxSurge", "25%")
    _template(spec)
    obj.setdefault("status", {})


def _replica_set(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    _template(spec)
    labels = (spec["template"].get("metadata") or {}).get("labels")
    if labels and not obj["metadata"].get("labels"):
        obj["metadata"]["labels"] = dict(labels)
    obj.setdefault("status", {}).setdefault("replicas", 0)


def _stateful_set(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    spec.setdefault("podManagementPolicy", "OrderedReady")
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("updateStrategy", {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}})
    _template(spec)
    obj.setdefault("status", {}).setdefault("replicas", 0)


def _daemon_set(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault(
        "updateStrategy",
        {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}},
    )
    _template(spec)
    counts = (
        "currentNumberScheduled",
        "numberMisscheduled",
        "desiredNumberScheduled",
        "numberReady",
    )
    for count in counts:
        obj.setdefault("status", {}).setdefault(count, 0)


def _job(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    _job_spec(spec)
    if not spec.get("manualSelector") and "selector" not in spec and obj["metadata"].get("uid"):
        generated = {"controller-uid": obj["metadata"]["uid"], "job-name": obj["metadata"]["name"]}
        labels = spec["template"]["metadata"].setdefault("labels", {})
        labels.update(generated)
        spec["selector"] = {"matchLabels": {"controller-uid": obj["metadata"]["uid"]}}
        if not obj["metadata"].get("labels"):
            obj["metadata"]["labels"] = dict(labels)
    obj.setdefault("status", {})


def _job_spec(spec: Json) -> None:
    if "completions" not in spec and "parallelism" not in spec:
        spec["completions"] = 1
    for field, value in (
        ("parallelism", 1),
        ("backoffLimit", 6),
        ("completionMode", "NonIndexed"),
        ("suspend", False),
    ):
        spec.setdefault(field, value)
    _template(spec)


def _cron_job(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("concurrencyPolicy", "Allow")
    spec.setdefault("suspend", False)
    spec.setdefault("successfulJobsHistoryLimit", 3)
    spec.setdefault("failedJobsHistoryLimit", 1)
    inner = spec.setdefault("jobTemplate", {}).setdefault("spec", {})
    _template(inner)
    obj.setdefault("status", {})


def _service(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("type", "ClusterIP")
    spec.setdefault("sessionAffinity", "None")
    for port in spec.get("ports") or []:
        port.setdefault("protocol", "TCP")
        port.setdefault("targetPort", port.get("port"))
    if spec["type"] in ("NodePort", "LoadBalancer"):
        spec.setdefault("externalTrafficPolicy", "Cluster")
    if spec["type"] != "ExternalName":
        spec.setdefault("internalTrafficPolicy", "Cluster")
        spec.setdefault("ipFamilies", ["IPv4"])
        spec.setdefault("ipFamilyPolicy", "SingleStack")
    obj.setdefault("status", {}).setdefault("loadBalancer", {})


def _namespace(obj: Json) -> None:
    obj["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = obj["metadata"].get(
        "name", ""
    )
    obj.setdefault("spec", {}).setdefault("finalizers", ["kubernetes"])
    obj.setdefault("status", {}).setdefault("phase", "Active")


def _secret(obj: Json) -> None:
    plain = obj.pop("stringData", None) or {}
    if plain:
        encoded = {
            key: base64.b64encode(str(value).encode()).decode() for key, value in plain.items()
        }
        obj["data"] = {**(obj.get("data") or {}), **encoded}
    obj.setdefault("type", "Opaque")


def _hpa(obj: Json) -> None:
    obj.setdefault("spec", {}).setdefault("minReplicas", 1)
    status = obj.setdefault("status", {})
    status.setdefault("desiredReplicas", 0)
    status.setdefault("currentMetrics", None)


def _claim(obj: Json) -> None:
    obj.setdefault("spec", {}).setdefault("volumeMode", "Filesystem")
    obj.setdefault("status", {}).setdefault("phase", "Pending")


def _quota(obj: Json) -> None:
    obj.setdefault("status", {})


def _network_policy(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("podSelector", {})
    spec.setdefault("policyTypes", ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"])


def _ingress(obj: Json) -> None:
    obj.setdefault("status", {}).setdefault("loadBalancer", {})


def _binding(obj: Json) -> None:
    reference = obj.get("roleRef")
    if isinstance(reference, dict):
        reference.setdefault("apiGroup", "rbac.authorization.k8s.io")
    for subject in obj.get("subjects") or []:
        if subject.get("kind") in ("User", "Group"):
            subject.setdefault("apiGroup", "rbac.authorization.k8s.io")


_DEFAULTS: dict[str, Default] = {
    "Pod": _pod, "Deployment": _deployment, "ReplicaSet": _replica_set, "ReplicationController": _replica_set,
    "StatefulSet": _stateful_set, "DaemonSet": _daemon_set, "Job": _job, "CronJob": _cron_job, "Service": _service,
    "Namespace": _namespace, "Secret": _secret, "HorizontalPodAutoscaler": _hpa, "PersistentVolumeClaim": _claim,
    "ResourceQuota": _quota, "NetworkPolicy": _network_policy, "Ingress": _ingress, "RoleBinding": _binding,
    "ClusterRoleBinding": _binding,
}  # fmt: skip

# --- checks
# -------------------------------------------------------------------------------------------------------

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_LABEL_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
_QUALIFIED = re.compile(
    r"([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
)

_SUBDOMAIN_WHY = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and "
    "must start and end "
    "with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_LABEL_WHY = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must "
    "start and end with an "
    "alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
_LABEL_1035_WHY = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an "
    "alphabetic character, and end "
    "with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is "
    "'[a-z]([-a-z0-9]*[a-z0-9])?')"
)
_VALUE_WHY = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and "
    "must start and end with "
    "an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
_QUALIFIED_WHY = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
    "alphanumeric character "
    "(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
_LABEL_NAMED = frozenset({"Namespace"})
_LABEL_1035_NAMED = frozenset({"Service"})
_PATH_NAMED = frozenset({"Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"})


def check_metadata(kind: str, obj: Json) -> list[Cause]:
    """Names, labels, annotations, finalizers and owner references."""
    metadata = obj["metadata"]
    causes = _check_name(kind, metadata.get("name") or "")
    for key, value in (metadata.get("labels") or {}).items():
        causes += _qualified("metadata.labels", key)
        if not isinstance(value, str) or len(value) > 63 or not _LABEL_VALUE.fullmatch(value):
            causes.append(wrong("metadata.labels", value, _VALUE_WHY))
    for key in metadata.get("annotations") or {}:
        causes += _qualified("metadata.annotations", key.lower())
    for place, reference in enumerate(metadata.get("ownerReferences") or []):
        path = f"metadata.ownerReferences[{place}]"
        for field in ("apiVersion", "kind", "name", "uid"):
            if not reference.get(field):
                causes.append(
                    wrong(
                        f"{path}.{field}", reference.get(field) or "", f"{field} must not be empty"
                    )
                )
    return causes


def _check_name(kind: str, name: str) -> list[Cause]:
    if not name:
        return [required("metadata.name", "name or generateName is required")]
    if kind in _PATH_NAMED:
        bad = name in (".", "..") or "/" in name or "%" in name
        return [wrong("metadata.name", name, "may not contain '/' or '%'")] if bad else []
    if kind in _LABEL_NAMED:
        pattern, why, longest = _LABEL, _LABEL_WHY, 63
    elif kind in _LABEL_1035_NAMED:
        pattern, why, longest = _LABEL_1035, _LABEL_1035_WHY, 63
    else:
        pattern, why, longest = _SUBDOMAIN, _SUBDOMAIN_WHY, 253
    causes = [] if pattern.fullmatch(name) else [wrong("metadata.name", name, why)]
    if len(name) > longest:
        causes.append(wrong("metadata.name", name, f"must be no more than {longest} characters"))
    return causes


def _qualified(path: str, key: str) -> list[Cause]:
    if _QUALIFIED.fullmatch(key) and len(key.rsplit("/", 1)[-1]) <= 63:
        return []
    return [wrong(path, key, _QUALIFIED_WHY)]


def _check_containers(spec: Json, path: str) -> list[Cause]:
    containers = spec.get("containers")
    if not containers:
        return [required(f"{path}.containers")]
    causes = []
    seen: set[str] = set()
    for place, container in enumerate(containers):
        here = f"{path}.containers[{place}]"
        name = container.get("name")
        if not name:
            causes.append(required(f"{here}.name"))
        elif not _LABEL.fullmatch(name):
            causes.append(wrong(f"{here}.name", name, _LABEL_WHY))
        elif name in seen:
            causes.append(
                Cause(f"{here}.name", "FieldValueDuplicate", f"Duplicate value: {go_value(name)}")
            )
        seen.add(name)
        if not container.get("image"):
            causes.append(required(f"{here}.image"))
        for at, port in enumerate(container.get("ports") or []):
            causes += _port(port.get("containerPort"), f"{here}.ports[{at}].containerPort")
    return causes


def _port(value: Any, path: str) -> list[Cause]:
    if value is None or value == 0:
        return [required(path)]
    if isinstance(value, int) and not 1 <= value <= 65535:
        return [wrong(path, value, "must be between 1 and 65535, inclusive")]
    return []


def _check_pod(obj: Json, old: Json | None) -> list[Cause]:
    causes = _check_containers(obj["spec"], "spec")
    if old is not None:
        causes += _check_pod_update(obj["spec"], old["spec"])
    return causes


def _check_pod_update(new: Json, old: Json) -> list[Cause]:
    def fixed(spec: Json) -> Json:
        kept = {
            k: v
            for k, v in spec.items()
            if k
            not in (
                "tolerations",
                "activeDeadlineSeconds",
                "nodeName",
                "terminationGracePeriodSeconds",
            )
        }
        for word in ("containers", "initContainers"):
            kept[word] = [
                {k: v for k, v in c.items() if k != "image"} for c in spec.get(word) or []
            ]
        return kept

    if fixed(new) == fixed(old) and new.get("nodeName") == old.get("nodeName"):
        return []
    why = (
        "Forbidden: pod updates may not change fields other than `spec.containers[*].image`, "
        "`spec.initContainers[*].image`, "
        "`spec.activeDeadlineSeconds` or `spec.tolerations` (only additions to existing tolerations)"
    )
    return [Cause("spec", "FieldValueForbidden", why)]


def _check_workload(obj: Json, old: Json | None) -> list[Cause]:
    spec = obj["spec"]
    causes = _check_replicas(spec)
    selector = spec.get("selector")
    labels = (spec["template"].get("metadata") or {}).get("labels") or {}
    if not selector:
        causes.append(required("spec.selector"))
    elif not matches_selector(selector, labels):
        shown = go_value(labels).replace("map[string]interface {}", "map[string]string")
        why = f"Invalid value: {shown}: `selector` does not match template `labels`"
        causes.append(Cause("spec.template.metadata.labels", "FieldValueInvalid", why))
    if old is not None and old["spec"].get("selector") != selector:
        causes.append(wrong("spec.selector", selector, "field is immutable"))
    return causes + _check_containers(spec["template"]["spec"], "spec.template.spec")


def _check_replicas(spec: Json) -> list[Cause]:
    count = spec.get("replicas")
    if isinstance(count, int) and count < 0:
        return [wrong("spec.replicas", count, "must be greater than or equal to 0")]
    return []


def _check_job(obj: Json, old: Json | None) -> list[Cause]:
    spec = obj["spec"]
    causes = _check_containers(spec["template"]["spec"], "spec.template.spec")
    policy = spec["template"]["spec"].get("restartPolicy")
    if policy not in ("OnFailure", "Never"):
        causes.append(
            unsupported("spec.template.spec.restartPolicy", policy, ["OnFailure", "Never"])
        )
    if old is not None and old["spec"].get("template") != spec.get("template"):
        causes.append(wrong("spec.template", {}, "field is immutable"))
    return causes


def _check_service(obj: Json, old: Json | None) -> list[Cause]:
    spec = obj["spec"]
    kinds = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"]
    causes = [] if spec["type"] in kinds else [unsupported("spec.type", spec["type"], kinds)]
    if not spec.get("ports") and spec["type"] != "ExternalName" and spec.get("clusterIP") != "None":
        causes.append(required("spec.ports"))
    for place, port in enumerate(spec.get("ports") or []):
        causes += _port(port.get("port"), f"spec.ports[{place}].port")
        if len(spec["ports"]) > 1 and not port.get("name"):
            causes.append(required(f"spec.ports[{place}].name"))
    if (
        old is not None
        and old["spec"].get("clusterIP") not in (None, "", spec.get("clusterIP"))
        and spec["type"] != "ExternalName"
    ):
        causes.append(wrong("spec.clusterIP", spec.get("clusterIP"), "field is immutable"))
    return causes


def _check_binding(obj: Json, old: Json | None) -> list[Cause]:
    reference = obj.get("roleRef") or {}
    if not reference.get("name"):
        return [required("roleRef.name")]
    if old is not None and old.get("roleRef") != reference:
        return [wrong("roleRef", reference, "cannot change roleRef")]
    return []


def _check_secret(obj: Json, old: Json | None) -> list[Cause]:
    if old is not None and old.get("type") != obj.get("type"):
        return [wrong("type", obj.get("type"), "field is immutable")]
    return _check_frozen(obj, old)


def _check_frozen(obj: Json, old: Json | None) -> list[Cause]:
    if old is None or not old.get("immutable"):
        return []
    same = all(old.get(field) == obj.get(field) for field in ("data", "binaryData"))
    return (
        []
        if same
        else [
            Cause(
                "data",
                "FieldValueForbidden",
                "Forbidden: field is immutable when `immutable` is set",
            )
        ]
    )


def _check_hpa(obj: Json, _old: Json | None) -> list[Cause]:
    spec = obj["spec"]
    causes = (
        []
        if (spec.get("scaleTargetRef") or {}).get("name")
        else [required("spec.scaleTargetRef.name")]
    )
    most, least = spec.get("maxReplicas"), spec.get("minReplicas", 1)
    if not isinstance(most, int) or most < 1:
        causes.append(wrong("spec.maxReplicas", most or 0, "must be greater than 0"))
    elif most < least:
        causes.append(
            wrong("spec.maxReplicas", most, "must be greater than or equal to `minReplicas`")
        )
    return causes


_CHECKS: dict[str, Check] = {
    "Pod": _check_pod, "Deployment": _check_workload, "ReplicaSet": _check_workload, "StatefulSet": _check_workload,
    "DaemonSet": _check_workload, "Job": _check_job, "Service": _check_service, "RoleBinding": _check_binding,
    "ClusterRoleBinding": _check_binding, "Secret": _check_secret, "ConfigMap": _check_frozen,
    "HorizontalPodAutoscaler": _check_hpa,
}  # fmt: skip
