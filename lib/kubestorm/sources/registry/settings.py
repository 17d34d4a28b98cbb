"""The `registries` section of the pack's configuration: how registries are asked, who may tell us
of a push, and which repositories are looked at because their registry cannot call.
"""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass, field
from typing import Any, Mapping, Optional, Tuple

from kubestorm.core.errors import DefinitionError
from kubestorm.core.image_names import DOCKER_HUB, HOST, ImageName
from kubestorm.core.sections import invalid_setting, read_section, section_values
from kubestorm.core.tag_policy import parse_follow
from kubestorm.sources.listener.authenticity import ALGORITHMS, ENCODINGS
from kubestorm.sources.listener.settings import ListenerSettings
from kubestorm.sources.registry.readers import TYPES

SECTION = "registries"
DEFAULT_PORT = 8089
SOURCE_NAME = re.compile(r"[a-z0-9]([a-z0-9_-]{0,62}[a-z0-9])?")
AUTH_METHODS = ("hmac", "token", "basic")
GOOGLE = "google"
ECR = "ecr"


@dataclass(frozen=True)
class CredentialSettings:
    """Where name and password for a registry are found. Nothing given, it is asked without."""

    username: Optional[str] = None
    password_file: Optional[str] = None
    """Read anew for each connection, so that it may change."""
    vault_path: Optional[str] = None
    """A secret with `username` and `password`, below the mount of Vault's KV engine."""
    cloud: Optional[str] = None
    """`ecr`: ask AWS for a password, with the `aws` section's credentials. `google`: a token of the
    machine's own service account, from the metadata server."""


@dataclass(frozen=True)
class ConnectionSettings:
    """How one registry is asked."""

    host: str
    """As image references begin."""
    url: Optional[str] = None
    """Where its API is, where that is not https://HOST."""
    insecure_http: bool = False
    """Ask it by plain HTTP. Passwords and digests then travel as anybody on the way likes."""
    ca_file: Optional[str] = None
    timeout_seconds: float = 10.0
    """Per connection and per answer; a step has to return within seconds."""
    credentials: CredentialSettings = field(default_factory=CredentialSettings)

    @property
    def base_url(self) -> str:
        """Root of its API, without a trailing slash."""
        if self.url:
            return self.url.rstrip("/")
        if self.host == DOCKER_HUB:
            return "https://registry-1.docker.io"
        return f"{'http' if self.insecure_http else 'https'}://{self.host}"


@dataclass(frozen=True)
class AuthSettings:
    """How a source shows that it is who it should be."""

    method: str = "token"
    """`hmac` over the body, `token` in a header, or `basic`."""
    header: Optional[str] = None
    """None is the usual one: Authorization for tokens, X-Hub-Signature-256 for hashes."""
    query: Optional[str] = None
    """Name of a parameter of the address that holds the token, for senders that can send no header
    (Docker Hub). Such an address is a secret, and proxies may log it."""
    scheme: Optional[str] = None
    """Word before the token; None is Bearer in Authorization and no word in other headers."""
    algorithm: str = "sha256"
    encoding: str = "hex"
    prefix: Optional[str] = None
    """What stands before the hash; None is `sha256=` and the like in X-Hub-Signature headers, and
    nothing elsewhere.
    """
    username: Optional[str] = None
    secret_file: Optional[str] = None
    vault_path: Optional[str] = None
    vault_key: str = "token"


@dataclass(frozen=True)
class SqsSettings:
    """A queue that EventBridge fills."""

    queue_url: str
    region: Optional[str] = None
    """None is the region in the queue's address, or that of the `aws` section."""
    endpoint_url: Optional[str] = None
    wait_seconds: int = 20
    """Long polling; 20 is the most that SQS allows."""


@dataclass(frozen=True)
class PubSubSettings:
    """A subscription that is pulled."""

    subscription: str
    """projects/PROJECT/subscriptions/NAME."""
    url: str = "https://pubsub.googleapis.com"
    token_file: Optional[str] = None
    """A file with an access token that something else renews; None asks the metadata server of the
    machine.
    """
    timeout_seconds: float = 90.0
    """For a pull, which Google holds open until there is something."""


