"""Which registry logins a build gets, and which a namespace's pods get. Pure: credentials.py reads
the chosen paths from Vault.

An entry of `registries.hosts[].access` is for some namespaces, and for the repositories of the host
that its patterns cover. Of several that cover a repository the one with the most specific pattern
counts (decision 0125).

How programs read a key of config.json: containers-auth.json(5) for buildah ("a single hostname or a
namespace", the most specific first); "Interpretation of config.json" in Kubernetes' documentation
for pods' pull secrets (a prefix of the image); session/auth/authprovider of moby/buildkit and
pkg/authn of google/go-containerregistry, as kaniko has it, for hosts alone.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import Callable, Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple

from kubestorm.core.errors import DefinitionError
from kubestorm.core.image_names import DOCKER_HUB, ImageName
from kubestorm.kinds.build.settings import BUILDKIT, KANIKO, BuildSettings, RegistryAccess

ONE_LOGIN_A_HOST = (BUILDKIT, KANIKO)
"""Builders that select a login by host only."""
DOCKER_HUB_KEY = "https://index.docker.io/v1/"
"""Their key for Docker Hub, as `docker login` writes it."""
_WILDCARD = re.compile(r"[*?\[]")


class Grant(NamedTuple):
    """A login for a part of a registry."""

    host: str
    path: str
    """A repository, or a folder of repositories; empty: the whole host."""
    vault_path: str

    @property
    def key(self) -> str:
        """As config.json names it."""
        return f"{self.host}/{self.path}" if self.path else self.host


class _Rule(NamedTuple):
    """A pattern of an entry, `{namespace}` filled in."""

    pattern: str
    entry: RegistryAccess

    @property
    def rank(self) -> Tuple[bool, int, int, bool, bool]:
        """Highest for the most specific pattern; between equal ones for an entry with certain
        namespaces, then for one that is pushed to.
        """
        start = _start(self.pattern)
        is_exact, is_for_some = start == self.pattern, "*" not in self.entry.namespaces
        return is_exact, len(start), len(self.pattern), is_for_some, self.entry.is_pushed_to


def push_entry(
    settings: BuildSettings, image: ImageName, namespace: str
) -> Optional[RegistryAccess]:
    """The entry by which an ImageBuild of that namespace may push there, or None."""
    found = _covering(settings, image, namespace)
    return found[0] if found and found[0].is_pushed_to else None


def push_patterns(settings: BuildSettings, host: str, namespace: str) -> List[str]:
    """The patterns of a host's repositories that a namespace may push to."""
    of_host = [each for each in settings.registries if each.host == host and each.is_pushed_to]
    return [rule.pattern for rule in _rules(of_host, namespace)]


def build_grants(
    settings: BuildSettings,
    builder: str,
    namespace: str,
    pushes: Iterable[ImageName],
    pulls: Optional[Iterable[ImageName]],
) -> Tuple[Grant, ...]:
    """The logins of one image's build: those that push the image, and those that pull its base
    images. `pulls` is None where the base images are not known: then all that the namespace may
    pull.

    There is no login for a repository that no entry lets the namespace use.
    """
    grants: Dict[str, Grant] = {}
    for image in pushes:
        entry = push_entry(settings, image, namespace)
        path = entry.push_vault_path if entry else None
        _add(grants, image.registry, image.repository, path)
    if pulls is None:
        for grant in _pull_grants(settings, namespace, lambda rule: rule.entry.push_vault_path):
            grants.setdefault(grant.key, grant)
    for image in pulls or ():
        path = _pull_path(_covering(settings, image, namespace))
        _add(grants, image.registry, image.repository, path)
    if builder not in ONE_LOGIN_A_HOST:
        return tuple(grants.values())
    # Destinations come first, so that their login wins over a base image's.
    by_host: Dict[str, Grant] = {}
    for grant in grants.values():
        host = DOCKER_HUB_KEY if grant.host == DOCKER_HUB else grant.host
        by_host.setdefault(host, Grant(host, "", grant.vault_path))
    return tuple(by_host.values())


def namespace_grants(
    settings: BuildSettings, namespace: str, allowed: Sequence[str] = ()
) -> Tuple[Grant, ...]:
    """The logins with which a namespace's pods pull. `allowed` are the patterns of
    `registry/repository` that Applications may run; empty: all.

    Raises DefinitionError where an entry has only a login that pushes, and copy_push_login is not
    set.
    """

    def single(rule: _Rule) -> Optional[str]:
        entry = rule.entry
        if entry.copy_push_login:
            return entry.push_vault_path
        where = entry.where
        raise DefinitionError(
            f"{where} ({entry.host}, {rule.pattern}) has only a login that pushes, which is not "
            f"copied into namespace {namespace}: set {where}.pull_vault_path, or "
            "copy_push_login: true if pods may have that login.",
            field=f"{where}.pull_vault_path",
        )

    def may_run(rule: _Rule) -> bool:
        start = _start(f"{rule.entry.host}/{rule.pattern}")
        others = [_start(each) for each in allowed]
        return not others or any(a.startswith(start) or start.startswith(a) for a in others)

    return _pull_grants(settings, namespace, single, may_run)


