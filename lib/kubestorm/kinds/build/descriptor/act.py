"""Applies a repository's descriptor: creates and updates its ImageBuild and Applications.

The caller names the namespace, and a descriptor with another one is refused: a repository must not
decide where it runs. The objects are checked before any is written, so that an invalid descriptor
changes nothing.
"""

from __future__ import annotations

import contextlib
import posixpath
from typing import Any, Dict, List, Mapping, Sequence, Tuple

from kubestorm.clients.git.address import repository_key
from kubestorm.clients.git.source import kept_repository
from kubestorm.clients.kube import Resource
from kubestorm.clients.services import Services
from kubestorm.core import untrusted
from kubestorm.core.errors import ConflictError, DefinitionError, Error
from kubestorm.core.naming import GROUP, VERSION
from kubestorm.kinds.application.spec import parse as parse_application
from kubestorm.kinds.build.branch_tracking import follows, note_push
from kubestorm.kinds.build.descriptor.plan import (
    DESCRIPTOR_ANNOTATION,
    Manifest,
    applications,
    image_build,
)
from kubestorm.kinds.build.descriptor.settings import DescriptorSettings
from kubestorm.kinds.build.descriptor.spec import Descriptor, parse
from kubestorm.kinds.build.run import Result, open_git
from kubestorm.kinds.build.settings import BuildSettings
from kubestorm.kinds.build.spec import IMAGE_BUILDS, SourceSpec, parse_image_build

APPLICATIONS = Resource(GROUP, VERSION, "applications")
DEFAULT_FILE = "default.json"


def apply(
    services: Services,
    namespace: str,
    url: str,
    *,
    branch: str = "",
    file: str = "",
    credentials_path: str = "",
) -> Result:
    """Read the descriptor at the branch's newest commit and apply it. Safe to repeat.

    Raises DescriptorError with each problem and its line, DefinitionError for another namespace or
    a source that the configuration does not allow, ConflictError where a field that the descriptor
    sets has been changed by others.
    """
    file = _checked(file or DEFAULT_FILE)
    source = _source(services, namespace, url, branch, credentials_path)
    text, branch, commit = _read(services, namespace, source, file)
    settings = DescriptorSettings.from_config(services.settings.raw)
    descriptor = parse(text, tuple(settings.types), file)
    if descriptor.namespace != namespace:
        raise DefinitionError(
            f"{file} of {url} is for namespace {descriptor.namespace}, not for {namespace}.",
            field="namespace",
        )
    build = image_build(
        descriptor, settings, url=url, branch=branch, credentials_path=credentials_path, file=file
    )
    made = applications(descriptor, settings, branch=branch, file=file)
    _check(services, build, made)
    for resource, manifest in [(IMAGE_BUILDS, build), *((APPLICATIONS, each) for each in made)]:
        _write(services, resource, manifest, file)
    return {
        "namespace": namespace,
        "commit": commit,
        "branch": branch,
        "image_build": build["metadata"]["name"],
        "applications": [each["metadata"]["name"] for each in made],
        "left_over": _left_over(services, descriptor, made),
        "message": (
            f"{file} at {commit[:8]}: ImageBuild {descriptor.name}, {len(made)} Applications."
        ),
    }


def refresh(services: Services, urls: Sequence[str], branch: str) -> Result:
    """Apply the descriptors of a branch that was pushed to. An invalid one does not stop the
    others.
    """
    keys = [key for key in (repository_key(url) for url in urls) if key]
    done: List[Result] = []
    failed: Dict[str, str] = {}
    for build in list(services.kube.list_all(IMAGE_BUILDS)):
        metadata, source = build["metadata"], build["spec"]["source"]
        file = untrusted.texts(metadata.get("annotations")).get(DESCRIPTOR_ANNOTATION)
        if not file or not follows(build, keys, branch):
            continue
        credentials = str((source.get("credentials") or {}).get("vaultPath") or "")
        try:
            done.append(
                apply(
                    services, metadata["namespace"], source["url"],
                    branch=str(source.get("branch") or ""),
                    file=file, credentials_path=credentials,
                )
            )  # fmt: skip
        except Error as error:
            failed[f"{metadata['namespace']}/{metadata['name']}"] = str(error)
            with contextlib.suppress(Error):
                services.kube.create_event(
                    build,
                    reason="DescriptorRefused",
                    message=str(error),
                    type="Warning",
                    now=services.now(),
                )
    return {
        "applied": done,
        "failed": failed,
        "message": f"{len(done)} descriptors applied, {len(failed)} refused.",
    }


