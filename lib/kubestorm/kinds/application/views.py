"""Applications as a person asks for them: a list, one in short, one from all sides. Reads only, and
never a secret.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Mapping, Tuple

from kubestorm.clients.kube import KubeClient, Resource
from kubestorm.clients.services import Services
from kubestorm.core import conditions, untrusted
from kubestorm.core.errors import Error
from kubestorm.kinds.application import apply, config, deploying, render, versions
from kubestorm.kinds.application.hosts import APPLICATIONS
from kubestorm.kinds.application.rollout import history, observe
from kubestorm.kinds.application.rollout.intents import freeze_of, wish_of
from kubestorm.kinds.application.spec import InvalidSpecError, parse
from kubestorm.kinds.application.steps import CONFIG_RESOURCES, DEPLOYMENTS, ORDER, SERVICES

View = Dict[str, Any]


def list_applications(services: Services, namespace: str = "") -> List[View]:
    """One line each, sorted by namespace and name; every namespace where none is given."""
    found = services.kube.list_all(APPLICATIONS, namespace)
    return sorted(
        (_line(item) for item in found), key=lambda line: (line["namespace"], line["name"])
    )


def application_status(services: Services, namespace: str, name: str) -> View:
    """Which version runs, whether it is well, what is under way, and why not."""
    resource = services.kube.get(APPLICATIONS, name, namespace)
    status: Mapping[str, Any] = untrusted.status(resource)
    told = {item.get("type"): item for item in untrusted.mappings(status.get("conditions"))}
    wish, freeze = wish_of(resource), freeze_of(resource)
    line = _line(resource)
    return {
        **line,
        "summary": _summary(line),
        "conditions": [
            {
                key: told[kind].get(key, "")
                for key in ("type", "status", "reason", "message", "lastTransitionTime")
            }
            for kind in (*ORDER, conditions.READY)
            if kind in told
        ],
        "rollout": status.get("rollout"),
        "wanted": {"tag": wish.tag, "digest": wish.digest} if wish else None,
        "frozen": {"owner": freeze.owner, "reason": freeze.reason} if freeze else None,
        "waiting_for": status.get("waitingFor"),
    }


def show_application(services: Services, namespace: str, name: str) -> View:
    """What is asked for, and beside it the objects that it became, its pods' trouble and its
    rollouts.

    What cannot be read is quoted, not fatal.
    """
    kube = services.kube
    resource = kube.get(APPLICATIONS, name, namespace)
    shown: View = {**application_status(services, namespace, name), "spec": resource.get("spec")}
    shown["secret_versions"] = untrusted.mapping(untrusted.status(resource).get("secretVersions"))
    looks: Dict[str, Callable[[], Any]] = {
        "objects": lambda: _objects(services, resource),
        "trouble": lambda: _trouble(kube, resource),
        "rollouts": lambda: history.table(
            history.look(kube, namespace, name, resource["metadata"]["uid"])
        ),
    }
    for part, look in looks.items():
        try:
            shown[part] = look()
        except Error as error:
            shown[part] = {"error": str(error)}
    return shown


def _line(resource: Mapping[str, Any]) -> View:
    metadata, status = resource["metadata"], untrusted.status(resource)
    ready = conditions.condition_in(status, conditions.READY)
    image = untrusted.mapping(status.get("image"))
    return {
        "namespace": metadata.get("namespace", ""),
        "name": metadata["name"],
        "tag": image.get("tag", ""),
        "digest": image.get("digest", ""),
        "image": image.get("repository")
        or ((resource.get("spec") or {}).get("image") or {}).get("repository"),
        "pods": untrusted.integer(status.get("replicas")),
        "available": untrusted.integer(status.get("availableReplicas")),
        "track": status.get("activeTrack", ""),
        "url": status.get("url", ""),
        "ready": ready.get("status", conditions.UNKNOWN),
        "reason": ready.get("reason", ""),
        "message": ready.get("message", ""),
    }


def _summary(line: Mapping[str, Any]) -> str:
    where = f"{line['namespace']}/{line['name']}"
    runs = f"runs {line['tag'] or line['digest'][:19]}" if line["digest"] else "runs nothing yet"
    pods = f"{line['available']} of {line['pods']} pods available"
    if line["ready"] == conditions.TRUE:
        return f"{where} {runs}, {pods}: all is as asked for."
    return (
        f"{where} {runs}, {pods}. {line['reason'] or 'Unknown'}: "
        f"{line['message'] or 'nobody has looked at it yet.'}"
    )


def _objects(services: Services, resource: Mapping[str, Any]) -> List[View]:
    """Everything it should have become, and what of it is there."""
    try:
        app = parse(resource, services.settings)
    except InvalidSpecError as error:
        return [{"error": str(error)}]
    kube, api = services.kube, versions.discover(services.kube)
    service = apply.read(kube, SERVICES, app.name, app.namespace)
    track = deploying.active_track(resource, service)
    wished: List[Tuple[Resource, str, str, bool]] = [
        (DEPLOYMENTS, "Deployment", render.deployment_name(app.name, track), True),
        (SERVICES, "Service", app.name, app.port is not None),
        (api.ingresses, "Ingress", app.name, bool(app.exposure.hosts)),
        (api.autoscalers, "HorizontalPodAutoscaler", app.name, app.replicas.autoscaled),
        (api.disruption_budgets, "PodDisruptionBudget", app.name, app.replicas.max > 1),
    ]
    wished += [
        (CONFIG_RESOURCES[kind], kind, name, is_wished)
        for kind, name, is_wished in config.names_of(app)
    ]
    found: List[View] = []
    for where, kind, name, is_wished in wished:
        live = apply.read(kube, where, name, app.namespace) if is_wished else None
        if is_wished:
            found.append(
                {"kind": kind, "name": name, "exists": live is not None, **_owned(live, app.uid)}
            )
    return found


def _owned(live: Any, uid: str) -> View:
    return {} if live is None else {"ours": apply.is_owned(live, uid)}


def _trouble(kube: KubeClient, resource: Mapping[str, Any]) -> Any:
    """What is wrong with the active pods, None where nothing is."""
    name, namespace = resource["metadata"]["name"], resource["metadata"]["namespace"]
    track = str(untrusted.status(resource).get("activeTrack") or render.STABLE)
    live = apply.read(kube, DEPLOYMENTS, render.deployment_name(name, track), namespace)
    failure = observe.failure_of(kube, live) if live is not None else None
    return {"reason": failure.reason, "message": failure.message} if failure else None
