"""Which object is meant by what was said: short names of namespaces, and names that are in several
or none. Pure.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Iterable, NamedTuple, Optional, Tuple, Union

from kubestorm.people.chat.permissions import channel_entry
from kubestorm.people.chat.settings import ChatSettings

MOST_CANDIDATES = 10
_CLOSE = 0.6


class Target(NamedTuple):
    """One object."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True)
class Ambiguous:
    """Several are called that, in different namespaces."""

    candidates: Tuple[Target, ...]


@dataclass(frozen=True)
class Absent:
    """None is called that; `closest` are called nearly that."""

    closest: Tuple[Target, ...] = ()


Found = Union[Target, Ambiguous, Absent]


def namespace_meant(settings: ChatSettings, channel: str, said: Optional[str]) -> str:
    """The namespace that a word stands for in a channel; the channel's own where nothing was said;
    or nothing.
    """
    entry = channel_entry(settings, channel)
    if not said:
        return entry.default_namespace if entry is not None else ""
    if entry is not None and said in entry.short_names:
        return entry.short_names[said]
    return settings.short_names.get(said, said)


def find(name: str, namespace: str, existing: Iterable[Target]) -> Found:
    """The object that a name means, among those that the asker may see. An empty namespace is any
    of them.
    """
    seen = sorted(existing)
    reachable = [item for item in seen if not namespace or item.namespace == namespace]
    exact = tuple(item for item in reachable if item.name == name)
    if len(exact) == 1:
        return exact[0]
    if exact:
        return Ambiguous(exact[:MOST_CANDIDATES])
    elsewhere = tuple(item for item in seen if item.name == name)
    close = difflib.get_close_matches(
        name, sorted({item.name for item in reachable}), n=3, cutoff=_CLOSE
    )
    begins = [
        item.name for item in reachable if item.name.startswith(name) and item.name not in close
    ]
    nearly = tuple(item for item in reachable if item.name in {*close, *begins})
    return Absent((*elsewhere, *nearly)[:MOST_CANDIDATES])
