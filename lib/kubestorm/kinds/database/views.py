"""Databases as a person asks for them: a list, one from all sides. Reads only, and never a secret's
contents.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Callable, Dict, List, Mapping

from kubestorm.clients.kube import Resource
from kubestorm.clients.services import Services
from kubestorm.core import conditions, naming, untrusted
from kubestorm.core.errors import DefinitionError, Error, NotFoundError

DATABASES = Resource(naming.GROUP, naming.VERSION, "databases")


def resource_of(services: Services, kind: str = "") -> Resource:
    """The resource that `kind` (`plural.group`, as kubectl takes it) names; Database where it is
    empty.
    """
    if kind in ("", "databases", f"databases.{naming.GROUP}"):
        return DATABASES
    plural, _, group = kind.partition(".")
    for mapping in services.settings.database.kinds:
        if (mapping.plural, mapping.group) == (plural, group):
            return Resource(group, mapping.version, plural)
    raise DefinitionError(
        f"{kind} is no kind of database that the pack's configuration knows.", field="kind"
    )


def list_databases(services: Services, namespace: str = "") -> List[Mapping[str, Any]]:
    """One line each, sorted by namespace and name; every namespace where none is given."""
    found = services.kube.list_all(DATABASES, namespace)
    return sorted(
        (_line(item) for item in found), key=lambda line: (line["namespace"], line["name"])
    )


def show_database(services: Services, namespace: str, name: str) -> Mapping[str, Any]:
    """What is asked for and what each service says; a service that does not answer is quoted, not
    fatal.
    """
    resource = services.kube.get(DATABASES, name, namespace)
    cluster = services.settings.cluster
    status: Mapping[str, Any] = untrusted.status(resource)
    identifier = status.get("instanceIdentifier") or naming.rds_identifier(
        services.settings.database.identifier_prefix, cluster, namespace, name
    )
    shown: Dict[str, Any] = {**_line(resource), "spec": resource.get("spec"), "status": status}
    looks: Dict[str, Callable[[], Any]] = {
        "rds": lambda: describe_instance(services, str(identifier)),
        "vault": lambda: services.vault.describe(naming.vault_path(cluster, namespace, name)),
        "consul": lambda: services.consul.show_tree(naming.consul_prefix(cluster, namespace, name)),
    }
    for service, look in looks.items():
        try:
            shown[service] = look()
        except Error as error:
            shown[service] = {"error": str(error)}
    return shown


def describe_instance(services: Services, identifier: str) -> Mapping[str, Any]:
    """An RDS instance as plain values. NotFoundError when there is none."""
    observed = services.rds.describe(identifier)
    if observed is None:
        raise NotFoundError(f"AWS RDS has no instance {identifier}.", service="AWS RDS")
    return {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in asdict(observed).items()
    }


def _line(resource: Mapping[str, Any]) -> Dict[str, Any]:
    metadata, spec = resource["metadata"], resource.get("spec") or {}
    status = untrusted.status(resource)
    ready = conditions.condition_in(status, conditions.READY)
    return {
        "namespace": metadata.get("namespace", ""),
        "name": metadata["name"],
        "engine": spec.get("engine"),
        "version": spec.get("version"),
        "size": spec.get("size"),
        "ready": ready.get("status", conditions.UNKNOWN),
        "reason": ready.get("reason", ""),
        "message": ready.get("message", ""),
        "endpoint": untrusted.mapping(status.get("endpoint")).get("host"),
    }
