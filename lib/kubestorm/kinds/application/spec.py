"""What an Application resource asks for, parsed and checked against the platform team's limits.

The API server's schema has refused wrong shapes already; this module says what a schema cannot
(1.20 has no CEL), and what is better said in a sentence: an Application without health check,
requests and limits is refused with the lines to add. All problems are found in one go. Pure:
nothing is called.
"""

from __future__ import annotations

import functools
import re
from typing import Any, Callable, Dict, Mapping, Optional, Sequence, Tuple, Union

from kubestorm.core.errors import DefinitionError
from kubestorm.core.quantity import Quantity, parse_quantity
from kubestorm.core.settings import Settings
from kubestorm.core.spec_reader import InvalidSpecError, Problem, SpecReader
from kubestorm.core.tag_policy import parse_follow
from kubestorm.core.untrusted import (
    check_header_name,
    check_headers,
    check_host,
    check_path,
    compile_pattern,
    number,
    shown,
)
from kubestorm.kinds.application import settings as application_settings
from kubestorm.kinds.application.rollout import weights
from kubestorm.kinds.application.rollout.settings import RolloutSettings
from kubestorm.kinds.application.settings import (
    INGRESS,
    INTERNAL,
    NODE_PORT,
    ApplicationSettings,
    is_allowed,
)
from kubestorm.kinds.application.values import (
    BLUE_GREEN,
    CANARY,
    DEFAULT_PREFIX,
    ROLLING_UPDATE,
    STRATEGIES,
    ApplicationSpec,
    CanaryStep,
    ConfigSource,
    DatabaseBinding,
    Exposure,
    Health,
    HttpCheck,
    IntOrPercent,
    PostDeployTest,
    Replicas,
    Resources,
    SecretSource,
    Strategy,
)

__all__ = ["ApplicationSpec", "InvalidSpecError", "Problem", "claimed_hosts", "parse"]

