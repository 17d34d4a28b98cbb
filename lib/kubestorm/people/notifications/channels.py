"""Which channel hears of a namespace. Pure."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any, Mapping, Optional

from kubestorm.core import untrusted
from kubestorm.people.notifications.settings import AnnounceSettings

CHANNEL_KEY = "kubestorm.io/channel"
SILENT = "none"


def channel_of(namespace: str, obj: Optional[Mapping[str, Any]], settings: AnnounceSettings) -> str:
    """The channel for a namespace; empty for silence. `obj` is the Namespace, None where it is not
    known.

    Its annotation wins over its label, as a label's value can hold no `#`; `none` asks for silence.
    """
    if settings.by_namespace:
        for written in (untrusted.annotations_of(obj), untrusted.labels_of(obj)):
            said = written.get(CHANNEL_KEY, "").strip()
            if said:
                return "" if said.lower() == SILENT else said
    for rule in settings.channels:
        if any(fnmatchcase(namespace, pattern) for pattern in rule.namespaces):
            return "" if rule.channel.lower() == SILENT else rule.channel
    return settings.channel
