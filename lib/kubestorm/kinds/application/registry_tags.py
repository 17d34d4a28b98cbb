"""The tags of a repository as a person asks for them: of registries that the configuration knows,
newest version first.

A person's word must not make the pack call an address of that person's choice, so a registry has to
be one that operations named.
"""

from __future__ import annotations

import re
from typing import Any, Dict, List, Sequence, Tuple

from kubestorm.clients.services import Services
from kubestorm.core import untrusted
from kubestorm.core.errors import DefinitionError
from kubestorm.core.image_names import ImageName, is_attached, is_name, split_reference
from kubestorm.kinds.application.settings import ApplicationSettings
from kubestorm.sources.registry.settings import RegistrySettings

MOST_TAGS = 50


def list_tags(services: Services, repository: str, most: int = MOST_TAGS) -> Dict[str, Any]:
    """`repository`, `total` and the first `most` of `tags`. DefinitionError where the registry is
    not known.
    """
    config = services.settings.raw
    hosts = [each.host for each in RegistrySettings.from_config(config).connections]
    image = image_meant(repository, ApplicationSettings.from_config(config).registry or "", hosts)
    tags = newest_first([tag for tag in services.registry.tags(image) if not is_attached(tag)])
    return {"repository": str(image), "total": len(tags), "tags": tags[: max(1, most)]}


def image_meant(text: str, default: str, hosts: Sequence[str]) -> ImageName:
    """The repository that is meant, with its registry: the one that is named, or the
    configuration's. Pure.
    """
    known = list(dict.fromkeys((*((default,) if default else ()), *hosts)))
    bare = split_reference(text.strip())[0]
    host, slash, path = bare.partition("/")
    if slash and host in known:
        registry, repository = host, path
    elif slash and ("." in host or ":" in host or host == "localhost"):
        offered = ", ".join(known) or "none; see registries.connections"
        raise DefinitionError(
            f"The registry {host} is not one that the configuration names; there is {offered}.",
            field="repository",
        )
    elif len(known) == 1 or default:
        registry, repository = default or known[0], bare
    else:
        offered = ", ".join(known) or "none; see registries.connections"
        raise DefinitionError(
            f"Say which registry {bare} is in; there is {offered}.", field="repository"
        )
    if not is_name(registry, repository):
        raise DefinitionError(
            f"{repository!r} is no repository: small letters, for instance team/cart.",
            field="repository",
        )
    return ImageName(registry, repository)


def newest_first(tags: Sequence[str]) -> List[str]:
    """Numbers in tags count as numbers; a release stands above its own pre-releases, words below
    versions. Pure.
    """
    return sorted(tags, key=_key, reverse=True)


def _key(tag: str) -> Tuple[Any, ...]:
    is_version = bool(re.match(r"v?\d", tag))
    head, dash, rest = tag.lstrip("v").partition("-") if is_version else (tag, "", "")
    return (is_version, _numbers(head), not dash, _numbers(rest), tag)


def _numbers(text: str) -> Tuple[Tuple[int, int, str], ...]:
    parts = re.findall(r"\d+|[^\d.]+", text)
    numbers = [untrusted.digits(part) for part in parts]
    return tuple(
        (0, 0, part) if number is None else (1, number, "") for part, number in zip(parts, numbers)
    )
