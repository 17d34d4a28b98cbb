"""Which channel hears of a namespace. Pure."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any, Mapping, Optional

from kubestorm.announce.settings import AnnounceSettings

CHANNEL_KEY = "kubestorm.io/channel"
SILENT = "none"


def channel_of(namespace: str, obj: Optional[Mapping[str, Any]], settings: AnnounceSettings) -> str:
    """The channel for a namespace; empty for silence. `obj` is the Namespace, None where it is not
    known.

    Its annotation wins over its label, as a label's value can hold no `#`; `none` asks for silence.
    """
    metadata = (obj or {}).get("metadata") or {}
    if settings.by_namespace:
        for part in ("annotations", "labels"):
            said = str((metadata.get(part) or {}).get(CHANNEL_KEY) or "").strip()
            if said:
                return "" if said.lower() == SILENT else said
    for rule in settings.channels:
        if any(fnmatchcase(namespace, pattern) for pattern in rule.namespaces):
            return "" if rule.channel.lower() == SILENT else rule.channel
    return settings.channel
