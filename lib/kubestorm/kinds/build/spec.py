"""What an ImageBuild asks for, parsed and checked against what operations offer.

The API server's schema has refused wrong shapes already; this module says what a schema cannot. All
problems are found in one go, each with its field and what would be right. Pure: nothing is called.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, FrozenSet, List, Mapping, Optional, Sequence, Tuple

from kubestorm.clients.git.address import (
    GitAddress,
    branch_problem,
    parse_address,
    revision_problem,
)
from kubestorm.clients.kube import Resource
from kubestorm.core.errors import DefinitionError
from kubestorm.core.image_names import ImageName
from kubestorm.core.naming import GROUP, LABEL, VERSION
from kubestorm.core.spec_reader import InvalidSpecError, Problem
from kubestorm.core.untrusted import shown
from kubestorm.kinds.build import paths as path_patterns
from kubestorm.kinds.build import tags as tag_templates
from kubestorm.kinds.build.context import INLINE_DOCKERFILE
from kubestorm.kinds.build.logins import push_entry, push_patterns
from kubestorm.kinds.build.settings import BUILDAH, HOST_BUILDAH, BuildSettings

NOTIFY_OUTCOMES = ("Succeeded", "Failed", "Canceled", "NothingToDo")
MAX_IMAGES = 100
PLURAL = "imagebuilds"
IMAGE_BUILDS = Resource(GROUP, VERSION, PLURAL)
# Source: the grammar in github.com/distribution/reference, without a digest or tag.
COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
REPOSITORY = re.compile(rf"{COMPONENT}(?:/{COMPONENT})*")
HOST = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.)*[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?::[0-9]+)?"
)
PLATFORM = re.compile(r"[a-z0-9]+/[a-z0-9]+(/[a-z0-9.]+)?")
BUILD_ARG = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
TARGET = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
VAULT_PATH = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*")
DEFAULT_TEST_SECONDS = 300

__all__ = [
    "ImageBuildSpec",
    "ImageSpec",
    "InvalidSpecError",
    "Problem",
    "SourceSpec",
    "parse_image_build",
]


@dataclass(frozen=True)
class SourceSpec:
    """Where the source is. Either `branch` is followed, or `revision` (a tag or a commit) is built
    once.
    """

    address: GitAddress
    branch: str
    """Empty: what the repository's HEAD names."""
    revision: str
    vault_path: Optional[str]

    @property
    def shown(self) -> str:
        """What is followed, for a message and as the word `branch` in tags."""
        return self.revision or self.branch or "HEAD"


@dataclass(frozen=True)
class ImageSpec:
    """One image of a build."""

    name: str
    context: str
    """Folder from the repository's root; `.` is the root."""
    dockerfile: str
    """Path below the context."""
    registry: str
    repository: str
    build_args: Mapping[str, str]
    target: str
    platforms: Tuple[str, ...]
    paths: Tuple[str, ...]
    tags: Tuple[str, ...]
    cache: str
    """Reference of the repository that keeps layers between builds; empty: none."""
    test_command: Tuple[str, ...]
    test_timeout_seconds: int
    dockerfile_text: str = ""
    """The Dockerfile itself, where the source has none; `dockerfile` then names the place where it
    is written.
    """

    @property
    def reference(self) -> str:
        """`registry/repository`, without a tag."""
        return f"{self.registry}/{self.repository}"

    @property
    def pushed_to(self) -> Tuple[ImageName, ...]:
        """Where a build pushes: the image first, then what keeps its layers."""
        host, _, repository = self.cache.partition("/")
        image = ImageName(self.registry, self.repository)
        return (image, ImageName(host, repository)) if self.cache else (image,)


@dataclass(frozen=True)
class Notify:
    """Who is told of what. The pack hands it on in the trigger kubestorm.build_finished; rules and
    chat do the rest.
    """

    channels: Tuple[str, ...] = ()
    on: FrozenSet[str] = frozenset(NOTIFY_OUTCOMES)


