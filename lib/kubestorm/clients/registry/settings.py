"""`registries.hosts` of the pack's configuration: each registry once, with how it is read, and who
may push to it and pull from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, ClassVar, Mapping, Optional, Tuple, Type, TypeVar

from kubestorm.core.errors import DefinitionError
from kubestorm.core.image_names import DOCKER_HUB, HOST
from kubestorm.core.sections import invalid_setting, read_section, section_values, setting, unique

SECTION = "registries"
GOOGLE = "google"
ECR = "ecr"
T = TypeVar("T", bound="Registries")


@dataclass(frozen=True)
class CredentialSettings:
    """The login with which the pack reads a registry: `password_file`, `vault_path` or `cloud`."""

    username: Optional[str] = None
    """Goes with `password_file`."""
    password_file: Optional[str] = None
    """File with the password or access token. It is read for each connection, so that it may
    change.
    """
    vault_path: Optional[str] = None
    """Path in Vault, without the mount, of a secret with `username` and `password`."""
    cloud: Optional[str] = setting(None, one_of=(ECR, GOOGLE))
    """`ecr`: ask AWS for a password, with the credentials of the `aws` section. `google`: a token
    of the machine's own service account, from the metadata server.
    """

    def validate(self, where: str) -> None:
        if bool(self.username) != bool(self.password_file):
            raise DefinitionError(
                f"{where} needs both username and password_file, or vault_path, or cloud.",
                field=f"{where}.password_file",
            )
        if sum(map(bool, (self.username, self.vault_path, self.cloud))) > 1:
            raise DefinitionError(
                f"{where} names several places; keep one of password_file, vault_path and cloud.",
                field=where,
            )


@dataclass(frozen=True)
class AccessSettings:
    """Some repositories of a registry, and the logins for them."""

    namespaces: Tuple[str, ...] = ("*",)
    """Shell patterns of the namespaces that the entry is for."""
    repositories: Tuple[str, ...] = ("{namespace}/*",)
    """Shell patterns of the repositories that the entry is for; `{namespace}` is filled in. These
    namespaces may push there, unless the entry has only `pull_vault_path`.
    """
    push_vault_path: Optional[str] = None
    """Path in Vault, without the mount, of `username` and `password` of the login that pushes. With
    neither this nor `pull_vault_path` images are pushed and pulled without a login.
    """
    pull_vault_path: Optional[str] = None
    """The same of the login that only pulls, for base images and for pull secrets of namespaces."""
    copy_push_login: bool = False
    """Whether pull secrets of namespaces hold the login that pushes where there is no other.
    Whoever can read such a Secret can push.
    """

    def validate(self, where: str) -> None:
        if self.copy_push_login and (self.push_vault_path is None or self.pull_vault_path):
            raise DefinitionError(
                f"{where}.copy_push_login is for an entry with push_vault_path and no "
                "pull_vault_path.",
                field=f"{where}.copy_push_login",
            )

    @property
    def is_pushed_to(self) -> bool:
        """Whether it is for pushing, and not for pulling alone."""
        return self.push_vault_path is not None or self.pull_vault_path is None

    def patterns(self, namespace: str) -> Tuple[str, ...]:
        """The patterns that hold for a namespace, filled in; none where it is not for it."""
        if not any(fnmatchcase(namespace, each) for each in self.namespaces):
            return ()
        return tuple(each.replace("{namespace}", namespace) for each in self.repositories)


@dataclass(frozen=True)
class ConnectionSettings:
    """One registry."""

    host: str
    """As image references begin: registry.example.com:5000, docker.io."""
    url: Optional[str] = None
    """Address of its API, if not https://HOST."""
    insecure_http: bool = False
    """Use plain HTTP, for reading, pushing and pulling. What is sent can be read and changed on the
    way, passwords included.
    """
    ca_file: Optional[str] = None
    """PEM file with the registry's own certificate authority, on the host that runs the pack."""
    timeout_seconds: float = 10.0
    """Seconds for a connection and for an answer, when the pack reads from it."""
    credentials: CredentialSettings = CredentialSettings()
    """The login with which the pack reads tags and digests. Not set: the first `pull_vault_path` of
    `access`, or else none.
    """
    access: Tuple[AccessSettings, ...] = ()
    """Which namespaces push to and pull from which repositories. Of the entries that cover a
    repository the one with the most specific pattern counts. Empty: nothing is pushed here, and
    builds and pods pull without a login.
    """

    def validate(self, where: str) -> None:
        if not HOST.fullmatch(self.host):
            raise invalid_setting(
                f"{where}.host",
                "a host with an optional port, as image references begin",
                self.host,
            )
        if not self.base_url.startswith(("http://", "https://")):
            raise invalid_setting(f"{where}.url", "an https address", self.url)
        if self.base_url.startswith("http://") and not self.insecure_http:
            raise invalid_setting(
                f"{where}.url", "an https address unless insecure_http is true", self.url
            )

    @property
    def base_url(self) -> str:
        """Root of its API, without a trailing slash."""
        if self.url:
            return self.url.rstrip("/")
        if self.host == DOCKER_HUB:
            return "https://registry-1.docker.io"
        return f"{'http' if self.insecure_http else 'https'}://{self.host}"

    @property
    def reader(self) -> CredentialSettings:
        """The login with which the pack reads."""
        if self.credentials != CredentialSettings():
            return self.credentials
        paths = (each.pull_vault_path for each in self.access if each.pull_vault_path)
        return CredentialSettings(vault_path=next(paths, None))


@dataclass(frozen=True)
class Registries:
    """The registries that operations have declared."""

    MOVED: ClassVar[Mapping[str, str]] = {"connections": "is now registries.hosts."}

    default: str = ""
    """Host of the registry of an image whose repository names none."""
    hosts: Tuple[ConnectionSettings, ...] = ()
    """Each registry once. One that is not listed is read over HTTPS without a login, and nothing
    is pushed there.
    """

    def validate(self, where: str) -> None:
        unique((each.host for each in self.hosts), f"{where}.hosts", "host")
        if self.default and not HOST.fullmatch(self.default):
            raise invalid_setting(f"{where}.default", "a host with an optional port", self.default)

    def connection(self, host: str) -> ConnectionSettings:
        """How a registry is read; over HTTPS and without a login where it is not declared."""
        return next((each for each in self.hosts if each.host == host), ConnectionSettings(host))

    @classmethod
    def from_config(cls: Type[T], config: Mapping[str, Any]) -> T:
        """Read the section. Raises DefinitionError naming the setting and what would be right."""
        return read_section(cls, config.get(SECTION), SECTION)


def declared(config: Mapping[str, Any]) -> Registries:
    """The declared registries; what receives and polls pushes in the section is not read."""
    section = section_values(config.get(SECTION), SECTION)
    own = {
        key: value
        for key, value in section.items()
        if key not in ("listener", "sources", "polling")
    }
    return Registries.from_config({SECTION: own})