@dataclass(frozen=True)
class SourceSettings:
    """Something that tells us of pushes."""

    name: str
    type: str
    path: str = ""
    """Where it posts; empty is /registry/NAME. Not used with sqs and pubsub."""
    registry: Optional[str] = None
    """The registry as image references name it, where the event names another (an address inside
    the network) or none."""
    repositories: Tuple[str, ...] = ()
    """Shell patterns of repositories without the registry; empty takes all."""
    auth: Optional[AuthSettings] = None
    unsigned: bool = False
    """Take what cannot be checked. Only where nothing but the registry reaches the listener."""
    sqs: Optional[SqsSettings] = None
    pubsub: Optional[PubSubSettings] = None

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
    """A repository whose registry cannot call."""

    repository: str
    """With the registry, as image references begin."""
    interval_seconds: Optional[float] = None
    """None is the section's."""
    follow: Optional[Mapping[str, Any]] = None
    """Only tags that are followed so, as in an Application; None looks at all."""

    @property
    def image(self) -> ImageName:
        return ImageName.parse(self.repository, field=f"{SECTION}.polling.repositories")


@dataclass(frozen=True)
class PollingSettings:
    interval_seconds: float = 300.0
    max_backoff_seconds: float = 3600.0
    """Where the doubling stops of the time between looks at a registry that does not answer."""
    jitter: float = 0.1
    """Share of each interval that is random, so that repositories are not looked at together."""
    max_tags: int = 200
    """Tags of one repository whose digests are compared at a look; the rest, which sort lower, is
    passed over.
    """
    repositories: Tuple[PolledSettings, ...] = ()


@dataclass(frozen=True)
class RegistrySettings:
    """Everything about registries."""

    listener: ListenerSettings = field(default_factory=ListenerSettings)
    connections: Tuple[ConnectionSettings, ...] = ()
    sources: Tuple[SourceSettings, ...] = ()
    polling: PollingSettings = field(default_factory=PollingSettings)

    def connection(self, host: str) -> ConnectionSettings:
        """How a registry is asked; by HTTPS and without credentials where the operator says nothing
        of it.
        """
        return next(
            (each for each in self.connections if each.host == host), ConnectionSettings(host)
        )

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> RegistrySettings:
        """Read the section. Raises DefinitionError naming the setting and what would be right."""
        section = dict(config.get(SECTION) or {})
        listener = {**section_values(section.pop("listener", None), f"{SECTION}.listener")}
        if listener.get("port") is None:
            listener["port"] = DEFAULT_PORT
        settings = cls(
            listener=ListenerSettings.from_config(listener, field=f"{SECTION}.listener"),
            connections=tuple(
                _connection(item, f"{SECTION}.connections[{index}]")
                for index, item in enumerate(section.pop("connections", None) or ())
            ),
            sources=tuple(
                _source(item, f"{SECTION}.sources[{index}]")
                for index, item in enumerate(section.pop("sources", None) or ())
            ),
            polling=_polling(section.pop("polling", None), f"{SECTION}.polling"),
        )
        if section:
            unknown = sorted(section)[0]
            raise DefinitionError(
                f"{SECTION} has no setting {unknown}; there are listener, connections, "
                "sources, polling.",
                field=f"{SECTION}.{unknown}",
            )
        _check_unique(
            [each.host for each in settings.connections], f"{SECTION}.connections", "host"
        )
        _check_unique([each.name for each in settings.sources], f"{SECTION}.sources", "name")
        _check_unique(
            [each.url_path for each in settings.sources if each.is_posted],
            f"{SECTION}.sources",
            "path",
        )
        return settings


def _connection(item: Any, where: str) -> ConnectionSettings:
    raw = section_values(item, where)
    credentials = read_section(
        CredentialSettings, raw.pop("credentials", None), f"{where}.credentials"
    )
    settings = read_section(ConnectionSettings, {**raw, "credentials": credentials}, where)
    if not HOST.fullmatch(settings.host):
        raise invalid_setting(
            f"{where}.host",
            "a host with an optional port, as image references begin",
            settings.host,
        )
    if settings.base_url.startswith("http://") and not settings.insecure_http:
        raise invalid_setting(
            f"{where}.url", "an https address unless insecure_http is true", settings.url
        )
    if not settings.base_url.startswith(("http://", "https://")):
        raise invalid_setting(f"{where}.url", "an https address", settings.url)
    if credentials.cloud not in (None, ECR, GOOGLE):
        raise invalid_setting(f"{where}.credentials.cloud", f"{ECR} or {GOOGLE}", credentials.cloud)
    if bool(credentials.username) != bool(credentials.password_file):
        raise DefinitionError(
            f"{where}.credentials needs both username and password_file, or vault_path, or cloud.",
            field=f"{where}.credentials.password_file",
        )
    places = [
        each for each in (credentials.username, credentials.vault_path, credentials.cloud) if each
    ]
    if len(places) > 1:
        raise DefinitionError(
            f"{where}.credentials names several places; keep one of password_file, vault_path "
            "and cloud.",
            field=f"{where}.credentials",
        )
    return settings


