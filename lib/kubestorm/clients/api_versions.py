"""Which versions of Kubernetes' own kinds a cluster serves: 1.20 has neither autoscaling/v2 nor
policy/v1.
"""

from __future__ import annotations

from typing import Any, Mapping, NamedTuple, Optional, Sequence

from kubestorm.clients.kube import KubeClient, Resource
from kubestorm.core.errors import NotFoundError

AUTOSCALING = ("v2", "v2beta2", "v1")
DISRUPTION = ("v1", "v1beta1")
NETWORKING = ("v1",)


class ApiVersions(NamedTuple):
    """The version to use of each group; None where the cluster has none that we know."""

    autoscaling: Optional[str] = "v2"
    policy: Optional[str] = "v1"
    networking: Optional[str] = "v1"

    @property
    def autoscalers(self) -> Resource:
        return Resource("autoscaling", self.autoscaling or "v2", "horizontalpodautoscalers")

    @property
    def disruption_budgets(self) -> Resource:
        return Resource("policy", self.policy or "v1", "poddisruptionbudgets")

    @property
    def ingresses(self) -> Resource:
        return Resource("networking.k8s.io", self.networking or "v1", "ingresses")


def choose(group: Mapping[str, Any], known: Sequence[str]) -> Optional[str]:
    """The best known version among those of an APIGroup document."""
    served = {str(item.get("version")) for item in group.get("versions") or ()}
    return next((version for version in known if version in served), None)


def discover_api_versions(kube: KubeClient) -> ApiVersions:
    """Ask the cluster; three small answers."""
    return ApiVersions(
        autoscaling=choose(_group(kube, "autoscaling"), AUTOSCALING),
        policy=choose(_group(kube, "policy"), DISRUPTION),
        networking=choose(_group(kube, "networking.k8s.io"), NETWORKING),
    )


def _group(kube: KubeClient, name: str) -> Mapping[str, Any]:
    try:
        return kube.request("GET", f"/apis/{name}")
    except NotFoundError:
        return {}
