"""The words that rollouts share with Applications and with the people who ask for something."""

from __future__ import annotations

from kubestorm.kube import Resource
from kubestorm.naming import GROUP, VERSION

APPLICATIONS = Resource(GROUP, VERSION, "applications")
ROLLOUTS = Resource(GROUP, VERSION, "rollouts")
DEPLOYMENTS = Resource("apps", "v1", "deployments")
REPLICA_SETS = Resource("apps", "v1", "replicasets")
PODS = Resource("", "v1", "pods")
SERVICES = Resource("", "v1", "services")
SECRETS = Resource("", "v1", "secrets")
JOBS = Resource("batch", "v1", "jobs")

APPLICATION_LABEL = "kubestorm.io/application"
TRACK_LABEL = "kubestorm.io/track"
# On the Job of a post-deploy test and its pods, which the Service must not select.
TEST_OF_LABEL = "kubestorm.io/test-of"
ACTIVE_TRACK = "kubestorm.io/active-track"
IMAGE_TAG = "kubestorm.io/image-tag"
CONFIG_HASH = "kubestorm.io/config-hash"

# What people, and pushes, write on an Application.
WANTED_IMAGE = "kubestorm.io/wanted-image"
ABORT = "kubestorm.io/abort"
PROMOTE = "kubestorm.io/promote"
ROLLBACK_TO = "kubestorm.io/rollback-to"
FREEZE = "kubestorm.io/freeze"
RETRY_DIGEST = "kubestorm.io/retry-digest"
# On a Rollout.
APPROVAL = "kubestorm.io/approval"

PREVIOUS_WORD = "previous"
"""What `rollback-to` says for the last good image before the present one."""


def rollout_name(app: str, digest: str, number: int) -> str:
    """`<app>-<short digest>-<n>`; an application's name is at most 40 characters."""
    return f"{app}-{digest.partition(':')[2][:8]}-{number}"


def selector(app: str) -> str:
    """The label selector of everything that an application is made of."""
    return f"{APPLICATION_LABEL}={app}"
