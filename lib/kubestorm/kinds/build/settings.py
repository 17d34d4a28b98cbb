"""The `build` section of the pack's configuration: under each field its unit, default and reason.

Operations own registries, builders and where credentials may be read from; an ImageBuild names
values only. As everywhere, the configuration says where a credential is found, and holds none.
"""

from __future__ import annotations

import os
import platform
import tempfile
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Mapping, Optional, Tuple

from kubestorm.clients.git.settings import GitSettings
from kubestorm.core.errors import DefinitionError
from kubestorm.core.sections import read_section
from kubestorm.sources.git.settings import WebhooksSettings

HOST_BUILDAH, BUILDKIT, BUILDAH, KANIKO = "host-buildah", "buildkit", "buildah", "kaniko"
BUILDERS = (BUILDKIT, BUILDAH, KANIKO, HOST_BUILDAH)


@dataclass(frozen=True)
class RegistrySettings:
    """Some repositories of one registry, and the logins for them. Several entries may be of one
    host; the most specific pattern counts.
    """

    host: str = ""
    """As an image reference begins: `registry.example.com` or `registry.example.com:5000`."""
    namespaces: Tuple[str, ...] = ("*",)
    """Shell patterns of the namespaces it is for."""
    repositories: Tuple[str, ...] = ("{namespace}/*",)
    """Shell patterns of the repositories it is about, which these namespaces may push to;
    `{namespace}` stands for theirs.
    """
    vault_path: Optional[str] = None
    """Where `username` and `password` of the login that pushes are, relative to the mount. With
    neither this nor `pull_vault_path` the registry asks for none.
    """
    pull_vault_path: Optional[str] = None
    """The same of the login that only pulls. Alone: nothing is pushed there."""
    copy_push_login: bool = False
    """Whether namespaces' pull secrets hold `vault_path` where nothing else pulls. Off, as whoever
    reads such a Secret can push.
    """
    insecure: bool = False
    """Plain HTTP, or a certificate that nobody checks. For a registry on the same machine."""
    ca_file: Optional[str] = None
    """PEM file with the registry's own authority, on the host that builds."""

    @property
    def is_pushed_to(self) -> bool:
        """Whether it is for pushing, and not for pulling alone."""
        return self.vault_path is not None or self.pull_vault_path is None

    def patterns(self, namespace: str) -> Tuple[str, ...]:
        """The patterns that hold for a namespace, filled in; none where it is not for it."""
        if not any(fnmatchcase(namespace, each) for each in self.namespaces):
            return ()
        return tuple(each.replace("{namespace}", namespace) for each in self.repositories)


@dataclass(frozen=True)
class HostSettings:
    """Builds by buildah on this host. For trusted sources only: chroot is no security boundary."""

    enabled: bool = False
    allow_root: bool = False
    """Whether to build as root, where a Dockerfile's RUN is root on this machine. For the demo and
    tests.
    """
    buildah: str = "buildah"
    storage_driver: str = "vfs"
    """vfs needs no kernel support and no privilege; overlay is faster where it works."""
    network: bool = True
    """Whether RUN may use the host's network. Without it base images are pulled first."""


@dataclass(frozen=True)
class ResourceSettings:
    """What a build's container may use, in Kubernetes' quantities."""

    cpu_request: str = "500m"
    memory_request: str = "1Gi"
    cpu_limit: Optional[str] = None
    memory_limit: str = "4Gi"
    disk_limit: str = "20Gi"


@dataclass(frozen=True)
class ClusterSettings:
    """Builds as Jobs, all in one namespace that operations own."""

    namespace: str = "kubestorm-builds"
    service_account: str = "kubestorm-build"
    """Has no rights, and its token is not mounted."""
    git_image: str = "docker.io/alpine/git:2.47.2"
    """Brings git for the source; it runs as an ordinary user."""
    buildkit_image: str = "docker.io/moby/buildkit:v0.21.1-rootless"
    buildah_image: str = "quay.io/buildah/stable:v1.39.3"
    kaniko_image: str = "gcr.io/kaniko-project/executor:v1.24.0-debug"
    resources: ResourceSettings = field(default_factory=ResourceSettings)
    node_selector: Mapping[str, str] = field(default_factory=dict)
    image_pull_secret: Optional[str] = None
    """Name of a Secret in that namespace for the images above."""
    keep_seconds: int = 3600
    """How long a Job that is over stays, with its log."""


