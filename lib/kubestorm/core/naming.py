"""What things are called, so that clusters and teams share one AWS account, Vault and Consul
without meeting.

Pure; a name follows from cluster, namespace and name alone, so that a re-run finds what an earlier
run made.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any, Mapping, NamedTuple

GROUP = "kubestorm.io"
VERSION = "v1alpha1"
FINALIZER = "kubestorm.io/cleanup"
CONFIRM_DELETE_ANNOTATION = "kubestorm.io/confirm-delete"
RECREATE_ANNOTATION = "kubestorm.io/recreate"
ROTATE_ANNOTATION = "kubestorm.io/rotate-credentials"
SNAPSHOT_ANNOTATION = "kubestorm.io/snapshot"
LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
"""A name as RFC 1123 has labels: a namespace's, and those of most of our objects."""
# When a step that held the Lease was asked for another look; the sensor takes it for a change.
LOOK_AGAIN_ANNOTATION = "kubestorm.io/look-again"
# On a Lease, for people: the object that it locks.
LEASE_OF_ANNOTATION = "kubestorm.io/lease-of"
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
# Taken away by the step that has acted upon them.
CONSUMED_ANNOTATIONS = (
    RECREATE_ANNOTATION,
    "kubestorm.io/build-request",
    "kubestorm.io/retry-digest",
    "kubestorm.io/take-fields",
)
REQUESTED_BY_ANNOTATION = "kubestorm.io/requested-by"
# On the Jobs and Pods of ImageBuilds, which may be in another namespace than theirs.
IMAGE_BUILD_LABEL = "kubestorm.io/image-build"
IMAGE_BUILD_NAMESPACE_LABEL = "kubestorm.io/image-build-namespace"
IMAGE_BUILD_UID_LABEL = "kubestorm.io/image-build-uid"

# Source: "Constraints" of DBInstanceIdentifier and DBSnapshotIdentifier in the RDS API reference.
INSTANCE_IDENTIFIER_LENGTH = 63
SNAPSHOT_IDENTIFIER_LENGTH = 255
HASH_LENGTH = 8

TAG_CLUSTER = "kubestorm.io/cluster"
TAG_NAMESPACE = "kubestorm.io/namespace"
TAG_NAME = "kubestorm.io/name"
TAG_UID = "kubestorm.io/uid"
# The uid of the Database that was deleted with Retain: tells what was left on purpose from what was
# forgotten.
TAG_RETAINED = "kubestorm.io/retained"
TAG_CREDENTIALS_VERSION = "kubestorm.io/credentials-version"
TAG_CREDENTIALS_PENDING = "kubestorm.io/credentials-pending"


class Identity(NamedTuple):
    """Which object is meant: all that a rule passes on. `plural` is the resource's name in the API
    (`databases`).
    """

    cluster: str
    group: str
    version: str
    plural: str
    namespace: str
    name: str
    uid: str

    def __str__(self) -> str:
        return f"{self.plural}.{self.group} {self.namespace}/{self.name}"


def rds_identifier(prefix: str, cluster: str, namespace: str, name: str) -> str:
    """`<prefix>-<cluster>-<namespace>-<name>` as RDS allows it; a hash keeps cut or cleaned names
    apart.

    RDS wants letters, digits and single hyphens, a letter first, no hyphen last. Whatever had to
    change for that, or was longer than 63 characters, ends in eight characters of a hash of the
    whole. So does a name whose prefix, cluster or namespace holds a hyphen: `a-b` + `c` and `a` +
    `b-c` are different databases.
    """
    parts = (prefix, cluster, namespace, name)
    plain = "-".join(parts)
    clean = re.sub(r"-+", "-", re.sub(r"[^a-z0-9-]", "-", plain.lower())).strip("-")
    if not clean[:1].isalpha():
        clean = f"db-{clean}"
    ambiguous = any("-" in part for part in parts[:-1])
    if clean == plain and not ambiguous and len(clean) <= INSTANCE_IDENTIFIER_LENGTH:
        return clean
    digest = hashlib.sha256("/".join(parts).encode()).hexdigest()[:HASH_LENGTH]
    return f"{clean[: INSTANCE_IDENTIFIER_LENGTH - HASH_LENGTH - 1].rstrip('-')}-{digest}"


def snapshot_identifier(instance_identifier: str, uid: str, kind: str) -> str:
    """The snapshot of one object's life; the uid keeps those of an earlier object of the same name
    apart.

    `kind` is `manual` (checked first) or `final` (made by the deletion), or `asked-` and the word
    of whoever asked.
    """
    digest = hashlib.sha256(uid.encode()).hexdigest()[:HASH_LENGTH]
    return f"{instance_identifier}-{kind}-{digest}"[:SNAPSHOT_IDENTIFIER_LENGTH]


def parameter_group(identifier: str, family: str) -> str:
    """The instance's own DB parameter group: one for each family, because a group cannot change its
    family.
    """
    return f"{identifier}-{family.replace('.', '-')}"


def vault_path(cluster: str, namespace: str, name: str) -> str:
    """Path of a database's credentials, relative to the mount of the KV v2 engine."""
    return f"kubestorm/{cluster}/{namespace}/{name}"


def pending_vault_path(path: str) -> str:
    """Where a rotation keeps the new password until it is promoted; no database's own path, as
    names hold no slash.
    """
    return f"{path}/pending"


def consul_prefix(cluster: str, namespace: str, name: str) -> str:
    """Where a database's address is published; ends in a slash."""
    return f"kubestorm/{cluster}/{namespace}/{name}/"


def owner_tags(identity: Identity) -> Mapping[str, str]:
    """The tags that say whose an RDS instance is."""
    return {
        TAG_CLUSTER: identity.cluster,
        TAG_NAMESPACE: identity.namespace,
        TAG_NAME: identity.name,
        TAG_UID: identity.uid,
    }


def is_ours(resource: Mapping[str, Any]) -> bool:
    """Whether an object is of our API group; one without apiVersion (an item of a list) is."""
    return str(resource.get("apiVersion") or GROUP).partition("/")[0] == GROUP


def identity_of(cluster: str, plural: str, resource: Mapping[str, Any]) -> Identity:
    """The identity of an object as the Kubernetes API returned it."""
    group, _, version = str(resource["apiVersion"]).rpartition("/")
    metadata = resource["metadata"]
    return Identity(
        cluster,
        group,
        version,
        plural,
        metadata.get("namespace", ""),
        metadata["name"],
        metadata["uid"],
    )
