"""The words that rollouts share with Applications and with the people who ask for something."""

from __future__ import annotations

from typing import Any

from kubestorm.clients.kube import Resource
from kubestorm.core import untrusted
from kubestorm.core.naming import GROUP, VERSION

APPLICATIONS = Resource(GROUP, VERSION, "applications")
ROLLOUTS = Resource(GROUP, VERSION, "rollouts")
DEPLOYMENTS = Resource("apps", "v1", "deployments")
REPLICA_SETS = Resource("apps", "v1", "replicasets")
PODS = Resource("", "v1", "pods")
SERVICES = Resource("", "v1", "services")
SECRETS = Resource("", "v1", "secrets")
CONFIG_MAPS = Resource("", "v1", "configmaps")
JOBS = Resource("batch", "v1", "jobs")

APPLICATION_LABEL = "kubestorm.io/application"
TRACK_LABEL = "kubestorm.io/track"
# On the Job of a post-deploy test and its pods, which the Service must not select.
TEST_OF_LABEL = "kubestorm.io/test-of"
ACTIVE_TRACK = "kubestorm.io/active-track"

# Which image an Application is to run: annotations, as whoever may write its spec decides that.
WANTED_IMAGE = "kubestorm.io/wanted-image"
RETRY_DIGEST = "kubestorm.io/retry-digest"
# Has the fields of an Application's objects taken back from other managers, once.
TAKE_FIELDS = "kubestorm.io/take-fields"

PREVIOUS_WORD = "previous"
"""What a rollback says for the last good image before the present one."""


def rollout_name(app: str, digest: str, number: int) -> str:
    """`<app>-<short digest>-<n>`; an application's name is at most 40 characters."""
    return f"{app}-{digest.partition(':')[2][:8]}-{number}"


def application_uid(rollout: Any) -> str:
    """The uid of the Application that a Rollout belongs to, whose Lease its steps take; empty where
    nothing says it.
    """
    owners = untrusted.mappings(untrusted.mapping(rollout.get("metadata")).get("ownerReferences"))
    owner = next((one for one in owners if one.get("kind") == "Application"), None)
    if owner is None:
        owner = untrusted.mapping(untrusted.mapping(rollout.get("spec")).get("applicationRef"))
    return untrusted.text(owner.get("uid"))


def selector(app: str) -> str:
    """The label selector of everything that an application is made of."""
    return f"{APPLICATION_LABEL}={app}"
