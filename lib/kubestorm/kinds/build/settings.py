"""The `build` section of the pack's configuration: under each field its unit, default and reason.

The platform team decides about registries, builders and where credentials may be read from. The
configuration has the Vault paths of credentials, never the credentials.
"""

from __future__ import annotations

import os
import platform
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Mapping, Optional, Tuple

from kubestorm.clients.git.settings import GitSettings
from kubestorm.clients.registry.settings import (
    SECTION,
    AccessSettings,
    ConnectionSettings,
    declared,
)
from kubestorm.core.sections import read_section, setting
from kubestorm.sources.git.settings import WebhooksSettings

HOST_BUILDAH, BUILDKIT, BUILDAH, KANIKO = "host-buildah", "buildkit", "buildah", "kaniko"
_SOURCE, _WEBHOOKS = GitSettings(), WebhooksSettings()
BUILDERS = (BUILDKIT, BUILDAH, KANIKO, HOST_BUILDAH)


@dataclass(frozen=True)
class RegistryAccess(AccessSettings):
    """An entry of `registries.hosts[].access`, and of which host it is."""

    host: str = ""
    where: str = ""
    """Its path in the configuration."""


@dataclass(frozen=True)
class HostSettings:
    """Builds with buildah on this host. For trusted sources only: chroot is no security
    boundary.
    """

    enabled: bool = False
    """Whether ImageBuilds may use host-buildah."""
    allow_root: bool = False
    """Whether to build as root, where RUN is root on this machine. For the demo and tests."""
    buildah: str = "buildah"
    """The program."""
    storage_driver: str = setting("vfs", one_of=("vfs", "overlay"))
    """vfs needs no kernel support and no privileges; overlay is faster where it works."""
    network: bool = True
    """Whether RUN may use the host's network. If not, base images are pulled first."""


@dataclass(frozen=True)
class ResourceSettings:
    """What a build's container may use, in Kubernetes' quantities."""

    cpu_request: str = "500m"
    """CPU request."""
    memory_request: str = "1Gi"
    """Memory request."""
    cpu_limit: Optional[str] = None
    """CPU limit."""
    memory_limit: str = "4Gi"
    """Memory limit."""
    disk_limit: str = "20Gi"
    """Limit of ephemeral storage."""


@dataclass(frozen=True)
class ClusterSettings:
    """Builds as Jobs, all in one namespace of the platform team."""

    namespace: str = "kubestorm-builds"
    """Namespace of the Jobs."""
    service_account: str = "kubestorm-build"
    """Has no rights, and its token is not mounted."""
    git_image: str = "docker.io/alpine/git:2.47.2"
    """Has git, which fetches the source; runs as user 1000."""
    buildkit_image: str = "docker.io/moby/buildkit:v0.21.1-rootless"
    """Image of BuildKit, rootless."""
    buildah_image: str = "quay.io/buildah/stable:v1.39.3"
    """Image of Buildah."""
    kaniko_image: str = "gcr.io/kaniko-project/executor:v1.24.0-debug"
    """Image of kaniko."""
    resources: ResourceSettings = ResourceSettings()
    """Requests and limits of the container that builds."""
    node_selector: Mapping[str, str] = field(default_factory=dict)
    """Node selector of the pods."""
    image_pull_secret: Optional[str] = None
    """Name of a Secret in that namespace, to pull the images above."""
    keep_seconds: int = setting(3600, least=60)
    """How long a finished Job is kept, with its log."""


