"""The Kubernetes objects that an Application becomes, as server-side apply takes them. Pure: values
in, manifests out.

Names and labels are fixed, as selectors cannot change later: pods and Deployment selectors carry
`kubestorm.io/application` and `kubestorm.io/track`, whatever the strategy. A field that is left out
belongs to whoever else sets it: the number of replicas while an autoscaler owns it, for one.
"""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import math
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

from kubestorm.clients.api_versions import ApiVersions
from kubestorm.core.naming import GROUP, VERSION
from kubestorm.kinds.application.settings import INGRESS, LOAD_BALANCER, NODE_PORT
from kubestorm.kinds.application.values import RECREATE, ApplicationSpec, Health

MANAGED_BY = "kubestorm"
NAME_LABEL = "app.kubernetes.io/name"
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
APPLICATION_LABEL = "kubestorm.io/application"
TRACK_LABEL = "kubestorm.io/track"
ACTIVE_TRACK_ANNOTATION = "kubestorm.io/active-track"
IMAGE_TAG_ANNOTATION = "kubestorm.io/image-tag"
CONFIG_HASH_ANNOTATION = "kubestorm.io/config-hash"
APPLIED_ANNOTATION = "kubestorm.io/applied"
STABLE = "stable"
CONTAINER = "app"
PORT_NAME = "http"
STARTUP_PERIOD_SECONDS = 5
REVISIONS_KEPT = 3
SERVICE_TYPES = {NODE_PORT: "NodePort", LOAD_BALANCER: "LoadBalancer"}
FILES_VOLUME, SECRET_FILES_VOLUME = "config-files", "secret-files"

Manifest = Dict[str, Any]


# Names.


def deployment_name(app: str, track: str) -> str:
    """The Deployment of a track."""
    return app if track == STABLE else f"{app}-{track}"


def config_map_name(app: str) -> str:
    """Variables from Consul and Databases."""
    return f"{app}-config"


def files_name(app: str) -> str:
    """The ConfigMap with files from Consul."""
    return f"{app}-files"


def secret_name(app: str) -> str:
    """Variables from Vault."""
    return f"{app}-secrets"


def secret_files_name(app: str) -> str:
    """The Secret with files from Vault."""
    return f"{app}-secret-files"


def file_key(path: str) -> str:
    """The key of a file in its ConfigMap or Secret."""
    return path.lstrip("/").replace("/", ".")


def labels(app: str, track: str = "") -> Dict[str, str]:
    """What everything of an Application carries; pods their track as well."""
    found = {NAME_LABEL: app, MANAGED_BY_LABEL: MANAGED_BY, APPLICATION_LABEL: app}
    return {**found, TRACK_LABEL: track} if track else found


def owner_reference(app: ApplicationSpec) -> Dict[str, Any]:
    """What makes the garbage collector remove an object with its Application."""
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "Application",
        "name": app.name,
        "uid": app.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


# Objects.


def deployment(
    app: ApplicationSpec,
    *,
    track: str,
    image: str,
    replicas: Optional[int],
    config_hash: str,
    image_tag: str = "",
) -> Manifest:
    """One track's Deployment. `image` is by digest; `replicas` None leaves their number to whoever
    owns it.
    """
    if "@sha256:" not in image:
        raise ValueError(f"an image is deployed by its digest, and {image!r} has none")
    strategy = app.strategy
    selector = {APPLICATION_LABEL: app.name, TRACK_LABEL: track}
    rollout: Dict[str, Any] = {"type": "Recreate"}
    if strategy.type != RECREATE:
        rolling = {"maxSurge": strategy.max_surge, "maxUnavailable": strategy.max_unavailable}
        rollout = {"type": "RollingUpdate", "rollingUpdate": rolling}
    spec: Dict[str, Any] = {
        "selector": {"matchLabels": selector},
        "strategy": rollout,
        "progressDeadlineSeconds": strategy.deadline_seconds,
        "revisionHistoryLimit": REVISIONS_KEPT,
        "template": {
            "metadata": {
                "labels": labels(app.name, track),
                "annotations": {CONFIG_HASH_ANNOTATION: config_hash},
            },
            "spec": _pod(app, track, image),
        },
    }
    if replicas is not None:
        spec["replicas"] = replicas
    annotations = {IMAGE_TAG_ANNOTATION: image_tag} if image_tag else {}
    manifest = _object(app, "apps/v1", "Deployment", deployment_name(app.name, track), annotations)
    manifest["metadata"]["labels"] = labels(app.name, track)
    return _patched(app, "deployment", {**manifest, "spec": spec})


