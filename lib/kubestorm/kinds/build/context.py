"""Checks the files of a build's context before any is unpacked. Pure.

A Dockerfile outside of the context, and a symbolic link that leads out of it, are refused: on a
host they would name the host's own files.
"""

from __future__ import annotations

import posixpath
from typing import List, Mapping, Optional, Sequence

from kubestorm.clients.git.source import TreeEntry
from kubestorm.core.errors import DefinitionError

INLINE_DOCKERFILE = ".kubestorm.Dockerfile"
"""Where `dockerfileText` of an ImageBuild is written; the source must have no file of that name."""
MAX_LINKS = 40
SHOWN = 5


def check_context(
    entries: Sequence[TreeEntry],
    links: Mapping[str, str],
    *,
    image: str,
    context: str,
    dockerfile: str,
    absolute_ok: bool = False,
) -> str:
    """Check one image's context; returns the Dockerfile's path below it, links resolved. Raises
    DefinitionError.

    `links` are the symbolic links among the entries, and where they point.
    """
    escaping = escapes(links, absolute_ok=absolute_ok)
    if escaping:
        shown = ", ".join(f"{path} -> {links[path]}" for path in escaping[:SHOWN])
        more = f" and {len(escaping) - SHOWN} more" if len(escaping) > SHOWN else ""
        message = (
            f"symbolic links lead out of the context {context} of image {image}: {shown}{more}"
        )
        raise DefinitionError(message, field="context")
    if dockerfile == INLINE_DOCKERFILE:
        if any(entry.path.split("/", 1)[0] == INLINE_DOCKERFILE for entry in entries):
            message = (
                f"the context {context} of image {image} has a file {INLINE_DOCKERFILE}; that "
                "name is reserved"
            )
            raise DefinitionError(message, field="context")
        return INLINE_DOCKERFILE
    files = {entry.path for entry in entries if entry.mode != "120000"}
    found = resolve(dockerfile, links)
    if found is None or found not in files:
        message = f"image {image} has no Dockerfile {dockerfile} in its context {context}"
        raise DefinitionError(message, field="dockerfile")
    return found


def escapes(links: Mapping[str, str], *, absolute_ok: bool = False) -> List[str]:
    """The links that lead out of the context, directly or through other links."""
    found: List[str] = []
    for path, target in sorted(links.items()):
        if target.startswith("/"):
            if not absolute_ok:
                found.append(path)
        elif resolve(path, links) is None:
            found.append(path)
    return found


def resolve(path: str, links: Mapping[str, str]) -> Optional[str]:
    """The path with its links resolved, as the kernel does; None where that is outside of the
    context. A loop of links and an absolute link count as outside.
    """
    todo = [part for part in path.split("/") if part not in ("", ".")][::-1]
    here: List[str] = []
    steps = 0
    while todo:
        part = todo.pop()
        if part in ("", "."):
            continue
        if part == "..":
            if not here:
                return None
            here.pop()
            continue
        target = links.get("/".join([*here, part]))
        if target is None:
            here.append(part)
            continue
        steps += 1
        if steps > MAX_LINKS or target.startswith("/"):
            return None
        todo.extend(target.split("/")[::-1])
    return posixpath.join(*here) if here else "."
