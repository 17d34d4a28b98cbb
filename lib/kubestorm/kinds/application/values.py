"""A checked Application as values: what the parser makes and everything else of an Application's
run reads.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Mapping, NamedTuple, Optional, Tuple, Union

from kubestorm.kinds.application.settings import INTERNAL

ROLLING_UPDATE, RECREATE, BLUE_GREEN, CANARY = "RollingUpdate", "Recreate", "BlueGreen", "Canary"
STRATEGIES = (ROLLING_UPDATE, RECREATE, BLUE_GREEN, CANARY)
DEFAULT_PREFIX = "DATABASE"
IntOrPercent = Union[int, str]


class Resources(NamedTuple):
    """Of one pod, as canonical quantities."""

    cpu_request: str
    memory_request: str
    cpu_limit: str
    memory_limit: str


@dataclass(frozen=True)
class Health:
    """How to see whether a pod is well; exactly one of http_path, tcp and command is set."""

    http_path: Optional[str] = None
    live_path: Optional[str] = None
    """Another path for liveness; None uses http_path."""
    tcp: bool = False
    command: Tuple[str, ...] = ()
    port: Optional[int] = None
    """For http and tcp."""
    start_seconds: int = 60
    """How long it may take to start before it is restarted."""
    every_seconds: int = 10
    timeout_seconds: int = 2
    failures: int = 3
    """Failed probes in a row until it gets no requests; twice as many until it is restarted."""


@dataclass(frozen=True)
class ConfigSource:
    """One value, or all values below a prefix, of Consul."""

    key: str
    """Ends in a slash where it is a prefix."""
    env: Optional[str] = None
    file: Optional[str] = None
    prefix: str = ""
    """Put before the names that a prefix's keys give."""

    @property
    def is_tree(self) -> bool:
        return self.key.endswith("/")


@dataclass(frozen=True)
class SecretSource:
    """One value, or all values, of a secret in Vault (a path below the mount)."""

    path: str
    key: Optional[str] = None
    env: Optional[str] = None
    file: Optional[str] = None
    prefix: str = ""


@dataclass(frozen=True)
class DatabaseBinding:
    """A Database of the same namespace, and what its variables begin with."""

    name: str
    prefix: str = DEFAULT_PREFIX


@dataclass(frozen=True)
class Replicas:
    min: int = 1
    max: int = 1
    target_cpu: Optional[int] = None
    """Percent of the requests, on average over the pods."""
    target_memory: Optional[int] = None

    @property
    def autoscaled(self) -> bool:
        """Whether an autoscaler owns the number."""
        return self.max > self.min


@dataclass(frozen=True)
class Exposure:
    type: str = INTERNAL
    port: int = 80
    """Of the Service."""
    node_port: Optional[int] = None
    hosts: Tuple[str, ...] = ()
    path: str = "/"
    tls_secret: Optional[str] = None
    """None serves plain HTTP."""
    ingress_class: Optional[str] = None
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class CanaryStep:
    weight: int
    """Percent of the pods that run the new image."""
    pause_seconds: int = 0
    until_promoted: bool = False
    """Wait until a person promotes."""
    test: bool = True
    """Run the post-deploy test on the canary's pods at this step, where there is one."""


@dataclass(frozen=True)
class Strategy:
    type: str = ROLLING_UPDATE
    steps: Tuple[CanaryStep, ...] = ()
    """Canary alone."""
    max_surge: IntOrPercent = "25%"
    max_unavailable: IntOrPercent = 0
    deadline_seconds: int = 600
    """Without progress for so long, a rollout has failed."""
    settle_seconds: int = 0
    """How long a rollout is left alone before a newer push supersedes it."""
    keep_seconds: int = 300
    """BlueGreen: how long the old Deployment is kept for an instant return."""
    until_promoted: bool = False
    """BlueGreen: switch only when a person promotes."""


@dataclass(frozen=True)
class HttpCheck:
    path: str
    status: int = 200
    contains: Optional[str] = None
    matches: Optional[str] = None
    """A regular expression that is found somewhere in the answer."""
    json: Mapping[str, str] = field(default_factory=dict)
    """Path into the answer (`$.checks[0].state`) -> the value there, as text."""
    expect_headers: Mapping[str, str] = field(default_factory=dict)
    within_seconds: Optional[float] = None
    headers: Mapping[str, str] = field(default_factory=dict)
    """Sent."""


@dataclass(frozen=True)
class PostDeployTest:
    """What decides whether a rollout is good; `http` all pass, or the Job succeeds, or both."""

    http: Tuple[HttpCheck, ...] = ()
    job_command: Tuple[str, ...] = ()
    job_image: Optional[str] = None
    """None is the Application's own image."""
    timeout_seconds: int = 120
    through: str = "service"
    """How the last requests come to the pods: `service` (by the API server), or `ingress` (by the
    first host, as users do). Those of a canary or a preview, which users do not reach yet, are
    asked by the API server in any case."""


@dataclass(frozen=True)
class ApplicationSpec:
    """A checked Application."""

    namespace: str
    name: str
    uid: str
    registry: str
    repository: str
    resources: Resources
    health: Health
    follow: Optional[Mapping[str, Any]] = None
    """As written, for `kubestorm.core.tag_policy.parse_follow`; None: only people choose the image.
    """
    port: Optional[int] = None
    command: Tuple[str, ...] = ()
    args: Tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    config: Tuple[ConfigSource, ...] = ()
    secrets: Tuple[SecretSource, ...] = ()
    databases: Tuple[DatabaseBinding, ...] = ()
    replicas: Replicas = Replicas()
    exposure: Exposure = Exposure()
    strategy: Strategy = Strategy()
    test: Optional[PostDeployTest] = None
    pull_secret: Optional[str] = None
    service_account: Optional[str] = None
    spread: str = "zones"
    shutdown_seconds: int = 30
    patch: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def image(self) -> str:
        """`registry/repository`, without tag or digest."""
        return f"{self.registry}/{self.repository}"

    @property
    def reads_outside(self) -> bool:
        """Whether anything of it comes from Consul, Vault or a Database."""
        return bool(self.config or self.secrets or self.databases)