def _source(item: Any, where: str) -> SourceSettings:
    raw = section_values(item, where)
    for key, kind in (("auth", AuthSettings), ("sqs", SqsSettings), ("pubsub", PubSubSettings)):
        nested = raw.pop(key, None)
        if nested:
            raw[key] = read_section(kind, nested, f"{where}.{key}", keep_empty=True)
    source = read_section(SourceSettings, raw, where)
    if not SOURCE_NAME.fullmatch(source.name):
        raise invalid_setting(
            f"{where}.name", "a word of small letters, digits, - and _", source.name
        )
    if source.type not in TYPES:
        raise invalid_setting(f"{where}.type", f"one of {', '.join(sorted(TYPES))}", source.type)
    if source.registry is not None and not HOST.fullmatch(source.registry):
        raise invalid_setting(
            f"{where}.registry",
            "a host with an optional port, as image references begin",
            source.registry,
        )
    if source.path and not source.path.startswith("/"):
        raise invalid_setting(f"{where}.path", "a path that begins with a slash", source.path)
    if source.sqs and source.pubsub:
        raise DefinitionError(
            f"{where} has both sqs and pubsub; keep one.", field=f"{where}.pubsub"
        )
    if source.is_posted:
        _check_auth(source, where)
    return source


def _check_auth(source: SourceSettings, where: str) -> None:
    auth = source.auth
    if auth is None:
        if not source.unsigned:
            raise DefinitionError(
                f"{where}.auth is needed, so that nobody else can tell of pushes; or say "
                "unsigned: true where nothing "
                "but the registry reaches the listener.",
                field=f"{where}.auth",
            )
        return
    if source.unsigned:
        raise DefinitionError(
            f"{where} has auth and unsigned: true; keep one.", field=f"{where}.unsigned"
        )
    if auth.method not in AUTH_METHODS:
        raise invalid_setting(
            f"{where}.auth.method", f"one of {', '.join(AUTH_METHODS)}", auth.method
        )
    if auth.algorithm not in ALGORITHMS:
        raise invalid_setting(
            f"{where}.auth.algorithm", f"one of {', '.join(ALGORITHMS)}", auth.algorithm
        )
    if auth.encoding not in ENCODINGS:
        raise invalid_setting(
            f"{where}.auth.encoding", f"one of {', '.join(ENCODINGS)}", auth.encoding
        )
    if auth.query and (auth.method != "token" or auth.header):
        raise DefinitionError(
            f"{where}.auth.query goes with method token and no header.", field=f"{where}.auth.query"
        )
    if auth.method == "basic" and not auth.username:
        raise DefinitionError(
            f"{where}.auth.username is needed for basic.", field=f"{where}.auth.username"
        )
    if bool(auth.secret_file) == bool(auth.vault_path):
        raise DefinitionError(
            f"{where}.auth needs the place of its secret: secret_file or vault_path, one of them.",
            field=f"{where}.auth.secret_file",
        )


def _polling(item: Any, where: str) -> PollingSettings:
    raw = section_values(item, where)
    repositories = tuple(
        _polled(each, f"{where}.repositories[{index}]")
        for index, each in enumerate(raw.pop("repositories", None) or ())
    )
    settings = read_section(PollingSettings, {**raw, "repositories": repositories}, where)
    for name in ("interval_seconds", "max_backoff_seconds", "max_tags"):
        _check_at_least(getattr(settings, name), 1, f"{where}.{name}")
    if not 0 <= settings.jitter <= 1:
        raise invalid_setting(f"{where}.jitter", "between 0 and 1", settings.jitter)
    _check_unique([each.repository for each in repositories], f"{where}.repositories", "repository")
    return settings


def _polled(item: Any, where: str) -> PolledSettings:
    raw = section_values({"repository": item} if isinstance(item, str) else item, where)
    follow = raw.pop("follow", None)
    settings = read_section(PolledSettings, raw, where)
    ImageName.parse(settings.repository, field=f"{where}.repository")
    if settings.interval_seconds is not None:
        _check_at_least(settings.interval_seconds, 1, f"{where}.interval_seconds")
    if follow:
        parse_follow(follow, field=f"{where}.follow")
        return PolledSettings(settings.repository, settings.interval_seconds, dict(follow))
    return settings


def _check_at_least(value: Any, least: float, where: str) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value < least:
        raise invalid_setting(where, f"a number of {least} or more", value)


def _check_unique(values: Any, where: str, what: str) -> None:
    for value in values:
        if values.count(value) > 1:
            raise DefinitionError(
                f"{where} has the {what} {value} twice; each is given once.", field=where
            )