def service(app: ApplicationSpec, *, tracks: Tuple[str, ...]) -> Manifest:
    """The Service of an Application with a port: of one track, or of all of them where several are
    named.
    """
    if app.port is None:
        raise ValueError(f"{app.name} has no port, so no Service")
    selector = {APPLICATION_LABEL: app.name}
    if len(tracks) == 1:
        selector[TRACK_LABEL] = tracks[0]
    port: Dict[str, Any] = {
        "name": PORT_NAME,
        "port": app.exposure.port,
        "targetPort": app.port,
        "protocol": "TCP",
    }
    if app.exposure.node_port is not None:
        port["nodePort"] = app.exposure.node_port
    spec = {
        "type": SERVICE_TYPES.get(app.exposure.type, "ClusterIP"),
        "selector": selector,
        "ports": [port],
    }
    annotations = {ACTIVE_TRACK_ANNOTATION: tracks[0] if tracks else STABLE}
    return _patched(
        app, "service", {**_object(app, "v1", "Service", app.name, annotations), "spec": spec}
    )


def ingress(
    app: ApplicationSpec, api: ApiVersions, *, hosts: Optional[Sequence[str]] = None
) -> Optional[Manifest]:
    """The Ingress for its hosts, or those of them that it may have (`hosts`); None where it wants
    none.
    """
    exposure = app.exposure
    wanted = (
        exposure.hosts if hosts is None else tuple(host for host in exposure.hosts if host in hosts)
    )
    if exposure.type != INGRESS or not wanted or api.networking is None:
        return None
    backend = {"service": {"name": app.name, "port": {"number": exposure.port}}}
    paths = [{"path": exposure.path, "pathType": "Prefix", "backend": backend}]
    spec: Dict[str, Any] = {
        "rules": [{"host": host, "http": {"paths": copy.deepcopy(paths)}} for host in wanted]
    }
    if exposure.tls_secret is not None:
        spec["tls"] = [{"hosts": list(wanted), "secretName": exposure.tls_secret}]
    if exposure.ingress_class is not None:
        spec["ingressClassName"] = exposure.ingress_class
    manifest = _object(
        app, api.ingresses.api_version, "Ingress", app.name, dict(exposure.annotations)
    )
    return _patched(app, "ingress", {**manifest, "spec": spec})


def autoscaler(
    app: ApplicationSpec, target_deployment: str, api: ApiVersions
) -> Optional[Manifest]:
    """The HorizontalPodAutoscaler of a Deployment; None where the number is fixed.

    autoscaling/v1 knows CPU alone: an Application with a memory target is refused there by `steps`.
    """
    replicas = app.replicas
    if not replicas.autoscaled or api.autoscaling is None:
        return None
    spec: Dict[str, Any] = {
        "scaleTargetRef": {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "name": target_deployment,
        },
        "minReplicas": replicas.min,
        "maxReplicas": replicas.max,
    }
    if api.autoscaling == "v1":
        spec["targetCPUUtilizationPercentage"] = replicas.target_cpu
    else:
        # Servers that store this kind as v1 (1.20 does) give the CPU metric back last, wherever it
        # was.
        targets = (("memory", replicas.target_memory), ("cpu", replicas.target_cpu))
        spec["metrics"] = [
            _metric(name, percent) for name, percent in targets if percent is not None
        ]
    manifest = _object(app, api.autoscalers.api_version, "HorizontalPodAutoscaler", app.name)
    return _patched(app, "autoscaler", {**manifest, "spec": spec})


def disruption_budget(app: ApplicationSpec, api: ApiVersions) -> Optional[Manifest]:
    """At most a quarter of the pods, and one at least, may be drained at a time; none is wanted for
    one pod alone.
    """
    if app.replicas.max < 2 or api.policy is None:
        return None
    spec = {"maxUnavailable": "25%", "selector": {"matchLabels": {APPLICATION_LABEL: app.name}}}
    manifest = _object(app, api.disruption_budgets.api_version, "PodDisruptionBudget", app.name)
    return _patched(app, "disruptionBudget", {**manifest, "spec": spec})


def config_map(
    app: ApplicationSpec, name: str, data: Mapping[str, Union[str, bytes]], content_hash: str
) -> Manifest:
    """A ConfigMap with a hash of its content; bytes become `binaryData`."""
    manifest = _object(app, "v1", "ConfigMap", name, {CONFIG_HASH_ANNOTATION: content_hash})
    texts = {key: value for key, value in sorted(data.items()) if isinstance(value, str)}
    binary = {
        key: base64.b64encode(value).decode()
        for key, value in sorted(data.items())
        if isinstance(value, bytes)
    }
    more = {"binaryData": binary} if binary else {}
    return stamped({**manifest, "data": texts, **more})


