"""Parses an ImageBuild's spec and checks it against the configuration.

The API server's schema has refused wrong types already; this checks what a schema cannot. All
problems are reported at once, each with its field. Pure.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, FrozenSet, Mapping, Optional, Sequence, Tuple

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
from kubestorm.core.spec_reader import InvalidSpecError, Problem, SpecReader
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
    """The git repository. Either `branch` is followed, or `revision` (a tag or a commit) is built
    once.
    """

    address: GitAddress
    branch: str
    """Empty: the repository's default branch."""
    revision: str
    vault_path: Optional[str]

    @property
    def shown(self) -> str:
        """The revision or branch, for messages and as `{branch}` in tags."""
        return self.revision or self.branch or "HEAD"


@dataclass(frozen=True)
class ImageSpec:
    """One image of a build."""

    name: str
    context: str
    """Folder, relative to the repository's root; `.` is the root."""
    dockerfile: str
    """Path, relative to the context."""
    registry: str
    repository: str
    build_args: Mapping[str, str]
    target: str
    platforms: Tuple[str, ...]
    paths: Tuple[str, ...]
    tags: Tuple[str, ...]
    cache: str
    """`registry/repository` that caches layers between builds; empty: none."""
    test_command: Tuple[str, ...]
    test_timeout_seconds: int
    dockerfile_text: str = ""
    """The Dockerfile's text, instead of one in the source; it is written to `dockerfile`."""

    @property
    def reference(self) -> str:
        """`registry/repository`, without a tag."""
        return f"{self.registry}/{self.repository}"

    @property
    def pushed_to(self) -> Tuple[ImageName, ...]:
        """The repositories that a build pushes to: the image's first, then the cache."""
        host, _, repository = self.cache.partition("/")
        image = ImageName(self.registry, self.repository)
        return (image, ImageName(host, repository)) if self.cache else (image,)


@dataclass(frozen=True)
class Notify:
    """Channels and outcomes to notify of, passed on in the trigger kubestorm.build_finished."""

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
    """Whether only commands start a build."""
    notify: Notify

    def image(self, name: str) -> Optional[ImageSpec]:
        """The image of that name, or None."""
        return next((each for each in self.images if each.name == name), None)


def parse_image_build(
    resource: Mapping[str, Any], settings: BuildSettings, *, cluster: str
) -> ImageBuildSpec:
    """Parse an ImageBuild as the Kubernetes API returns it. Raises InvalidSpecError with all
    problems.
    """
    return _Parser(resource, settings, cluster).parse()