@dataclass(frozen=True)
class ImageBuildSpec:
    """A checked ImageBuild."""

    source: SourceSpec
    images: Tuple[ImageSpec, ...]
    builder: str
    timeout_seconds: int
    """For one image."""
    suspend: bool
    """Whether only a command starts a build."""
    notify: Notify

    def image(self, name: str) -> Optional[ImageSpec]:
        """The image of that name."""
        return next((each for each in self.images if each.name == name), None)


def parse_image_build(
    resource: Mapping[str, Any], settings: BuildSettings, *, cluster: str
) -> ImageBuildSpec:
    """Read an ImageBuild as the Kubernetes API returns it. Raises InvalidSpecError with every
    problem.
    """
    return _Parser(resource, settings, cluster).parse()


class _Parser:
    """Reads one resource, and collects what is wrong with it on the way."""

    def __init__(self, resource: Mapping[str, Any], settings: BuildSettings, cluster: str) -> None:
        metadata = resource.get("metadata") or {}
        self._namespace = str(metadata.get("namespace", ""))
        self._settings, self._cluster = settings, cluster
        self._problems: List[Problem] = []
        spec = resource.get("spec")
        self._spec: Mapping[str, Any] = spec if isinstance(spec, Mapping) else {}

    def parse(self) -> ImageBuildSpec:
        source = self._source(_mapping(self._spec.get("source")))
        builder = self._builder()
        images = self._images(builder)
        spec = ImageBuildSpec(
            source=source,
            images=images,
            builder=builder,
            timeout_seconds=self._timeout(),
            suspend=bool(self._spec.get("suspend", False)),
            notify=self._notify(_mapping(self._spec.get("notify"))),
        )
        if self._problems:
            raise InvalidSpecError(self._problems)
        return spec

    def _wrong(self, field: str, message: str) -> None:
        self._problems.append(Problem(f"spec.{field}", message))

    def _source(self, raw: Mapping[str, Any]) -> SourceSpec:
        address = GitAddress("", "", "")
        try:
            address = parse_address(str(raw.get("url") or ""), self._settings.source)
        except DefinitionError as error:
            self._wrong("source.url", str(error))
        branch, revision = str(raw.get("branch") or ""), str(raw.get("revision") or "")
        if branch and revision:
            self._wrong(
                "source.revision",
                "say either the branch to follow or the revision to build, not both",
            )
        for field, value, check in (
            ("branch", branch, branch_problem),
            ("revision", revision, revision_problem),
        ):
            found = check(value) if value else ""
            if found:
                self._wrong(f"source.{field}", found)
        credentials = _mapping(raw.get("credentials"))
        path = str(credentials.get("vaultPath") or "") or None
        if path is not None:
            self._check_vault_path(path)
        return SourceSpec(address, branch, revision, path)

    def _check_vault_path(self, path: str) -> None:
        allowed = [
            each.replace("{cluster}", self._cluster).replace("{namespace}", self._namespace)
            for each in self._settings.source.credentials_paths
        ]
        plain = VAULT_PATH.fullmatch(path) and not {".", ".."} & set(path.split("/"))
        if not plain or not any(fnmatchcase(path, each) for each in allowed):
            places = " or ".join(allowed)
            self._wrong(
                "source.credentials.vaultPath",
                f"{shown(path)} may not be read for this namespace; it is {places}",
            )

    def _builder(self) -> str:
        offered = self._settings.offered
        builder = str(self._spec.get("builder") or self._settings.builder)
        if builder not in offered:
            self._wrong(
                "builder", f"{shown(builder)} is not offered; there is {', '.join(offered)}"
            )
        elif builder == HOST_BUILDAH and not self._settings.host.enabled:
            message = (
                "builds on the host are turned off; operations allow them with build.host.enabled"
            )
            self._wrong("builder", f"{message}, for trusted sources only")
        return builder

    def _timeout(self) -> int:
        most = self._settings.max_timeout_seconds
        value = self._spec.get("timeoutSeconds")
        if value is None:
            return min(self._settings.timeout_seconds, most)
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
            self._wrong(
                "timeoutSeconds", f"{shown(value)} is not a number of seconds from 1 to {most}"
            )
            return most
        return value

    def _notify(self, raw: Mapping[str, Any]) -> Notify:
        on = raw.get("on") or NOTIFY_OUTCOMES
        for word in on:
            if word not in NOTIFY_OUTCOMES:
                self._wrong("notify.on", f"{shown(word)} is none of {', '.join(NOTIFY_OUTCOMES)}")
        return Notify(
            tuple(str(each) for each in raw.get("channels") or ()),
            frozenset(str(word) for word in on),
        )

    def _images(self, builder: str) -> Tuple[ImageSpec, ...]:
        raw = self._spec.get("images")
        if not isinstance(raw, list) or not raw:
            self._wrong("images", "name at least one image")
            return ()
        if len(raw) > MAX_IMAGES:
            self._wrong(
                "images",
                f"{len(raw)} images are more than {MAX_IMAGES}; split them over several "
                "ImageBuilds",
            )
            return ()
        images = [
            self._image(_mapping(item), f"images[{index}]", builder)
            for index, item in enumerate(raw)
        ]
        for field, values in (
            ("name", [each.name for each in images]),
            ("repository", [(each.reference, each.tags) for each in images]),
        ):
            for index, value in enumerate(values):
                if value in values[:index]:
                    what = value if isinstance(value, str) else f"{value[0]} with the same tags"
                    self._wrong(
                        f"images[{index}].{field}",
                        f"{what} is there already; each image has its own",
                    )
        return tuple(images)

    def _image(self, raw: Mapping[str, Any], where: str, builder: str) -> ImageSpec:
        name = str(raw.get("name") or "")
        if not LABEL.fullmatch(name):
            self._wrong(
                f"{where}.name",
                f"{shown(name)} is not a word of small letters, digits and hyphens, up to 63",
            )
        context = self._path(raw.get("context"), f"{where}.context", ".")
        registry, repository = self._repository(
            str(raw.get("repository") or ""), f"{where}.repository"
        )
        cache = ""
        if raw.get("cache"):
            cache = "/".join(self._repository(str(raw["cache"]), f"{where}.cache"))
        test = _mapping(raw.get("test"))
        command = tuple(str(part) for part in test.get("command") or ())
        if command and builder not in (HOST_BUILDAH, BUILDAH):
            self._wrong(
                f"{where}.test",
                f"{builder} cannot run a command in the built image; {BUILDAH} and {HOST_BUILDAH} "
                "can",
            )
        seconds = test.get("timeoutSeconds", DEFAULT_TEST_SECONDS)
        target = str(raw.get("target") or "")
        if target and not TARGET.fullmatch(target):
            self._wrong(
                f"{where}.target", f"{shown(target)} is not the name of a stage of a Dockerfile"
            )
        return ImageSpec(
            name=name,
            context=context,
            dockerfile=self._dockerfile(raw, where),
            dockerfile_text=str(raw.get("dockerfileText") or ""),
            registry=registry,
            repository=repository,
            build_args=self._build_args(_mapping(raw.get("buildArgs")), f"{where}.buildArgs"),
            target=target,
            platforms=self._platforms(raw.get("platforms") or (), f"{where}.platforms", builder),
            paths=self._patterns(raw.get("paths") or (), f"{where}.paths")
            or path_patterns.default_patterns(context),
            tags=self._tags(raw.get("tags") or (), f"{where}.tags"),
            cache=cache,
            test_command=command,
            test_timeout_seconds=int(seconds) if isinstance(seconds, int) else DEFAULT_TEST_SECONDS,
        )

    def _dockerfile(self, raw: Mapping[str, Any], where: str) -> str:
        if raw.get("dockerfileText"):
            if raw.get("dockerfile"):
                self._wrong(f"{where}.dockerfile", "give one of dockerfile and dockerfileText")
            return INLINE_DOCKERFILE
        return self._path(raw.get("dockerfile"), f"{where}.dockerfile", "Dockerfile")

    def _path(self, raw: Any, field: str, default: str) -> str:
        """A path inside the repository (or the context), tidied; `..`, absolute and option-like
        ones are refused.
        """
        text = str(raw or default)
        parts = text.split("/")
        if (
            text.startswith(("/", "-"))
            or ".." in parts
            or any(ord(char) < 32 or char == "\\" for char in text)
        ):
            self._wrong(
                field,
                f"{shown(text)} leaves the place it begins at; it is a path below it, without `..`",
            )
            return default
        if ".git" in parts:
            self._wrong(field, f"{shown(text)} is inside git's own folder")
            return default
        return posixpath.normpath(text)

    def _repository(self, text: str, field: str) -> Tuple[str, str]:
        """Registry and repository. The registry is one that operations named, and the namespace may
        push there.
        """
        first, slash, rest = text.partition("/")
        named = bool(slash) and ("." in first or ":" in first or first == "localhost")
        host, repository = (first, rest) if named else (self._settings.default_registry, text)
        if not REPOSITORY.fullmatch(repository) or not (HOST.fullmatch(host) or not host):
            self._wrong(
                field,
                f"{shown(text)} is not a repository such as shop/cart, without a tag or digest",
            )
            return host, repository
        if not host:
            self._wrong(
                field,
                f"{shown(text)} names no registry, and operations have set no registries.default",
            )
            return host, repository
        registry = self._settings.registry(host)
        if registry is None:
            hosts = [each.host for each in self._settings.hosts]
            known = ", ".join(hosts) or "none"
            self._wrong(
                field, f"{host} is not a registry that operations have set up; there is {known}"
            )
        elif push_entry(self._settings, ImageName(host, repository), self._namespace) is None:
            allowed = ", ".join(push_patterns(self._settings, host, self._namespace)) or "nothing"
            self._wrong(
                field, f"this namespace may push to {allowed} of {host}, not to {repository}"
            )
        return host, repository

    def _build_args(self, raw: Mapping[str, Any], field: str) -> Mapping[str, str]:
        for key, value in raw.items():
            if not BUILD_ARG.fullmatch(str(key)):
                self._wrong(field, f"{shown(key)} is not the name of an ARG")
            if "\0" in str(value) or "\n" in str(value):
                self._wrong(f"{field}.{key}", "a build argument is one line of text")
        return {str(key): str(value) for key, value in sorted(raw.items())}

    def _platforms(self, raw: Sequence[Any], field: str, builder: str) -> Tuple[str, ...]:
        for platform in raw:
            if not PLATFORM.fullmatch(str(platform)):
                self._wrong(field, f"{shown(platform)} is not a platform such as linux/amd64")
        if len(raw) > 1 and builder == "kaniko":
            self._wrong(field, "kaniko builds one platform at a time; name one, or another builder")
        return tuple(dict.fromkeys(str(each) for each in raw))

    def _patterns(self, raw: Sequence[Any], field: str) -> Tuple[str, ...]:
        for index, pattern in enumerate(raw):
            found = path_patterns.problem(str(pattern))
            if found:
                self._wrong(f"{field}[{index}]", f"{shown(pattern)}: {found}")
        return tuple(str(each) for each in raw)

    def _tags(self, raw: Sequence[Any], field: str) -> Tuple[str, ...]:
        for index, template in enumerate(raw):
            found = tag_templates.problem(str(template))
            if found:
                self._wrong(f"{field}[{index}]", f"{shown(template)}: {found}")
        return tuple(str(each) for each in raw)


def _mapping(raw: Any) -> Mapping[str, Any]:
    return raw if isinstance(raw, Mapping) else {}