def secret(
    app: ApplicationSpec, name: str, encoded: Mapping[str, str], versions_hash: str
) -> Manifest:
    """A Secret; `encoded` is base64, and the hash is of versions, never of contents."""
    manifest = _object(app, "v1", "Secret", name, {CONFIG_HASH_ANNOTATION: versions_hash})
    return stamped({**manifest, "type": "Opaque", "data": dict(sorted(encoded.items()))})


def _object(
    app: ApplicationSpec,
    api_version: str,
    kind: str,
    name: str,
    annotations: Optional[Mapping[str, str]] = None,
) -> Manifest:
    metadata: Dict[str, Any] = {
        "name": name,
        "namespace": app.namespace,
        "labels": labels(app.name),
        "ownerReferences": [owner_reference(app)],
    }
    if annotations:
        metadata["annotations"] = dict(annotations)
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata}


def stamped(manifest: Manifest) -> Manifest:
    """The manifest with a hash of itself, by which a removed field is noticed.

    A Secret's values are left out of it: nothing from which they could be guessed is stored.
    """
    shown = manifest
    if manifest["kind"] == "Secret":
        shown = {**manifest, "data": sorted(manifest.get("data") or {})}
    digest = content_hash(json.dumps(shown, sort_keys=True))
    annotations = {**(manifest["metadata"].get("annotations") or {}), APPLIED_ANNOTATION: digest}
    return {**manifest, "metadata": {**manifest["metadata"], "annotations": annotations}}


# The pod.


def _pod(app: ApplicationSpec, track: str, image: str) -> Dict[str, Any]:
    volumes, mounts = _files(app)
    container: Dict[str, Any] = {
        "name": CONTAINER,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "resources": {
            "requests": {"cpu": app.resources.cpu_request, "memory": app.resources.memory_request},
            "limits": {"cpu": app.resources.cpu_limit, "memory": app.resources.memory_limit},
        },
        "securityContext": {"allowPrivilegeEscalation": False},
        **_probes(app.health),
    }
    if app.command:
        container["command"] = list(app.command)
    if app.args:
        container["args"] = list(app.args)
    if app.port is not None:
        container["ports"] = [{"name": PORT_NAME, "containerPort": app.port, "protocol": "TCP"}]
    sources = _env_sources(app)
    if sources:
        container["envFrom"] = sources
    if app.env:
        container["env"] = [
            {"name": name, "value": value} for name, value in sorted(app.env.items())
        ]
    if mounts:
        container["volumeMounts"] = mounts
    pod: Dict[str, Any] = {
        "containers": [container],
        "terminationGracePeriodSeconds": app.shutdown_seconds,
        "automountServiceAccountToken": app.service_account is not None,
        **_spread(app, track),
    }
    if app.service_account is not None:
        pod["serviceAccountName"] = app.service_account
    if app.pull_secret is not None:
        pod["imagePullSecrets"] = [{"name": app.pull_secret}]
    if volumes:
        pod["volumes"] = volumes
    return pod


def _env_sources(app: ApplicationSpec) -> List[Dict[str, Any]]:
    """Variables of both objects; where a name is in both, the Secret's counts, and `env` counts
    before either.
    """
    sources: List[Dict[str, Any]] = []
    if has_config_map(app):
        sources.append({"configMapRef": {"name": config_map_name(app.name)}})
    if has_secret(app):
        sources.append({"secretRef": {"name": secret_name(app.name)}})
    return sources


def has_config_map(app: ApplicationSpec) -> bool:
    """Whether variables come from Consul or a Database."""
    return bool(app.databases) or any(source.file is None for source in app.config)


def has_secret(app: ApplicationSpec) -> bool:
    """Whether variables come from Vault."""
    return bool(app.databases) or any(source.file is None for source in app.secrets)


def has_files(app: ApplicationSpec) -> bool:
    """Whether files come from Consul."""
    return any(source.file is not None for source in app.config)


def has_secret_files(app: ApplicationSpec) -> bool:
    """Whether files come from Vault."""
    return any(source.file is not None for source in app.secrets)


def _files(app: ApplicationSpec) -> Tuple[List[Dict[str, Any]], List[Dict[str, Any]]]:
    volumes: List[Dict[str, Any]] = []
    if has_files(app):
        volumes.append({"name": FILES_VOLUME, "configMap": {"name": files_name(app.name)}})
    if has_secret_files(app):
        volumes.append(
            {"name": SECRET_FILES_VOLUME, "secret": {"secretName": secret_files_name(app.name)}}
        )
    mounts = [
        {"name": volume, "mountPath": path, "subPath": file_key(path), "readOnly": True}
        for volume, paths in (
            (FILES_VOLUME, [source.file for source in app.config]),
            (SECRET_FILES_VOLUME, [source.file for source in app.secrets]),
        )
        for path in sorted(filter(None, paths))
    ]
    return volumes, mounts


