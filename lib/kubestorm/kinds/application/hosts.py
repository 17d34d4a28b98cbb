"""Which Application may have an ingress host that several claim: the older one keeps it, the
younger is refused it.

A host belongs to the namespace of its oldest claimant. Applications of that namespace may share it
by different paths; for the same path the older one counts again. Another namespace gets nothing of
it: whoever could add `/login` under somebody else's host would get their visitors' passwords. A
wildcard covers hosts one label deeper (Kubernetes' Ingress says so): an older wildcard of another
namespace keeps a younger host below it from being served, an older host takes nothing from a
younger wildcard, since the longer name wins in every ingress controller.

Pure; `list_claims` is the adapter. Decided anew in each run, so that a host is free once its
holder is gone.
"""

from __future__ import annotations

from typing import (
    Any,
    Dict,
    Iterable,
    Iterator,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
)

from kubestorm.clients.kube import KubeClient
from kubestorm.clients.resources import APPLICATIONS
from kubestorm.kinds.application.settings import INGRESS, ApplicationSettings, is_allowed
from kubestorm.kinds.application.spec import claimed_hosts


class Claim(NamedTuple):
    """What one Application asks for. `created` is its creationTimestamp, which sorts as text."""

    created: str
    uid: str
    namespace: str
    name: str
    hosts: Tuple[str, ...]
    path: str = "/"

    @property
    def age(self) -> Tuple[str, str]:
        """The older of two sorts first."""
        return self.created, self.uid

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class Refusal(NamedTuple):
    """A host that is another's."""

    host: str
    holder: Claim
    held: str
    """The holder's host: the same, or a wildcard above it."""

    def __str__(self) -> str:
        how = self.host if self.held == self.host else f"{self.host} (below {self.held})"
        return f"{how} belongs to Application {self.holder}, which is older"


class Verdict(NamedTuple):
    granted: Tuple[str, ...]
    refused: Tuple[Refusal, ...]


def claim_of(resource: Mapping[str, Any], settings: ApplicationSettings) -> Claim:
    """What an Application object claims, whatever else may be wrong with it; nothing that
    operations do not allow it, so that nobody keeps a host from others by a claim that is never
    carried out."""
    metadata = resource["metadata"]
    created, uid = str(metadata.get("creationTimestamp") or ""), str(metadata.get("uid") or "")
    namespace = str(metadata.get("namespace") or "")
    hosts, path = claimed_hosts(resource, settings)
    limits = settings.limits_for(namespace)
    if limits.exposures is not None and INGRESS not in limits.exposures:
        hosts = ()
    patterns = limits.hosts_of(namespace)
    allowed = tuple(host for host in hosts if patterns is None or is_allowed(host, patterns))
    return Claim(created, uid, namespace, str(metadata["name"]), allowed, path)


def decide(mine: Claim, others: Iterable[Claim]) -> Verdict:
    """Which of its hosts an Application may have. `others` may hold itself."""
    older = [claim for claim in others if claim.age < mine.age]
    return decide_all([*older, mine])[mine.uid]


def decide_all(claims: Iterable[Claim]) -> Dict[str, Verdict]:
    """Uid of each Application -> which of its hosts it may have."""
    verdicts: Dict[str, Verdict] = {}
    holders: Dict[str, List[Claim]] = {}
    for claim in sorted(claims, key=lambda claim: claim.age):
        # Only what an older one really has counts: a host that it lost in turn keeps nobody out.
        verdict = verdicts[claim.uid] = _judge(claim, holders)
        for host in verdict.granted:
            holders.setdefault(host, []).append(claim)
    return verdicts


def _judge(claim: Claim, holders: Mapping[str, Sequence[Claim]]) -> Verdict:
    granted: List[str] = []
    refused: List[Refusal] = []
    for host in claim.hosts:
        refusal = _refusal(host, claim, holders)
        if refusal is None:
            granted.append(host)
        else:
            refused.append(refusal)
    return Verdict(tuple(granted), tuple(refused))


def list_claims(kube: KubeClient, settings: ApplicationSettings) -> Iterator[Claim]:
    """The claims of all Applications of the cluster; those that are being deleted serve until they
    are gone.
    """
    for resource in kube.list_all(APPLICATIONS):
        claim = claim_of(resource, settings)
        if claim.hosts:
            yield claim


def _refusal(host: str, claim: Claim, holders: Mapping[str, Sequence[Claim]]) -> Optional[Refusal]:
    for held in covering(host):
        for holder in holders.get(held, ()):
            if holder.namespace != claim.namespace or (
                held == host and _path(holder.path) == _path(claim.path)
            ):
                return Refusal(host, holder, held)
    return None


def covering(host: str) -> Tuple[str, ...]:
    """What one may hold to have this host: itself, or the wildcard one label above it."""
    parent = host.partition(".")[2]
    return (host,) if host.startswith("*.") or not parent else (host, f"*.{parent}")


def _path(path: str) -> str:
    """`/cart` and `/cart/` are one path to an Ingress of type Prefix."""
    return path.rstrip("/") or "/"
