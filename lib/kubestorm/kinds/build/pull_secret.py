"""The Secret with which a namespace's pods pull from the configured registries."""

from __future__ import annotations

from typing import Any, Dict, Optional

from kubestorm.clients.kube import Resource
from kubestorm.clients.services import Services
from kubestorm.core import untrusted
from kubestorm.core.errors import ConflictError, NotFoundError, PermanentError
from kubestorm.kinds.application.settings import ApplicationSettings
from kubestorm.kinds.build.credentials import docker_config, registry_logins, secret_manifest
from kubestorm.kinds.build.logins import namespace_grants
from kubestorm.kinds.build.settings import BuildSettings

SECRETS = Resource("", "v1", "secrets")
ACCOUNTS = Resource("", "v1", "serviceaccounts")
LABELS = {"app.kubernetes.io/managed-by": "kubestorm"}


def ensure_pull_secret(
    services: Services, namespace: str, *, name: str = "", service_account: Optional[str] = None
) -> Dict[str, Any]:
    """Create or update the Secret in a namespace and, where one is named, add it to a service
    account. Safe to repeat.

    PermanentError for a Secret of that name that kubestorm does not manage. It is written only
    where it differs, so that a rotation in Vault reaches the namespace with the next call. It holds
    logins that only pull; DefinitionError, and the Secret stays as it is, where there is only a
    login that pushes and the configuration does not allow namespaces to have it.
    """
    settings = BuildSettings.from_config(services.settings.raw)
    name = name or settings.pull_secret_name
    allowed = ApplicationSettings.from_config(services.settings.raw).allowed_registries
    logins = registry_logins(services.vault, namespace_grants(settings, namespace, allowed))
    wanted = secret_manifest(name, namespace, docker_config(logins), labels=LABELS)
    changed = _ensure_secret(services, wanted)
    linked = _link(services, namespace, name, service_account) if service_account else False
    return {
        "namespace": namespace,
        "name": name,
        "registries": [login.key for login in logins],
        "changed": changed,
        "linked": linked,
    }


def _ensure_secret(services: Services, wanted: Dict[str, Any]) -> bool:
    metadata = wanted["metadata"]
    try:
        found = services.kube.get(SECRETS, metadata["name"], metadata["namespace"])
    except NotFoundError:
        try:
            services.kube.create(SECRETS, wanted, metadata["namespace"])
            return True
        except ConflictError:
            found = services.kube.get(SECRETS, metadata["name"], metadata["namespace"])
    if untrusted.labels_of(found).get("app.kubernetes.io/managed-by") != "kubestorm":
        message = (
            f"Secret {metadata['namespace']}/{metadata['name']} is not managed by kubestorm; "
            "delete it, or choose another name."
        )
        raise PermanentError(message, service="Kubernetes")
    if found.get("type") != wanted["type"]:
        services.kube.delete(
            SECRETS, metadata["name"], metadata["namespace"], uid=found["metadata"]["uid"]
        )
        services.kube.create(SECRETS, wanted, metadata["namespace"])  # its type cannot be changed
        return True
    if found.get("data") == wanted["data"]:
        return False
    services.kube.patch(SECRETS, metadata["name"], {"data": wanted["data"]}, metadata["namespace"])
    return True


def _link(services: Services, namespace: str, name: str, account: str) -> bool:
    """Add the Secret to a service account's imagePullSecrets; others are kept."""
    found = services.kube.get(ACCOUNTS, account, namespace)
    if any(each.get("name") == name for each in found.get("imagePullSecrets") or ()):
        return False
    services.kube.patch(
        ACCOUNTS, account, {"imagePullSecrets": [{"name": name}]}, namespace, kind="strategic"
    )
    return True