# A Deployment is also called `<name>-canary`, and a pod's name adds eleven to sixteen characters
# within 63.
NAME_LENGTH = 40
NAME = re.compile(r"^[a-z]([-a-z0-9]*[a-z0-9])?$")
ENV_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")
REPOSITORY = re.compile(r"^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$")
REGISTRY = re.compile(
    r"^(localhost|[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+|[A-Za-z0-9-]+(?=:))(:[0-9]{1,5})?$"
)
OBJECT_NAME = re.compile(r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$")
PERCENT = re.compile(r"^(100|[1-9]?[0-9])%$")

SPREADS = ("zones", "nodes", "none")
PATCHABLE = ("deployment", "service", "ingress", "autoscaler", "disruptionBudget")
MAX_REPLICAS = 1000
EXAMPLE_HEALTH = "`health: {http: {path: /healthz}}`"


def parse(resource: Mapping[str, Any], settings: Settings) -> ApplicationSpec:
    """Read an Application object as the Kubernetes API returns it. Raises InvalidSpecError with
    every problem.
    """
    return _Parser(resource, settings).parse()


def claimed_hosts(
    resource: Mapping[str, Any], settings: ApplicationSettings
) -> Tuple[Tuple[str, ...], str]:
    """The ingress hosts and the path that an Application claims, whatever else may be wrong with
    it.
    """
    spec = resource.get("spec")
    expose = spec.get("expose") if isinstance(spec, Mapping) else None
    if not isinstance(expose, Mapping) or expose.get("type") != INGRESS:
        return (), "/"
    hosts = expose.get("hosts")
    wanted = tuple(str(host).lower() for host in hosts) if isinstance(hosts, list) else ()
    metadata = resource["metadata"]
    if not wanted and settings.ingress.domain:
        wanted = (
            f"{metadata['name']}.{metadata.get('namespace', '')}.{settings.ingress.domain}".lower(),
        )
    return wanted, str(expose.get("path") or "/")


def split_image(text: str) -> Tuple[Optional[str], str]:
    """Registry and repository of an image name, as container tools split them: a registry has a dot
    or a colon.
    """
    head, slash, rest = text.partition("/")
    if slash and REGISTRY.match(head):
        return head, rest
    return None, text


class _Parser(SpecReader):
    """Reads one resource, and collects what is wrong with it on the way."""

    def __init__(self, resource: Mapping[str, Any], settings: Settings) -> None:
        super().__init__(resource.get("spec"))
        metadata = resource.get("metadata") or {}
        self._resource = resource
        self._cluster = settings.cluster
        self._settings = ApplicationSettings.from_config(settings.raw)
        self._ingress_address = RolloutSettings.from_config(settings.raw).ingress_address
        self._name = str(metadata.get("name", ""))
        self._namespace = str(metadata.get("namespace", ""))
        self._uid = str(metadata.get("uid", ""))
        self._limits = self._settings.limits_for(self._namespace)

    def parse(self) -> ApplicationSpec:
        self._check_name()
        registry, repository = self._image()
        port = self.integer("port", None, 1, 65535)
        config, secrets, databases = self._config(), self._secrets(), self._databases()
        spec = ApplicationSpec(
            namespace=self._namespace,
            name=self._name,
            uid=self._uid,
            registry=registry,
            repository=repository,
            follow=self._follow(),
            port=port,
            command=self.texts("command"),
            args=self.texts("args"),
            resources=self._resources(),
            health=self._health(port),
            env=self._env(),
            config=config,
            secrets=secrets,
            databases=databases,
            replicas=self._replicas(),
            exposure=self._exposure(port),
            strategy=self._strategy(),
            test=self._test(port),
            pull_secret=self._reference("pullSecret", self._settings.pull_secret),
            service_account=self._reference("serviceAccount", None),
            spread=self.choice("spread", SPREADS, "zones"),
            shutdown_seconds=self.whole("shutdownSeconds", 30, 0, 3600),
            patch=self._patch(),
        )
        self._check_names_meet(spec)
        self._check_weights(spec)
        if self.problems:
            raise InvalidSpecError(self.problems)
        return spec

    def _reference(self, path: str, default: Optional[str]) -> Optional[str]:
        name = self.text(path, default)
        if name is not None and not OBJECT_NAME.match(name):
            self.wrong(path, f"{shown(name)} is not a valid object name")
        return name

    # Fields with rules of their own.

    def _check_name(self) -> None:
        if len(self._name) > NAME_LENGTH or not NAME.match(self._name):
            self.problems.append(
                Problem(
                    "metadata.name",
                    f"{self._name!r} is not 1 to {NAME_LENGTH} lowercase letters, digits and "
                    f"hyphens, "
                    "starting with a letter; "
                    "the names of its Service and pods follow from it",
                )
            )

    def _image(self) -> Tuple[str, str]:
        text = self.text("image.repository")
        if text is None:
            self.wrong(
                "image.repository",
                "required; add for example `image: {repository: team/cart}`",
            )
            return "", ""
        if "@" in text or ":" in text.rsplit("/", 1)[-1]:
            self.wrong(
                "image.repository",
                f"{shown(text)} names a tag or a digest; say which tags with spec.follow",
            )
            return "", ""
        named, repository = split_image(text)
        registry = named or self._settings.registry
        if not registry:
            self.wrong(
                "image.repository",
                f"{shown(text)} names no registry and no default is configured; "
                f"write it as registry.example.com/{text}",
            )
        elif not REPOSITORY.match(repository) or len(repository) > 255:
            self.wrong(
                "image.repository",
                f"{shown(repository)} is not a valid repository: use lowercase letters, "
                f"digits, `.`, `_`, `-` and "
                "`/`",
            )
        allowed = self._settings.allowed_registries
        if registry and allowed and not is_allowed(f"{registry}/{repository}", allowed):
            self.wrong(
                "image.repository",
                f"images may not come from {registry}/{repository}; allowed: {', '.join(allowed)}",
            )
        return registry, repository

    def _follow(self) -> Optional[Mapping[str, Any]]:
        follow = self.mapping("follow")
        if not follow:
            return None
        try:
            parse_follow(follow)
        except DefinitionError as error:
            # Its own sentence begins with the field's name.
            self.problems.append(Problem("spec.follow", str(error)))
        return dict(follow)

    def _resources(self) -> Resources:
        found: Dict[str, Quantity] = {}
        missing = []
        for kind in ("requests", "limits"):
            for what in ("cpu", "memory"):
                path = f"resources.{kind}.{what}"
                value = self.get(path)
                quantity = parse_quantity(value) if value is not None else None
                if value is None:
                    missing.append(path)
                elif quantity is None or not quantity.amount:
                    self.wrong(
                        path,
                        f"{shown(value)} must be a quantity above 0; write for example "
                        f"{_example(what)}",
                    )
                else:
                    found[path] = quantity
        if missing:
            fields = ", ".join(f"spec.{path}" for path in missing)
            self.wrong(
                "resources",
                f"requests and limits are required and these are missing: {fields}; add for "
                "example "
                "`resources: {requests: {cpu: 100m, memory: 128Mi}, limits: {cpu: 500m, memory: "
                "256Mi}}`",
            )
        for what in ("cpu", "memory"):
            self._check_amounts(what, found)
        names = ("requests.cpu", "requests.memory", "limits.cpu", "limits.memory")
        return Resources(
            *(
                found[f"resources.{name}"].text if f"resources.{name}" in found else ""
                for name in names
            )
        )

    def _check_amounts(self, what: str, found: Mapping[str, Quantity]) -> None:
        request, limit = (
            found.get(f"resources.requests.{what}"),
            found.get(f"resources.limits.{what}"),
        )
        if request and limit and request.amount > limit.amount:
            self.wrong(
                f"resources.limits.{what}",
                f"{limit.text} is below the request of {request.text}; raise the limit or "
                "lower the request",
            )
        most = parse_quantity(getattr(self._limits, f"max_{what}") or "")
        if limit and most and limit.amount > most.amount:
            self.wrong(
                f"resources.limits.{what}",
                f"{limit.text} is above the limit of this namespace: {most.text}",
            )

    def _health(self, port: Optional[int]) -> Health:
        health = self.mapping("health")
        ways = [way for way in ("http", "tcp", "command") if health.get(way) is not None]
        if len(ways) != 1:
            found = (
                f"it holds {' and '.join(ways)}"
                if ways
                else "a health check is required and it is missing"
            )
            self.wrong(
                "health",
                f"{found}; give exactly one of http, tcp and command, for example {EXAMPLE_HEALTH}",
            )
            return Health()
        (way,) = ways
        every = self.whole("health.everySeconds", 10, 1, 300)
        timeout = self.whole("health.timeoutSeconds", min(2, every), 1, 300)
        if timeout > every:
            self.wrong("health.timeoutSeconds", f"{timeout} is above health.everySeconds ({every})")
        http_path, live_path = None, None
        probe_port: Optional[int] = None
        if way == "http":
            http_path = self._path("health.http.path")
            live_path = self._path("health.http.livePath", required=False)
        if way in ("http", "tcp"):
            probe_port = self.integer(f"health.{way}.port", port, 1, 65535)
            if probe_port is None:
                self.wrong(
                    f"health.{way}.port", "required, as spec.port is not set; set one of them"
                )
        command = self.texts("health.command") if way == "command" else ()
        if way == "command" and not command:
            self.wrong(
                "health.command", "it is empty; write for example `command: [cat, /tmp/healthy]`"
            )
        return Health(
            http_path=http_path,
            live_path=live_path,
            tcp=way == "tcp",
            command=command,
            port=probe_port,
            start_seconds=self.whole("health.startSeconds", 60, 1, 3600),
            every_seconds=every,
            timeout_seconds=timeout,
            failures=self.whole("health.failures", 3, 1, 20),
        )

    def _path(self, where: str, *, required: bool = True, query: bool = True) -> Optional[str]:
        path = self.text(where)
        if path is None:
            if required:
                self.wrong(where, "required; write for example /healthz")
            return None
        self._accepts(where, lambda: check_path(path, query=query))
        return path

    def _accepts(self, where: str, check: Callable[[], object]) -> bool:
        """Whether the trust boundary lets a value through; what it says is a problem."""
        try:
            check()
        except DefinitionError as error:
            self.wrong(where, str(error))
            return False
        return True

    def _env(self) -> Mapping[str, str]:
        values = self.mapping("env")
        for name, value in values.items():
            self._check_env_name(f"env.{name}", name)
            if not isinstance(value, str):
                self.wrong(f"env.{name}", f"must be a string, not {shown(value)}; put it in quotes")
        return {str(name): str(value) for name, value in sorted(values.items())}

    def _check_env_name(self, where: str, name: Any) -> None:
        if not isinstance(name, str) or not ENV_NAME.match(name):
            self.wrong(
                where,
                f"{shown(name)} is not a valid variable name: use letters, digits and `_`, not "
                f"starting with a digit",
            )

    # What comes from Consul, Vault and Databases.

    def _config(self) -> Tuple[ConfigSource, ...]:
        found = []
        patterns = self._settings.readable("consul", self._cluster, self._namespace)
        for where, item in self.objects("config"):
            key, tree = item.get("key"), item.get("prefix")
            if bool(key) == bool(tree) or not isinstance(key or tree, str):
                self.wrong(where, "give exactly one of key and prefix, a text")
                continue
            text = str(key or tree)
            if tree and not text.endswith("/"):
                text += "/"
            if key and text.endswith("/"):
                self.wrong(
                    f"{where}.key",
                    f"{shown(text)} ends in a slash; write it as prefix to take all keys below it",
                )
            self._check_readable(f"{where}.{'key' if key else 'prefix'}", "Consul", text, patterns)
            env, file, prefix = self._destination(where, item, one=bool(key))
            if key and not env and not file:
                env = env_name(text.rsplit("/", 1)[-1])
                self._check_env_name(f"{where}.env", env)
            found.append(ConfigSource(text, env, file, prefix))
        return tuple(found)

    def _secrets(self) -> Tuple[SecretSource, ...]:
        found = []
        patterns = self._settings.readable("vault", self._cluster, self._namespace)
        for where, item in self.objects("secrets"):
            path, key = item.get("path"), item.get("key")
            if not isinstance(path, str) or not path:
                self.wrong(f"{where}.path", "required; write the path in Vault below the mount")
                continue
            if key is not None and not (isinstance(key, str) and key):
                self.wrong(f"{where}.key", f"must be a string, not {shown(key)}")
                continue
            self._check_readable(f"{where}.path", "Vault", path, patterns)
            env, file, prefix = self._destination(where, item, one=key is not None)
            if key is not None and not env and not file:
                env = env_name(key)
                self._check_env_name(f"{where}.env", env)
            found.append(SecretSource(path, key, env, file, prefix))
        return tuple(found)

    def _check_readable(
        self, where: str, service: str, path: str, patterns: Tuple[str, ...]
    ) -> None:
        if not is_allowed(path, patterns):
            self.wrong(
                where,
                f"{shown(path)} may not be read from namespace {self._namespace}; allowed in "
                f"{service}: {', '.join(patterns)}",
            )

    def _destination(
        self, where: str, item: Mapping[str, Any], *, one: bool
    ) -> Tuple[Optional[str], Optional[str], str]:
        env, file, prefix = item.get("env"), item.get("file"), item.get("envPrefix") or ""
        if not one and (env is not None or file is not None):
            self.wrong(where, "env and file need one value: name it with key")
        if env is not None and file is not None:
            self.wrong(where, "it holds both env and file; give one of them")
        if one and prefix:
            self.wrong(
                f"{where}.envPrefix", "it is for many values; a single one is named with env"
            )
        if env is not None:
            self._check_env_name(f"{where}.env", env)
        if prefix and not ENV_NAME.match(str(prefix)):
            self._check_env_name(f"{where}.envPrefix", prefix)
        if file is not None:
            self._check_file(f"{where}.file", file)
        return env, file, str(prefix)

    def _check_file(self, where: str, file: Any) -> None:
        parts = file.split("/")[1:] if isinstance(file, str) and file.startswith("/") else []
        if not parts or any(
            part in ("", ".", "..") or not re.match(r"^[-._a-zA-Z0-9]+$", part) for part in parts
        ):
            self.wrong(
                where,
                f"{shown(file)} must be an absolute path of letters, digits, `-`, `_` and `.`",
            )

    def _databases(self) -> Tuple[DatabaseBinding, ...]:
        found = []
        for where, item in self.objects("databases"):
            name, prefix = item.get("name"), item.get("envPrefix", DEFAULT_PREFIX)
            if not isinstance(name, str) or not OBJECT_NAME.match(name):
                self.wrong(
                    f"{where}.name", "required; write the name of a Database in this namespace"
                )
                continue
            self._check_env_name(f"{where}.envPrefix", prefix)
            found.append(DatabaseBinding(name, str(prefix)))
        prefixes = [binding.prefix for binding in found]
        if len(set(prefixes)) < len(prefixes):
            self.wrong(
                "databases",
                "two entries have the same envPrefix; give each its own, for example ORDERS",
            )
        return tuple(found)

    def _check_names_meet(self, spec: ApplicationSpec) -> None:
        """Two sources for one variable or one file: which wins would be chance."""
        sources: Sequence[Union[ConfigSource, SecretSource]] = (*spec.config, *spec.secrets)
        for kind in ("env", "file"):
            names = [getattr(source, kind) for source in sources if getattr(source, kind)]
            names += list(spec.env) if kind == "env" else []
            for name in sorted({name for name in names if names.count(name) > 1}):
                self.wrong(
                    kind if kind == "env" else "config",
                    f"{name} is given twice; give each its own {kind}",
                )
        files = [str(source.file) for source in sources if source.file]
        if len({file.replace("/", ".") for file in files}) < len(set(files)):
            self.wrong(
                "config", "two files differ only in where a `/` or a `.` is; rename one of them"
            )

    # How many, and who reaches them.

    def _replicas(self) -> Replicas:
        high = self._limits.max_replicas or MAX_REPLICAS
        least = self.whole("replicas.min", 1, 0, high)
        most = self.whole("replicas.max", max(least, 1), 1, high)
        cpu = self.integer("replicas.targetCPU", None, 1, 1000)
        memory = self.integer("replicas.targetMemory", None, 1, 1000)
        stated = self.get("replicas.max") is not None
        if stated and most < least:
            self.wrong(
                "replicas.max", f"{most} is below replicas.min ({least}); raise it or leave it out"
            )
        if stated and least == 0 and most > 0:
            self.wrong(
                "replicas.min",
                "an autoscaler on CPU or memory cannot start from 0; write 1 or more",
            )
        if most > least and stated:
            return Replicas(least, most, 80 if cpu is None and memory is None else cpu, memory)
        if cpu is not None or memory is not None:
            self.wrong(
                "replicas",
                "a target needs replicas.max above replicas.min; add it or remove the target",
            )
        return Replicas(least, least)

    def _exposure(self, port: Optional[int]) -> Exposure:
        type_ = self.choice("expose.type", application_settings.EXPOSURES, INTERNAL)
        allowed = self._limits.exposures
        if allowed is not None and type_ not in allowed and (port is not None or type_ != INTERNAL):
            self.wrong(
                "expose.type",
                f"{type_} is not allowed in this namespace; allowed: {', '.join(allowed)}",
            )
        if type_ != INTERNAL and port is None:
            self.wrong(
                "port",
                f"required; expose.type {type_} needs the port that the container listens on",
            )
        node_port = self.integer("expose.nodePort", None, 30000, 32767)
        if node_port is not None and type_ != NODE_PORT:
            self.wrong(
                "expose.nodePort",
                f"it is for expose.type {NODE_PORT}; remove it or change the type",
            )
        only = {"hosts", "path", "tls", "tlsSecret", "class"} & set(self.mapping("expose"))
        if type_ != INGRESS:
            if only:
                self.wrong(
                    f"expose.{min(only)}",
                    f"it is for expose.type {INGRESS}; remove it or change the type",
                )
            return Exposure(
                type=type_, port=self.whole("expose.port", 80, 1, 65535), node_port=node_port
            )
        return self._ingress()

    def _ingress(self) -> Exposure:
        ours = self._settings.ingress
        hosts, path = claimed_hosts(self._resource, self._settings)
        if not hosts:
            self.wrong("expose.hosts", "required; add for example `hosts: [cart.example.com]`")
        for host in hosts:
            self._accepts("expose.hosts", functools.partial(check_host, host, wildcard=True))
            patterns = self._limits.hosts_of(self._namespace)
            if patterns is not None and not is_allowed(host, patterns):
                self.wrong(
                    "expose.hosts",
                    f"{shown(host)} is not allowed in this namespace; allowed: "
                    f"{', '.join(patterns)}",
                )
        if len(set(hosts)) < len(hosts):
            self.wrong("expose.hosts", "a host is listed twice; remove one")
        self._path("expose.path", required=False, query=False)
        secret = self._reference("expose.tlsSecret", ours.tls_secret) or f"{self._name}-tls"
        if not self.boolean("expose.tls", ours.tls):
            if self.get("expose.tlsSecret") is not None:
                self.wrong("expose.tlsSecret", "expose.tls is false; give one of them")
            secret = ""
        return Exposure(
            type=INGRESS,
            port=self.whole("expose.port", 80, 1, 65535),
            hosts=hosts,
            path=path,
            tls_secret=secret or None,
            ingress_class=self.text("expose.class", ours.ingress_class),
            annotations=dict(ours.annotations),
        )

    # How a new image comes.

    def _strategy(self) -> Strategy:
        kind = self.choice("strategy.type", STRATEGIES, ROLLING_UPDATE)
        plain = Strategy()
        for fields, kinds in (
            (("maxSurge", "maxUnavailable"), (ROLLING_UPDATE, BLUE_GREEN, CANARY)),
            (("keepSeconds",), (BLUE_GREEN,)),
            (("untilPromoted",), (BLUE_GREEN,)),
            (("steps",), (CANARY,)),
        ):
            for name in fields:
                if self.get(f"strategy.{name}") is not None and kind not in kinds:
                    self.wrong(f"strategy.{name}", f"{kind} has none; it is for {', '.join(kinds)}")
        surge = self._int_or_percent("strategy.maxSurge", plain.max_surge)
        unavailable = self._int_or_percent("strategy.maxUnavailable", plain.max_unavailable)
        if surge in (0, "0%") and unavailable in (0, "0%"):
            self.wrong(
                "strategy.maxSurge",
                "it is 0 and maxUnavailable is 0; no pod could be replaced",
            )
        return Strategy(
            type=kind,
            max_surge=surge,
            max_unavailable=unavailable,
            deadline_seconds=self.whole(
                "strategy.deadlineSeconds", plain.deadline_seconds, 10, 86400
            ),
            settle_seconds=self.whole("strategy.settleSeconds", plain.settle_seconds, 0, 3600),
            keep_seconds=self.whole("strategy.keepSeconds", plain.keep_seconds, 0, 86400),
            until_promoted=self.boolean("strategy.untilPromoted", False),
            steps=self._steps() if kind == CANARY else (),
        )

    def _int_or_percent(self, path: str, default: IntOrPercent) -> IntOrPercent:
        value = self.get(path)
        if value is None:
            return default
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_REPLICAS:
            return value
        if isinstance(value, str) and PERCENT.match(value):
            return value
        self.wrong(path, f"{shown(value)} is neither a number of pods nor a percentage such as 25%")
        return default

    def _steps(self) -> Tuple[CanaryStep, ...]:
        steps = []
        for where, item in self.objects("strategy.steps"):
            weight, pause = item.get("weight"), item.get("pauseSeconds")
            waits, tests = bool(item.get("untilPromoted", False)), bool(item.get("test", True))
            if isinstance(weight, bool) or not isinstance(weight, int) or not 1 <= weight <= 99:
                self.wrong(
                    f"{where}.weight",
                    f"must be a percentage from 1 to 99, not {shown(weight)}; 100 is added "
                    "automatically",
                )
                continue
            if waits and pause is not None:
                self.wrong(where, "it holds both untilPromoted and pauseSeconds; give one of them")
            if pause is not None and (
                isinstance(pause, bool) or not isinstance(pause, int) or not 0 <= pause <= 86400
            ):
                self.wrong(
                    f"{where}.pauseSeconds",
                    f"must be a number of seconds up to 86400, not {shown(pause)}",
                )
                continue
            steps.append(CanaryStep(weight, pause or 0, waits, tests))
        weights = [step.weight for step in steps]
        if not steps and not self.has_problem_at("strategy.steps"):
            self.wrong(
                "strategy.steps",
                "Canary needs at least one; add for example `steps: [{weight: 25, "
                "pauseSeconds: 60}]`",
            )
        if any(later <= earlier for earlier, later in zip(weights, weights[1:])):
            self.wrong(
                "strategy.steps",
                f"the weights {_words(weights)} must increase from step to step",
            )
        return tuple(steps)

    def _test(self, port: Optional[int]) -> Optional[PostDeployTest]:
        if not self.mapping("test"):
            return None
        checks = []
        for where, item in self.objects("test.http"):
            path, status = item.get("path"), item.get("status", 200)
            if not self._accepts(f"{where}.path", functools.partial(check_path, path)):
                continue
            if isinstance(status, bool) or not isinstance(status, int) or not 100 <= status <= 599:
                self.wrong(
                    f"{where}.status",
                    f"must be an HTTP status from 100 to 599, not {shown(status)}",
                )
                continue
            checks.append(self._check(where, item, str(path), status))
        command = self.texts("test.job.command")
        if self.get("test.job") is not None and not command:
            self.wrong("test.job.command", "required; write for example `command: [./smoke-test]`")
        if not checks and self.get("test.job") is None and not self.has_problem_at("test.http"):
            self.wrong("test", "set http, job or both")
        if checks and port is None:
            self.wrong("port", "required; test.http needs the port that the container listens on")
        through = self.choice("test.through", ("service", "ingress"), "service")
        if through == "ingress" and self.get("expose.type") != INGRESS:
            self.wrong(
                "test.through",
                f"ingress needs expose.type {INGRESS}; leave it out or change the type",
            )
        elif through == "ingress":
            self._check_tested_hosts()
        return PostDeployTest(
            through=through,
            http=tuple(checks),
            job_command=command,
            job_image=self.text("test.job.image"),
            timeout_seconds=self.whole("test.timeoutSeconds", 120, 1, 3600),
        )

    def _check_tested_hosts(self) -> None:
        """Requests to ingress hosts are sent from the pack's host: only to where operations say, be
        that the one address of their ingress, or the names of hosts."""
        ours = self._settings.ingress
        hosts, _ = claimed_hosts(self._resource, self._settings)
        if self._ingress_address or any(ours.may_be_tested(host) for host in hosts):
            return
        self.wrong(
            "test.through",
            "none of the hosts may be tested (application.ingress.domain and "
            "test_hosts of the pack's configuration); leave it out, or ask the platform team",
        )

    def _check(self, where: str, item: Mapping[str, Any], path: str, status: int) -> HttpCheck:
        pattern, within = item.get("matches"), item.get("withinSeconds")
        if pattern is not None:
            try:
                compile_pattern(pattern)
            except DefinitionError as error:
                self.wrong(
                    f"{where}.matches",
                    f"{shown(pattern)} is not a valid regular expression: {error}",
                )
        if within is not None and number(within) <= 0:
            self.wrong(
                f"{where}.withinSeconds",
                f"must be a number of seconds above 0, not {shown(within)}",
            )
            within = None
        headers = self._texts(where, item, "headers")
        self._accepts(f"{where}.headers", functools.partial(check_headers, headers))
        expected = self._texts(where, item, "expectHeaders")
        for name in expected:
            self._accepts(f"{where}.expectHeaders", functools.partial(check_header_name, name))
        contains = item.get("contains")
        if contains is not None and not isinstance(contains, str):
            self.wrong(
                f"{where}.contains", f"must be a string, not {shown(contains)}; put it in quotes"
            )
        return HttpCheck(
            path,
            status,
            contains=contains,
            matches=pattern,
            json=self._texts(where, item, "json"),
            expect_headers=expected,
            within_seconds=float(within) if within is not None else None,
            headers=headers,
        )

    def _texts(self, where: str, item: Mapping[str, Any], key: str) -> Dict[str, str]:
        value = item.get(key) or {}
        if not isinstance(value, Mapping):
            self.wrong(
                f"{where}.{key}", f"must be a mapping of names to strings, not {shown(value)}"
            )
            return {}
        return {str(name): str(each) for name, each in value.items()}

    def _check_weights(self, spec: ApplicationSpec) -> None:
        if spec.strategy.type != CANARY or self.has_problem_at("strategy.steps"):
            return
        wrong = weights.problem([step.weight for step in spec.strategy.steps], spec.replicas.min)
        if wrong is None and spec.replicas.min < 2:
            wrong = "a Canary needs at least two replicas: one stable, one canary."
        if wrong is not None:
            self.wrong("strategy.steps", wrong.rstrip("."))

    def _patch(self) -> Mapping[str, Mapping[str, Any]]:
        patch = self.mapping("patch")
        if patch and not self._settings.may_patch(self._namespace):
            self.wrong(
                "patch",
                f"it is not allowed in namespace {self._namespace} "
                "(application.allow_patch of the pack's "
                "configuration); use the other fields, or ask the platform team",
            )
        for name, change in patch.items():
            if name not in PATCHABLE:
                self.wrong(f"patch.{name}", f"must be one of {', '.join(PATCHABLE)}")
            elif not isinstance(change, Mapping):
                self.wrong(f"patch.{name}", f"must be an object, not {shown(change)}")
            else:
                self._check_patch(name, change)
        return {
            str(name): dict(change) for name, change in patch.items() if isinstance(change, Mapping)
        }

    def _check_patch(self, name: str, change: Mapping[str, Any]) -> None:
        for path in OURS_ALONE:
            if _at(change, path) is not _ABSENT:
                self.wrong(f"patch.{name}.{path}", "cannot be patched; leave it out")
        for path in STAND_ON:
            value = _at(change, path)
            if value is not _ABSENT and not isinstance(value, Mapping):
                self.wrong(f"patch.{name}.{path}", "can be extended, but not removed or replaced")
        containers = _at(change, CONTAINERS)
        if containers is _ABSENT:
            return
        if not isinstance(containers, list) or not all(
            isinstance(c, Mapping) and c.get("name") for c in containers
        ):
            self.wrong(
                f"patch.{name}.{CONTAINERS}",
                "write a list of containers, each with its name; ours is called app",
            )


def _at(value: Any, path: str) -> Any:
    for part in path.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return _ABSENT
        value = value[part]
    return value


_ABSENT = object()
# What a patch cannot touch: what the pack finds its own objects by, and what a rollout decides.
OURS_ALONE = (
    "apiVersion",
    "kind",
    "status",
    "metadata.name",
    "metadata.namespace",
    "metadata.ownerReferences",
    "spec.selector",
    "spec.replicas",
    "spec.scaleTargetRef",
)
# What a manifest falls apart without.
STAND_ON = (
    "metadata",
    "metadata.labels",
    "metadata.annotations",
    "spec",
    "spec.template",
    "spec.template.metadata",
    "spec.template.metadata.labels",
    "spec.template.metadata.annotations",
    "spec.template.spec",
)
CONTAINERS = "spec.template.spec.containers"


def env_name(text: str) -> str:
    """The variable that a key's name gives: capitals, and `_` for what a variable cannot hold."""
    return re.sub(r"[^A-Z0-9_]", "_", text.upper())


def _example(what: str) -> str:
    return "100m" if what == "cpu" else "128Mi"


def _words(values: Sequence[object]) -> str:
    return ", ".join(str(value) for value in values)