@dataclass(frozen=True)
class BuildSettings:
    """How images are built from git repositories (docs/builds.md)."""

    builder: str = setting(BUILDKIT, one_of=BUILDERS)
    """The default for ImageBuilds: buildkit, buildah, kaniko (all in the cluster) or
    host-buildah.
    """
    builders: Tuple[str, ...] = setting((), one_of=BUILDERS)
    """The other builders that an ImageBuild may choose."""
    folder: str = ""
    """The folder for fetched sources, running builds and logs on a host; empty: kubestorm-UID in
    /var/tmp.
    """
    max_concurrent: int = setting(2, least=1)
    """Concurrent builds in each namespace of ImageBuilds."""
    timeout_seconds: int = setting(1800, least=1)
    """For one image, unless the ImageBuild sets another."""
    max_timeout_seconds: int = setting(7200, least=1)
    """The most that an ImageBuild may set."""
    attempts: int = setting(3, least=1)
    """Attempts for an image whose failure may be transient (network, registry, an interrupted
    build).
    """
    retry_seconds: float = 30.0
    """Before the second attempt; doubles with each further one."""
    log_tail_bytes: int = setting(4000, most=32768)
    """How much of the end of a log is written to the ImageBuild's status."""
    keep_logs: int = 10
    """For how many builds of each ImageBuild a host keeps the complete logs."""
    allow_absolute_links: bool = False
    """Whether a context may have symbolic links to absolute paths, as an overlay of a root file
    system has.
    """
    pull_secret_name: str = "kubestorm-registry"  # noqa: S105 (the name of one)
    """The Secret that `pull_secret_ensure` creates."""
    source: GitSettings = _SOURCE
    """Which git servers may be talked to, and how."""
    webhooks: WebhooksSettings = _WEBHOOKS
    """Where push webhooks of git servers come in; without hooks nothing listens."""
    host: HostSettings = HostSettings()
    """Builds by buildah on this host, for trusted sources only."""
    cluster: ClusterSettings = ClusterSettings()
    """Builds as Jobs in one namespace that operations own."""

    MOVED: ClassVar[Mapping[str, str]] = {
        "registries": "is now registries.hosts, with namespaces, repositories and logins "
        "(vault_path is push_vault_path) in its access.",
        "default_registry": "is now registries.default.",
    }

    default_registry: str = setting("", internal=True)
    """`registries.default`."""
    hosts: Tuple[ConnectionSettings, ...] = setting((), internal=True)
    """`registries.hosts`."""

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> BuildSettings:
        """Raises DefinitionError naming the key that is wrong. Nothing is read from disk."""
        registries = declared(config)
        return replace(
            read_section(cls, config.get("build"), "build"),
            default_registry=registries.default,
            hosts=registries.hosts,
        )

    def registry(self, host: str) -> Optional[ConnectionSettings]:
        """The registry of that host; None where operations have not declared it."""
        return next((each for each in self.hosts if each.host == host), None)

    @property
    def registries(self) -> Tuple[RegistryAccess, ...]:
        """Every entry of every host's `access`."""
        return tuple(
            RegistryAccess(**vars(one), host=each.host, where=f"{SECTION}.hosts[{i}].access[{j}]")
            for i, each in enumerate(self.hosts)
            for j, one in enumerate(each.access)
        )

    @property
    def offered(self) -> Tuple[str, ...]:
        """The builders that an ImageBuild may choose."""
        return (self.builder, *(each for each in self.builders if each != self.builder))

    @property
    def in_cluster(self) -> bool:
        """Whether a builder that may be chosen runs as Jobs."""
        return any(builder != HOST_BUILDAH for builder in self.offered)

    @property
    def job_namespace(self) -> str:
        """The namespace of Jobs; empty where no builder runs as Jobs."""
        return self.cluster.namespace if self.in_cluster else ""

    def platform_of(self, builder: str) -> str:
        """The platform of images that set none; empty where that depends on the node."""
        selected = self.cluster.node_selector.get("kubernetes.io/arch", "")
        architecture = platform.machine() if builder == HOST_BUILDAH else selected
        return f"linux/{architecture}" if architecture else ""

    @property
    def work_folder(self) -> Path:
        """The folder for builds on this host."""
        if self.folder:
            return Path(self.folder).expanduser()
        base = Path("/var/tmp")  # noqa: S108 (a private folder; workspace.py checks its owner)
        return (base if base.is_dir() else Path(tempfile.gettempdir())) / f"kubestorm-{os.getuid()}"