@dataclass(frozen=True)
class BuildSettings:
    """The whole section."""

    builder: str = BUILDKIT
    """For an ImageBuild that names none: buildkit, buildah, kaniko (all in the cluster) or
    host-buildah.
    """
    builders: Tuple[str, ...] = ()
    """Which other ones an ImageBuild may ask for."""
    default_registry: str = ""
    """The host of the registry for a repository that names none."""
    registries: Tuple[RegistrySettings, ...] = ()
    folder: str = ""
    """Where the host keeps fetched sources, builds under way and logs; empty: kubestorm-UID below
    /var/tmp.
    """
    max_concurrent: int = 2
    """Builds at a time for each namespace of ImageBuilds."""
    timeout_seconds: int = 1800
    """For one image, unless the ImageBuild says less."""
    max_timeout_seconds: int = 7200
    """The most that an ImageBuild may ask for."""
    attempts: int = 3
    """Tries of an image whose failure may pass by itself (network, registry, an interrupted build).
    """
    retry_seconds: float = 30.0
    """Before the second try; it doubles."""
    log_tail_bytes: int = 4000
    """How much of the end of a log the ImageBuild's status shows."""
    keep_logs: int = 10
    """How many builds' whole logs the host keeps of each ImageBuild."""
    allow_absolute_links: bool = False
    """Whether a context may hold symbolic links to absolute paths, as a root file system's overlay
    does.
    """
    pull_secret_name: str = "kubestorm-registry"  # noqa: S105 (the name of one)
    """The Secret that `pull_secret_ensure` makes."""
    source: GitSettings = field(default_factory=GitSettings)
    webhooks: WebhooksSettings = field(default_factory=WebhooksSettings)
    host: HostSettings = field(default_factory=HostSettings)
    cluster: ClusterSettings = field(default_factory=ClusterSettings)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> BuildSettings:
        """Raises DefinitionError naming the key that is wrong. Nothing is read from disk."""
        raw = dict(config.get("build") or {})
        cluster = dict(raw.pop("cluster", None) or {})
        cluster["resources"] = read_section(
            ResourceSettings, cluster.get("resources"), "build.cluster.resources"
        )
        raw["registries"] = tuple(
            read_section(RegistrySettings, item, f"build.registries[{index}]")
            for index, item in enumerate(raw.get("registries") or ())
        )
        settings = read_section(
            cls,
            {
                **raw,
                "source": GitSettings.from_config(config),
                "webhooks": WebhooksSettings.from_config(config),
                "host": read_section(HostSettings, raw.get("host"), "build.host"),
                "cluster": read_section(ClusterSettings, cluster, "build.cluster"),
            },
            "build",
        )
        _check(settings)
        return settings

    def registry(self, host: str) -> Optional[RegistrySettings]:
        """How the registry of that host is reached, which its entries agree on; None when
        operations named none such.
        """
        return next((each for each in self.registries if each.host == host), None)

    @property
    def offered(self) -> Tuple[str, ...]:
        """The builders that an ImageBuild may name."""
        return (self.builder, *(each for each in self.builders if each != self.builder))

    @property
    def in_cluster(self) -> bool:
        """Whether a builder that may be named runs as Jobs."""
        return any(builder != HOST_BUILDAH for builder in self.offered)

    @property
    def job_namespace(self) -> str:
        """Where builds run as Jobs; empty where none does."""
        return self.cluster.namespace if self.in_cluster else ""

    def platform_of(self, builder: str) -> str:
        """What a builder makes where an ImageBuild names no platform; empty where that depends on
        the node.
        """
        selected = self.cluster.node_selector.get("kubernetes.io/arch", "")
        architecture = platform.machine() if builder == HOST_BUILDAH else selected
        return f"linux/{architecture}" if architecture else ""

    @property
    def work_folder(self) -> Path:
        """Where this host's builds live."""
        if self.folder:
            return Path(self.folder).expanduser()
        base = Path("/var/tmp")  # noqa: S108 (a folder of this user alone; workspace.py checks whose it is)
        return (base if base.is_dir() else Path(tempfile.gettempdir())) / f"kubestorm-{os.getuid()}"


def _check(settings: BuildSettings) -> None:
    for name in settings.offered:
        if name not in BUILDERS:
            raise DefinitionError(
                f"build.builder {name!r} is none of {', '.join(BUILDERS)}.", field="build.builder"
            )
    for index, registry in enumerate(settings.registries):
        _check_registry(settings, registry, f"build.registries[{index}]")
    if settings.max_concurrent < 1 or settings.attempts < 1:
        raise DefinitionError(
            "build.max_concurrent and build.attempts are 1 or more.", field="build.max_concurrent"
        )


def _check_registry(settings: BuildSettings, registry: RegistrySettings, where: str) -> None:
    if not registry.host or "/" in registry.host:
        message = f"{where}.host is a host with an optional port, as an image reference begins."
        raise DefinitionError(message, field=f"{where}.host")
    first = settings.registry(registry.host) or registry
    if (first.insecure, first.ca_file) != (registry.insecure, registry.ca_file):
        message = (
            f"{where}: all entries of {registry.host} must have the same insecure and ca_file."
        )
        raise DefinitionError(message, field=where)
    if registry.copy_push_login and (registry.vault_path is None or registry.pull_vault_path):
        message = f"{where}.copy_push_login is for an entry with vault_path and no pull_vault_path."
        raise DefinitionError(message, field=f"{where}.copy_push_login")
