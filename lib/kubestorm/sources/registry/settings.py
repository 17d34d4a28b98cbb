"""The `registries` section of the pack's configuration: the registries (clients/registry), which of
them send events of pushes, and which repositories are polled.
"""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass
from typing import Any, ClassVar, Mapping, Optional, Tuple

from kubestorm.clients.registry.settings import SECTION, Registries
from kubestorm.core.errors import DefinitionError
from kubestorm.core.image_names import HOST, ImageName
from kubestorm.core.sections import invalid_setting, setting, unique
from kubestorm.core.tag_policy import parse_follow
from kubestorm.sources.listener.authenticity import ALGORITHMS, ENCODINGS
from kubestorm.sources.listener.settings import ListenerSettings
from kubestorm.sources.registry.readers import TYPES

_LISTENER = ListenerSettings(port=8089)
SOURCE_NAME = re.compile(r"[a-z0-9]([a-z0-9_-]{0,62}[a-z0-9])?")
FOLLOW_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "semver": {"description": "A range of versions: ^1.2.", "type": "string"},
        "prereleases": {"description": "With semver: pre-releases too.", "type": "boolean"},
        "branch": {"description": "Name of a branch.", "type": "string"},
        "pattern": {"description": "A regular expression.", "type": "string"},
        "order": {
            "description": "With pattern: which tag is the highest.",
            "type": "string",
            "enum": ["alphabetical", "numerical", "time"],
        },
        "group": {"description": "With pattern: the group that is compared.", "type": "string"},
        "tag": {"description": "This tag alone.", "type": "string"},
    },
}


@dataclass(frozen=True)
class AuthSettings:
    """How a source proves who it is."""

    KEEP_EMPTY: ClassVar[bool] = True

    method: str = setting("token", one_of=("hmac", "token", "basic"))
    """`hmac` over the body, `token` in a header, or `basic`."""
    header: Optional[str] = None
    """Name of the header. Not set: Authorization for token, X-Hub-Signature-256 for hmac."""
    query: Optional[str] = None
    """Name of a parameter of the address that holds the token, for senders that can send no header
    (Docker Hub). Such an address is a secret, and proxies may log it."""
    scheme: Optional[str] = None
    """Word before the token. Not set: Bearer in Authorization, and none in other headers."""
    algorithm: str = setting("sha256", one_of=tuple(ALGORITHMS))
    """Hash of hmac."""
    encoding: str = setting("hex", one_of=tuple(ENCODINGS))
    """How the hash is written."""
    prefix: Optional[str] = None
    """What stands before the hash. Not set: `sha256=` and the like in X-Hub-Signature headers, and
    nothing elsewhere.
    """
    username: Optional[str] = None
    """For basic."""
    secret_file: Optional[str] = None
    """File with the secret. Several, one a line, are valid at once while one is replaced."""
    vault_path: Optional[str] = None
    """Path in Vault, without the mount, instead of `secret_file`."""
    vault_key: str = "token"
    """The field of that secret."""

    def validate(self, where: str) -> None:
        if self.query and (self.method != "token" or self.header):
            raise DefinitionError(
                f"{where}.query goes with method token and no header.", field=f"{where}.query"
            )
        if self.method == "basic" and not self.username:
            raise DefinitionError(
                f"{where}.username is needed for basic.", field=f"{where}.username"
            )
        if bool(self.secret_file) == bool(self.vault_path):
            raise DefinitionError(
                f"{where} needs the place of its secret: secret_file or vault_path, one of them.",
                field=f"{where}.secret_file",
            )


@dataclass(frozen=True)
class SqsSettings:
    """A queue that EventBridge fills."""

    KEEP_EMPTY: ClassVar[bool] = True

    queue_url: str
    """Address of the queue."""
    region: Optional[str] = None
    """Not set: the region in the queue's address, or that of the `aws` section."""
    endpoint_url: Optional[str] = None
    """Address of the API, if not Amazon's."""
    wait_seconds: int = setting(20, most=20)
    """Seconds of long polling; SQS allows up to 20."""


@dataclass(frozen=True)
class PubSubSettings:
    """A subscription that is pulled."""

    KEEP_EMPTY: ClassVar[bool] = True

    subscription: str
    """projects/PROJECT/subscriptions/NAME."""
    url: str = "https://pubsub.googleapis.com"
    """Address of the API. Plain HTTP only for its emulator, which gets no token."""
    token_file: Optional[str] = None
    """File with an access token that something else renews. Not set: the metadata server of the
    machine is asked.
    """
    timeout_seconds: float = 90.0
    """Seconds for a pull, which Google holds open until there is a message."""