def config_warnings(settings: BuildSettings) -> List[str]:
    """A sentence for each entry whose logins allow more than needed."""
    found: List[str] = []
    for entry in settings.registries:
        where = f"{entry.where} ({entry.host})"
        rules = [_Rule(pattern, entry) for pattern in entry.repositories]
        everyone = [each for each in entry.repositories if "{namespace}" not in each]
        if entry.is_pushed_to and everyone and "*" in entry.namespaces:
            found.append(
                f"{where} lets every namespace push to {', '.join(everyone)}. Name its namespaces, "
                "or leave out push_vault_path where it is only pulled from."
            )
        if entry.copy_push_login:
            found.append(
                f"{where} copies its only login: whoever may read Secrets of a namespace with a "
                "pull secret can push. Set pull_vault_path instead."
            )
        elif any(_has_only_push(rule, settings.registries) for rule in rules):
            found.append(
                f"{where} has only one login: builds pull with the login that pushes, and "
                "pull_secret_ensure fails for its namespaces. Set pull_vault_path, or "
                "copy_push_login."
            )
    return found


def _pull_grants(
    settings: BuildSettings,
    namespace: str,
    single: Callable[[_Rule], Optional[str]],
    wanted: Callable[[_Rule], bool] = lambda rule: True,
) -> Tuple[Grant, ...]:
    """By pattern, the most specific first; `single` decides where there is only a login that
    pushes.
    """
    grants: Dict[str, Grant] = {}
    for rule in filter(wanted, _rules(settings.registries, namespace)):
        entry, path = rule.entry, rule.entry.pull_vault_path
        if _has_only_push(rule, settings.registries, namespace):
            path = single(rule)
        _add(grants, entry.host, _folder(rule.pattern), path)
    return tuple(grants.values())


def _has_only_push(
    rule: _Rule, entries: Sequence[RegistryAccess], namespace: Optional[str] = None
) -> bool:
    """Whether the only login for what a pattern covers is one that pushes."""
    if rule.entry.push_vault_path is None or rule.entry.pull_vault_path is not None:
        return False
    for entry in entries:
        if entry.host != rule.entry.host or entry.pull_vault_path is None:
            continue
        if namespace is None:
            is_for_all = not set(rule.entry.namespaces) - set(entry.namespaces)
            patterns = entry.repositories if "*" in entry.namespaces or is_for_all else ()
        else:
            patterns = entry.patterns(namespace)
        if any(each == rule.pattern or _is_within(rule.pattern, each) for each in patterns):
            return False
    return True


def _is_within(pattern: str, wider: str) -> bool:
    """Whether `wider` matches all that `pattern` matches; its `*` also matches a `*`."""
    return not set("?[") & set(wider) and fnmatchcase(pattern, wider)


def _pull_path(entries: Sequence[RegistryAccess]) -> Optional[str]:
    """The login to pull a repository with, of the entries that cover it. One that pushes only where
    there is no other.
    """
    if not entries or entries[0].push_vault_path is None:
        return entries[0].pull_vault_path if entries else None
    pulling = (each.pull_vault_path for each in entries if each.pull_vault_path is not None)
    return next(pulling, entries[0].push_vault_path)


def _covering(settings: BuildSettings, image: ImageName, namespace: str) -> List[RegistryAccess]:
    """The entries that cover a repository for a namespace, the most specific first."""
    of_host = [each for each in settings.registries if each.host == image.registry]
    return [
        rule.entry
        for rule in _rules(of_host, namespace)
        if fnmatchcase(image.repository, rule.pattern)
    ]


def _rules(entries: Iterable[RegistryAccess], namespace: str) -> List[_Rule]:
    """The patterns for a namespace, the most specific first; equal ones in their order."""
    found = [_Rule(pattern, entry) for entry in entries for pattern in entry.patterns(namespace)]
    return sorted(found, key=lambda rule: rule.rank, reverse=True)


def _add(grants: Dict[str, Grant], host: str, path: str, vault_path: Optional[str]) -> None:
    if vault_path is not None:
        grant = Grant(host, path, vault_path)
        grants.setdefault(grant.key, grant)


def _start(pattern: str) -> str:
    """The part before the first wildcard."""
    return _WILDCARD.split(pattern, 1)[0]


def _folder(pattern: str) -> str:
    """The narrowest path of a key for all that a pattern matches; empty for the host."""
    start = _start(pattern)
    return start if start == pattern else start.rpartition("/")[0]