class _Parser(SpecReader):
    """Parses one resource and collects its problems."""

    def __init__(self, resource: Mapping[str, Any], settings: BuildSettings, cluster: str) -> None:
        metadata = resource.get("metadata") or {}
        self._namespace = str(metadata.get("namespace", ""))
        self._settings, self._cluster = settings, cluster
        super().__init__(resource.get("spec"))

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
        if self.problems:
            raise InvalidSpecError(self.problems)
        return spec

    def _source(self, raw: Mapping[str, Any]) -> SourceSpec:
        address = GitAddress("", "", "")
        try:
            address = parse_address(str(raw.get("url") or ""), self._settings.source)
        except DefinitionError as error:
            self.wrong("source.url", str(error))
        branch, revision = str(raw.get("branch") or ""), str(raw.get("revision") or "")
        if branch and revision:
            self.wrong(
                "source.revision",
                "set either the branch to follow or the revision to build, not both",
            )
        for field, value, check in (
            ("branch", branch, branch_problem),
            ("revision", revision, revision_problem),
        ):
            found = check(value) if value else ""
            if found:
                self.wrong(f"source.{field}", found)
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
            self.wrong(
                "source.credentials.vaultPath",
                f"{shown(path)} is not allowed for this namespace; must match {places}",
            )

    def _builder(self) -> str:
        offered = self._settings.offered
        builder = str(self._spec.get("builder") or self._settings.builder)
        if builder not in offered:
            self.wrong("builder", f"must be one of {', '.join(offered)}, not {shown(builder)}")
        elif builder == HOST_BUILDAH and not self._settings.host.enabled:
            message = "builds on the host are turned off; build.host.enabled allows them"
            self.wrong("builder", f"{message}, for trusted sources only")
        return builder

    def _timeout(self) -> int:
        most = self._settings.max_timeout_seconds
        return self.whole("timeoutSeconds", min(self._settings.timeout_seconds, most), 1, most)

    def _notify(self, raw: Mapping[str, Any]) -> Notify:
        on = raw.get("on") or NOTIFY_OUTCOMES
        for word in on:
            if word not in NOTIFY_OUTCOMES:
                self.wrong(
                    "notify.on", f"must be of {', '.join(NOTIFY_OUTCOMES)}, not {shown(word)}"
                )
        return Notify(
            tuple(str(each) for each in raw.get("channels") or ()),
            frozenset(str(word) for word in on),
        )

    def _images(self, builder: str) -> Tuple[ImageSpec, ...]:
        raw = self._spec.get("images")
        if not isinstance(raw, list) or not raw:
            self.wrong("images", "must have at least one image")
            return ()
        if len(raw) > MAX_IMAGES:
            self.wrong(
                "images",
                f"must have at most {MAX_IMAGES} images, not {len(raw)}; split them over several "
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
                    self.wrong(
                        f"images[{index}].{field}",
                        f"{what} is used by another image of this ImageBuild",
                    )
        return tuple(images)

    def _image(self, raw: Mapping[str, Any], where: str, builder: str) -> ImageSpec:
        name = str(raw.get("name") or "")
        if not LABEL.fullmatch(name):
            self.wrong(
                f"{where}.name",
                f"must have at most 63 lowercase letters, digits and hyphens, not {shown(name)}",
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
            self.wrong(
                f"{where}.test",
                f"{builder} cannot run a command in the built image; {BUILDAH} and {HOST_BUILDAH} "
                "can",
            )
        seconds = test.get("timeoutSeconds", DEFAULT_TEST_SECONDS)
        target = str(raw.get("target") or "")
        if target and not TARGET.fullmatch(target):
            self.wrong(f"{where}.target", f"{shown(target)} is not a valid stage name")
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
                self.wrong(
                    f"{where}.dockerfile", "set either dockerfile or dockerfileText, not both"
                )
            return INLINE_DOCKERFILE
        return self._path(raw.get("dockerfile"), f"{where}.dockerfile", "Dockerfile")

    def _path(self, raw: Any, field: str, default: str) -> str:
        """A normalized path inside of the repository (or the context); `..`, absolute paths and
        options are refused.
        """
        text = str(raw or default)
        parts = text.split("/")
        if (
            text.startswith(("/", "-"))
            or ".." in parts
            or any(ord(char) < 32 or char == "\\" for char in text)
        ):
            self.wrong(field, f"{shown(text)} must be a relative path without `..`")
            return default
        if ".git" in parts:
            self.wrong(field, f"{shown(text)} must not be in .git")
            return default
        return posixpath.normpath(text)

    def _repository(self, text: str, field: str) -> Tuple[str, str]:
        """Registry and repository. Reports a registry that is not configured, and a repository that
        the namespace may not push to.
        """
        first, slash, rest = text.partition("/")
        named = bool(slash) and ("." in first or ":" in first or first == "localhost")
        host, repository = (first, rest) if named else (self._settings.default_registry, text)
        if not REPOSITORY.fullmatch(repository) or not (HOST.fullmatch(host) or not host):
            self.wrong(
                field,
                f"must be a repository such as shop/cart without tag and digest, not {shown(text)}",
            )
            return host, repository
        if not host:
            self.wrong(field, f"{shown(text)} names no registry, and registries.default is not set")
            return host, repository
        registry = self._settings.registry(host)
        if registry is None:
            hosts = [each.host for each in self._settings.hosts]
            known = ", ".join(hosts) or "none"
            self.wrong(
                field, f"registry {host} is not configured in registries.hosts; there is {known}"
            )
        elif push_entry(self._settings, ImageName(host, repository), self._namespace) is None:
            allowed = ", ".join(push_patterns(self._settings, host, self._namespace)) or "nothing"
            self.wrong(
                field, f"this namespace may push to {allowed} of {host}, not to {repository}"
            )
        return host, repository

    def _build_args(self, raw: Mapping[str, Any], field: str) -> Mapping[str, str]:
        for key, value in raw.items():
            if not BUILD_ARG.fullmatch(str(key)):
                self.wrong(field, f"{shown(key)} is not a valid ARG name")
            if "\0" in str(value) or "\n" in str(value):
                self.wrong(f"{field}.{key}", "must be a single line")
        return {str(key): str(value) for key, value in sorted(raw.items())}

    def _platforms(self, raw: Sequence[Any], field: str, builder: str) -> Tuple[str, ...]:
        for platform in raw:
            if not PLATFORM.fullmatch(str(platform)):
                self.wrong(field, f"must be a platform such as linux/amd64, not {shown(platform)}")
        if len(raw) > 1 and builder == "kaniko":
            self.wrong(field, "kaniko builds one platform at a time; name one, or another builder")
        return tuple(dict.fromkeys(str(each) for each in raw))

    def _patterns(self, raw: Sequence[Any], field: str) -> Tuple[str, ...]:
        for index, pattern in enumerate(raw):
            found = path_patterns.problem(str(pattern))
            if found:
                self.wrong(f"{field}[{index}]", f"{shown(pattern)}: {found}")
        return tuple(str(each) for each in raw)

    def _tags(self, raw: Sequence[Any], field: str) -> Tuple[str, ...]:
        for index, template in enumerate(raw):
            found = tag_templates.problem(str(template))
            if found:
                self.wrong(f"{field}[{index}]", f"{shown(template)}: {found}")
        return tuple(str(each) for each in raw)


def _mapping(raw: Any) -> Mapping[str, Any]:
    return raw if isinstance(raw, Mapping) else {}