@dataclass(frozen=True)
class SourceSettings:
    """Something that sends events of pushes."""

    name: str
    """Small letters, digits, - and _; part of the path and of each trigger."""
    type: str = setting(one_of=tuple(sorted(TYPES)))
    """Whose events they are."""
    path: str = ""
    """Path of the listener that it posts to. Empty: /registry/NAME. Not used with sqs and pubsub.
    """
    registry: Optional[str] = None
    """The registry as image references name it, where the event names another (an address inside
    the network) or none."""
    repositories: Tuple[str, ...] = ()
    """Shell patterns of repositories without the registry. Empty: all."""
    auth: Optional[AuthSettings] = None
    """How the source proves who it is."""
    unsigned: bool = False
    """Accept events that cannot be checked. Only where nothing but the registry reaches the
    listener.
    """
    sqs: Optional[SqsSettings] = None
    """Read a queue of AWS instead of listening."""
    pubsub: Optional[PubSubSettings] = None
    """Pull a subscription of Google's Pub/Sub instead of listening."""

    def validate(self, where: str) -> None:
        if not SOURCE_NAME.fullmatch(self.name):
            raise invalid_setting(
                f"{where}.name", "a word of small letters, digits, - and _", self.name
            )
        if self.registry is not None and not HOST.fullmatch(self.registry):
            right = "a host with an optional port, as image references begin"
            raise invalid_setting(f"{where}.registry", right, self.registry)
        if self.path and not self.path.startswith("/"):
            raise invalid_setting(f"{where}.path", "a path that begins with a slash", self.path)
        if self.sqs and self.pubsub:
            raise DefinitionError(
                f"{where} has both sqs and pubsub; keep one.", field=f"{where}.pubsub"
            )
        if self.is_posted and self.auth is None and not self.unsigned:
            raise DefinitionError(
                f"{where}.auth is needed, so that nobody else can send events; or set "
                "unsigned: true where nothing but the registry reaches the listener.",
                field=f"{where}.auth",
            )
        if self.is_posted and self.auth and self.unsigned:
            raise DefinitionError(
                f"{where} has auth and unsigned: true; keep one.", field=f"{where}.unsigned"
            )

    @property
    def is_posted(self) -> bool:
        """Whether it comes in by the listener."""
        return self.sqs is None and self.pubsub is None

    @property
    def url_path(self) -> str:
        return self.path or f"/registry/{self.name}"

    def takes(self, repository: str) -> bool:
        """Whether the operator wants events of a repository."""
        return not self.repositories or any(
            fnmatch.fnmatchcase(repository, each) for each in self.repositories
        )


@dataclass(frozen=True)
class PolledSettings:
    """A repository whose registry cannot send events."""

    repository: str
    """With the registry: registry.example.com/team/cart."""
    interval_seconds: Optional[float] = setting(None, least=1)
    """Seconds between two polls. Not set: `polling.interval_seconds`."""
    follow: Optional[Mapping[str, Any]] = setting(None, schema=FOLLOW_SCHEMA)
    """Only tags that this policy follows, written as in an Application. Not set: all."""

    def validate(self, where: str) -> None:
        ImageName.parse(self.repository, field=f"{where}.repository")
        if self.follow:
            parse_follow(self.follow, field=f"{where}.follow")

    @property
    def image(self) -> ImageName:
        return ImageName.parse(self.repository, field=f"{SECTION}.polling.repositories")


@dataclass(frozen=True)
class PollingSettings:
    """Repositories that are polled because their registry cannot send events."""

    interval_seconds: float = setting(300.0, least=1)
    """Seconds between two polls of a repository that names no interval."""
    max_backoff_seconds: float = setting(3600.0, least=1)
    """The longest pause with a registry that does not answer; the pause doubles up to it."""
    jitter: float = setting(0.1, most=1)
    """Share of each interval that is random, so that repositories are not polled together."""
    max_tags: int = setting(200, least=1)
    """Tags of one repository whose digests are compared in a poll, the highest first."""
    repositories: Tuple[PolledSettings, ...] = ()
    """The repositories, each with its registry."""

    def validate(self, where: str) -> None:
        unique(
            (each.repository for each in self.repositories), f"{where}.repositories", "repository"
        )


@dataclass(frozen=True)
class RegistrySettings(Registries):
    """The registries: how each is read, who pushes to it and pulls from it, which of them send
    events of pushes, and which are polled (docs/registries.md).
    """

    listener: ListenerSettings = _LISTENER
    """Where webhooks of registries come in. Nothing listens while no source posts."""
    sources: Tuple[SourceSettings, ...] = ()
    """What sends events of pushes."""
    polling: PollingSettings = PollingSettings()
    """Repositories that are polled because their registry cannot send events."""

    def validate(self, where: str) -> None:
        super().validate(where)
        unique((each.name for each in self.sources), f"{where}.sources", "name")
        posted = (each.url_path for each in self.sources if each.is_posted)
        unique(posted, f"{where}.sources", "path")
