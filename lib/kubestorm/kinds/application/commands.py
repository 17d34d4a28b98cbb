"""What people ask about Applications: a list, a summary, all details, the tags of a repository.

Reads only, and never a secret.
"""

from __future__ import annotations

import re
from typing import Any, Callable, Dict, List, Mapping, Sequence, Tuple

from kubestorm.clients.api_versions import discover_api_versions
from kubestorm.clients.kube import KubeClient, Resource
from kubestorm.clients.registry.settings import declared
from kubestorm.clients.resources import APPLICATIONS, DEPLOYMENTS, SERVICES
from kubestorm.clients.services import Services
from kubestorm.core import conditions, untrusted
from kubestorm.core.errors import DefinitionError, Error
from kubestorm.core.image_names import ImageName, is_attached, is_name, split_reference
from kubestorm.kinds.application import apply, config, render
from kubestorm.kinds.application.act import CONFIG_RESOURCES
from kubestorm.kinds.application.image_policy import desired_image_of
from kubestorm.kinds.application.observe import active_track
from kubestorm.kinds.application.rollout.commands import history_table
from kubestorm.kinds.application.rollout.observe import failure_of, read_freeze, read_history
from kubestorm.kinds.application.spec import InvalidSpecError, parse
from kubestorm.kinds.application.status import ORDER

View = Dict[str, Any]


def list_applications(services: Services, namespace: str = "") -> List[View]:
    """One line each, sorted by namespace and name; every namespace where none is given."""
    found = services.kube.list_all(APPLICATIONS, namespace)
    return sorted(
        (_line(item) for item in found), key=lambda line: (line["namespace"], line["name"])
    )


def application_status(services: Services, namespace: str, name: str) -> View:
    """The running version, conditions, the rollout under way, and what is waited for."""
    resource = services.kube.get(APPLICATIONS, name, namespace)
    status: Mapping[str, Any] = untrusted.status(resource)
    told = {item.get("type"): item for item in untrusted.mappings(status.get("conditions"))}
    desired, freeze = desired_image_of(resource), read_freeze(resource)
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
        "wanted": {"tag": desired.tag, "digest": desired.digest} if desired else None,
        "frozen": {"owner": freeze.owner, "reason": freeze.reason} if freeze else None,
        "waiting_for": status.get("waitingFor"),
    }


def show_application(services: Services, namespace: str, name: str) -> View:
    """The spec, the objects created from it, failures of its pods, and its rollouts.

    A part that cannot be read holds its error instead.
    """
    kube = services.kube
    resource = kube.get(APPLICATIONS, name, namespace)
    shown: View = {**application_status(services, namespace, name), "spec": resource.get("spec")}
    shown["secret_versions"] = untrusted.mapping(untrusted.status(resource).get("secretVersions"))
    parts: Dict[str, Callable[[], Any]] = {
        "objects": lambda: _objects(services, resource),
        "trouble": lambda: _trouble(kube, resource),
        "rollouts": lambda: history_table(
            read_history(kube, namespace, name, resource["metadata"]["uid"])
        ),
    }
    for part, read in parts.items():
        try:
            shown[part] = read()
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
        return f"{where} {runs}, {pods}: ready."
    return (
        f"{where} {runs}, {pods}. {line['reason'] or 'Unknown'}: "
        f"{line['message'] or 'Not reconciled yet.'}"
    )


def _objects(services: Services, resource: Mapping[str, Any]) -> List[View]:
    """Everything it should have become, and what of it is there."""
    try:
        app = parse(resource, services.settings)
    except InvalidSpecError as error:
        return [{"error": str(error)}]
    kube, api = services.kube, discover_api_versions(services.kube)
    service = apply.read(kube, SERVICES, app.name, app.namespace)
    track = active_track(resource, service)
    wanted: List[Tuple[Resource, str, str, bool]] = [
        (DEPLOYMENTS, "Deployment", render.deployment_name(app.name, track), True),
        (SERVICES, "Service", app.name, app.port is not None),
        (api.ingresses, "Ingress", app.name, bool(app.exposure.hosts)),
        (api.autoscalers, "HorizontalPodAutoscaler", app.name, app.replicas.autoscaled),
        (api.disruption_budgets, "PodDisruptionBudget", app.name, app.replicas.max > 1),
    ]
    wanted += [
        (CONFIG_RESOURCES[kind], kind, name, is_wanted)
        for kind, name, is_wanted in config.names_of(app)
    ]
    found: List[View] = []
    for where, kind, name, is_wanted in wanted:
        live = apply.read(kube, where, name, app.namespace) if is_wanted else None
        if is_wanted:
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
    failure = failure_of(kube, live) if live is not None else None
    return {"reason": failure.reason, "message": failure.message} if failure else None


MOST_TAGS = 50


def list_tags(services: Services, repository: str, most: int = MOST_TAGS) -> Dict[str, Any]:
    """`repository`, `total` and the first `most` of `tags`. DefinitionError where the registry is
    not known.
    """
    registries = declared(services.settings.raw)
    image = image_meant(repository, registries.default, [each.host for each in registries.hosts])
    tags = newest_first([tag for tag in services.registry.tags(image) if not is_attached(tag)])
    return {"repository": str(image), "total": len(tags), "tags": tags[: max(1, most)]}


def image_meant(text: str, default: str, hosts: Sequence[str]) -> ImageName:
    """The repository that is meant, with its registry: the one that is named, or the
    configuration's. Pure.
    """
    known = list(dict.fromkeys((*((default,) if default else ()), *hosts)))
    bare = split_reference(text.strip())[0]
    host, slash, path = bare.partition("/")
    if slash and host in known:
        registry, repository = host, path
    elif slash and ("." in host or ":" in host or host == "localhost"):
        offered = ", ".join(known) or "none; see registries.hosts"
        raise DefinitionError(
            f"Registry {host} is not configured. Configured registries: {offered}.",
            field="repository",
        )
    elif len(known) == 1 or default:
        registry, repository = default or known[0], bare
    else:
        offered = ", ".join(known) or "none; see registries.hosts"
        raise DefinitionError(
            f"Name the registry of {bare}. Configured registries: {offered}.", field="repository"
        )
    if not is_name(registry, repository):
        raise DefinitionError(
            f"{repository!r} is not a valid repository; write for example team/cart.",
            field="repository",
        )
    return ImageName(registry, repository)


def newest_first(tags: Sequence[str]) -> List[str]:
    """Numbers in tags count as numbers; a release stands above its own pre-releases, words below
    versions. Pure.
    """
    return sorted(tags, key=_key, reverse=True)


def _key(tag: str) -> Tuple[Any, ...]:
    is_version = bool(re.match(r"v?\d", tag))
    head, dash, rest = tag.lstrip("v").partition("-") if is_version else (tag, "", "")
    return (is_version, _numbers(head), not dash, _numbers(rest), tag)


def _numbers(text: str) -> Tuple[Tuple[int, int, str], ...]:
    parts = re.findall(r"\d+|[^\d.]+", text)
    numbers = [untrusted.digits(part) for part in parts]
    return tuple(
        (0, 0, part) if number is None else (1, number, "") for part, number in zip(parts, numbers)
    )