def follow_push(
    services: Services,
    urls: Sequence[str],
    branch: str,
    commit: str,
    *,
    actor: str = "",
    event_id: str = "",
) -> Result:
    """Apply the descriptors of a branch that was pushed to, then note the push on each ImageBuild
    that follows it, so that its build has the new spec with the new commit.
    """
    descriptors = refresh(services, urls, branch)
    noted = note_push(services, urls, branch, commit, actor=actor, event_id=event_id)
    return {**noted, "descriptors": descriptors}


def _checked(file: str) -> str:
    if file.startswith(("/", "-")) or ".." in file.split("/"):
        raise DefinitionError(
            f"file must be a path below the repository's root, not {file!r}.", field="file"
        )
    return posixpath.normpath(file)


def _source(
    services: Services, namespace: str, url: str, branch: str, credentials_path: str
) -> SourceSpec:
    """The source, checked as that of an ImageBuild of the namespace: the same servers and
    credentials are allowed.
    """
    source: Dict[str, Any] = {"url": url}
    if branch:
        source["branch"] = branch
    if credentials_path:
        source["credentials"] = {"vaultPath": credentials_path}
    registry = BuildSettings.from_config(services.settings.raw).default_registry
    repository = f"{registry}/{namespace}/descriptor" if registry else f"{namespace}/descriptor"
    resource = {
        "metadata": {"name": "descriptor", "namespace": namespace},
        "spec": {"source": source, "images": [{"name": "descriptor", "repository": repository}]},
    }
    settings = BuildSettings.from_config(services.settings.raw)
    return parse_image_build(resource, settings, cluster=services.settings.cluster).source


def _read(
    services: Services, namespace: str, source: SourceSpec, file: str
) -> Tuple[str, str, str]:
    """The descriptor's text, its branch and commit."""
    settings = BuildSettings.from_config(services.settings.raw)
    with open_git(services, settings, source) as git:
        head = git.head(source.branch)
        kept = kept_repository(
            settings.work_folder,
            namespace=namespace,
            address=source.address,
            vault_path=source.vault_path,
        )
        with kept as repository:
            git.fetch(repository, commit=head.commit, branch=head.branch)
            return git.text(repository, head.commit, file), head.branch, head.commit


def _check(services: Services, build: Manifest, made: Sequence[Manifest]) -> None:
    settings = services.settings
    parse_image_build(build, BuildSettings.from_config(settings.raw), cluster=settings.cluster)
    for each in made:
        parse_application(each, settings)


def _write(services: Services, resource: Resource, manifest: Manifest, file: str) -> None:
    metadata = manifest["metadata"]
    try:
        services.kube.apply(resource, manifest, metadata["namespace"], force=False)
    except ConflictError as error:
        raise ConflictError(
            f"{manifest['kind']} {metadata['namespace']}/{metadata['name']} was changed by others "
            f"in a field that {file} sets: {error} Change {file}, or revert that change.",
            service="Kubernetes",
        ) from error


def _left_over(
    services: Services, descriptor: Descriptor, made: Sequence[Mapping[str, Any]]
) -> List[str]:
    """Applications of an earlier descriptor of this image that are no longer in it. They are
    reported, never deleted.
    """
    named = {each["metadata"]["name"] for each in made}
    found = []
    for each in services.kube.list_all(APPLICATIONS, descriptor.namespace):
        annotations = untrusted.annotations_of(each)
        image = str((each["spec"].get("image") or {}).get("repository") or "")
        is_ours = (
            DESCRIPTOR_ANNOTATION in annotations
            and image == f"{descriptor.namespace}/{descriptor.name}"
        )
        if is_ours and each["metadata"]["name"] not in named:
            found.append(each["metadata"]["name"])
    return sorted(found)