def _probes(health: Health) -> Dict[str, Any]:
    """Three probes out of few values: it may take its time to start, stops getting requests when it
    fails, and is restarted only after failing for twice as long, so that a busy pod is relieved
    before it is killed."""
    ready = _handler(health, health.http_path)
    alive = _handler(health, health.live_path or health.http_path)
    timing = {"periodSeconds": health.every_seconds, "timeoutSeconds": health.timeout_seconds}
    period = min(STARTUP_PERIOD_SECONDS, health.start_seconds)
    startup = {
        "periodSeconds": period,
        "timeoutSeconds": health.timeout_seconds,
        "failureThreshold": math.ceil(health.start_seconds / period),
    }
    return {
        "startupProbe": {**copy.deepcopy(ready), **startup},
        "readinessProbe": {**ready, **timing, "failureThreshold": health.failures},
        "livenessProbe": {**alive, **timing, "failureThreshold": health.failures * 2},
    }


def _handler(health: Health, path: Optional[str]) -> Dict[str, Any]:
    if health.command:
        return {"exec": {"command": list(health.command)}}
    if health.tcp:
        return {"tcpSocket": {"port": health.port}}
    return {"httpGet": {"path": path, "port": health.port, "scheme": "HTTP"}}


def _spread(app: ApplicationSpec, track: str) -> Dict[str, Any]:
    """Over zones and then nodes, as far as the cluster can: a preference, never a reason for a pod
    to stay pending.
    """
    if app.spread == "none":
        return {}
    selector = {"matchLabels": {APPLICATION_LABEL: app.name, TRACK_LABEL: track}}
    keys = [("kubernetes.io/hostname", 50)]
    if app.spread == "zones":
        keys.insert(0, ("topology.kubernetes.io/zone", 100))
    terms = [
        {
            "weight": weight,
            "podAffinityTerm": {"labelSelector": copy.deepcopy(selector), "topologyKey": key},
        }
        for key, weight in keys
    ]
    found: Dict[str, Any] = {
        "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": terms}}
    }
    if app.spread == "zones":
        found["topologySpreadConstraints"] = [
            {
                "maxSkew": 1,
                "topologyKey": "topology.kubernetes.io/zone",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": copy.deepcopy(selector),
            }
        ]
    return found


def _metric(name: str, percent: int) -> Dict[str, Any]:
    target = {"type": "Utilization", "averageUtilization": percent}
    return {"type": "Resource", "resource": {"name": name, "target": target}}


# The exceptional case.


def _patched(app: ApplicationSpec, which: str, manifest: Manifest) -> Manifest:
    """The manifest with the Application's patch merged in; the pack's own labels, and the image,
    stay.
    """
    change = app.patch.get(which)
    if not change:
        return stamped(manifest)
    merged: Manifest = merge_patch(manifest, change)
    merged["metadata"]["labels"] = {
        **(merged["metadata"].get("labels") or {}),
        **manifest["metadata"]["labels"],
    }
    if which == "deployment":
        template = manifest["spec"]["template"]
        mine = merged["spec"]["template"]["metadata"]
        mine["labels"] = {**(mine.get("labels") or {}), **template["metadata"]["labels"]}
        mine["annotations"] = {
            **(mine.get("annotations") or {}),
            **template["metadata"]["annotations"],
        }
        image = template["spec"]["containers"][0]["image"]
        for container in merged["spec"]["template"]["spec"]["containers"]:
            if container.get("name") == CONTAINER:
                container["image"] = image
    return stamped(merged)


def merge_patch(value: Any, change: Any) -> Any:
    """RFC 7386, except that lists of objects with a `name` are merged by it. Arguments stay as they
    are.
    """
    if isinstance(change, Mapping):
        base = dict(value) if isinstance(value, Mapping) else {}
        for key, item in change.items():
            if item is None:
                base.pop(key, None)
            else:
                base[key] = merge_patch(base.get(key), item)
        return base
    if _is_named(change) and _is_named(value):
        by_name = {item["name"]: item for item in change}
        merged = [merge_patch(item, by_name.pop(item["name"], {})) for item in value]
        return merged + [copy.deepcopy(dict(item)) for item in by_name.values()]
    return copy.deepcopy(change)


def _is_named(value: Any) -> bool:
    if not isinstance(value, list) or not value:
        return False
    return all(isinstance(item, Mapping) and isinstance(item.get("name"), str) for item in value)


def content_hash(*parts: str) -> str:
    """A short hash of texts, each kept apart from the next. Not for secrets."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{len(part)}:".encode())
        digest.update(part.encode())
    return digest.hexdigest()[:16]
