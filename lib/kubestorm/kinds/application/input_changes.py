"""Which Applications have inputs that changed without a watch event: Consul, Vault, ingress hosts
of other Applications, the address of a load balancer.

One pass over all Applications of a cluster, instead of a run of each: it computes what a run would
find and compares that with the Application's status.
"""

from __future__ import annotations

import contextlib
import logging
from typing import Any, Dict, Iterable, List, Mapping, Sequence, Set

from kubestorm.clients.resources import APPLICATIONS, SERVICES
from kubestorm.clients.services import Services
from kubestorm.core import untrusted
from kubestorm.core.errors import Error, NotFoundError, TemporaryError
from kubestorm.core.naming import Identity, identity_of
from kubestorm.kinds.application import apply, config
from kubestorm.kinds.application.config import Waiting
from kubestorm.kinds.application.hosts import claim_of, decide_all
from kubestorm.kinds.application.plan import url_of
from kubestorm.kinds.application.settings import INGRESS, LOAD_BALANCER, ApplicationSettings
from kubestorm.kinds.application.spec import InvalidSpecError, parse
from kubestorm.kinds.application.status import Reason
from kubestorm.kinds.application.values import ApplicationSpec
from kubestorm.kinds.common.resource import ResourceHandle, reason_of

Object = Mapping[str, Any]
log = logging.getLogger(__name__)


def changed_inputs(services: Services, applications: Iterable[Object]) -> List[Identity]:
    """The Applications that a run would change something for. `applications` are all of the
    cluster: who may have an ingress host depends on the others.

    A Consul or a Vault that is away changes nothing for anybody, and is not asked again in this
    pass. An Application that cannot be checked is logged, and the others are checked. Temporary
    errors of Kubernetes are raised.
    """
    return _Pass(services, list(applications)).changed()


def wake_changed(services: Services) -> List[Identity]:
    """Have the sensor dispatch each Application whose inputs have changed; returns those."""
    look = _Pass(services, list(services.kube.list_all(APPLICATIONS)))
    changed = look.changed()
    for identity in changed:
        if identity.uid in look.new_hosts:
            # Its run asks who claims them where the status does not say that it has them.
            with contextlib.suppress(NotFoundError):
                services.kube.patch_status(
                    APPLICATIONS, identity.name, {"hosts": None}, identity.namespace
                )
        ResourceHandle(services, identity, "").request_look()
    return changed


class _Pass:
    def __init__(self, services: Services, listed: Sequence[Object]) -> None:
        self._services, self._listed = services, listed
        settings = ApplicationSettings.from_config(services.settings.raw)
        self._verdicts = decide_all(claim_of(each, settings) for each in listed)
        self._away: Set[str] = set()
        self.new_hosts: Set[str] = set()
        """Uids of those that may have other ingress hosts than they have."""

    def changed(self) -> List[Identity]:
        """Those that have changed. One that cannot be checked is logged and left out."""
        found: List[Identity] = []
        for typed in map(_typed, self._listed):
            cluster = self._services.settings.cluster
            identity = identity_of(cluster, APPLICATIONS.plural, typed)
            try:
                if self._is_changed(typed):
                    found.append(identity)
            except TemporaryError:
                raise
            except Exception as error:  # noqa: BLE001 (whatever one of them holds, the others are checked)
                why = error if isinstance(error, Error) else type(error).__name__
                log.warning("application.not_checked: %s: %s", identity, why)
        return found

    def _is_changed(self, resource: Object) -> bool:
        metadata, status = resource["metadata"], untrusted.status(resource)
        observed = untrusted.integer(status.get("observedGeneration"))
        if metadata.get("deletionTimestamp") or observed < untrusted.integer(
            metadata.get("generation")
        ):
            return False  # it goes, or its own event is on the way
        try:
            app = parse(resource, self._services.settings)
        except InvalidSpecError:
            return False
        return (
            self._has_new_hosts(metadata["uid"], app, status)
            or self._has_new_address(app, status)
            or self._has_new_configuration(app, status)
        )

    def _has_new_hosts(self, uid: str, app: ApplicationSpec, status: Object) -> bool:
        if app.exposure.type != INGRESS:
            return False
        if list(self._verdicts[uid].granted) == untrusted.words(status.get("hosts")):
            return False
        self.new_hosts.add(uid)
        return True

    def _has_new_address(self, app: ApplicationSpec, status: Object) -> bool:
        if app.exposure.type != LOAD_BALANCER:
            return False
        service = apply.read(self._services.kube, SERVICES, app.name, app.namespace)
        return url_of(app, (), service) != status.get("url")

    def _has_new_configuration(self, app: ApplicationSpec, status: Object) -> bool:
        if not app.reads_outside or self._away & _services_of(app):
            return False
        told = untrusted.mapping(status.get("waitingFor"))
        try:
            found = config.assemble(app, config.gather(self._services, app))
        except TemporaryError as error:
            if error.service not in ("Consul", "Vault"):
                raise
            self._away.add(error.service)
            return False
        except Error as error:
            if error.service not in ("Consul", "Vault"):
                raise
            found = Waiting(reason_of(error), str(error))
        if isinstance(found, Waiting):
            if found.reason == Reason.WAITING_FOR_DATABASE:
                # How far a Database has come is in the sentence, and changes nothing for the pods.
                return bool(found.reason != told.get("reason"))
            return bool(found.as_status != told)
        made = config.hash_of(app, config.manifests(app, found))
        versions = dict(found.versions)
        return bool(
            told
            or made != status.get("configHash")
            or versions != untrusted.mapping(status.get("secretVersions"))
        )


def _services_of(app: ApplicationSpec) -> Set[str]:
    consul = {"Consul"} if app.config or app.databases else set()
    return consul | ({"Vault"} if app.secrets or app.databases else set())


def _typed(resource: Object) -> Dict[str, Any]:
    """Lists leave out what each object is."""
    typed = {"apiVersion": APPLICATIONS.api_version, "kind": "Application"}
    return {**resource, **typed}
