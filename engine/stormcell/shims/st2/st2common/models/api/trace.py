"""The context that joins what follows from one event."""

from __future__ import annotations

from typing import Any, Dict, Optional


class TraceContext:
    """An id or a tag of a trace."""

    def __init__(self, id_: Optional[str] = None, trace_tag: Optional[str] = None) -> None:
        self.id_ = id_
        self.trace_tag = trace_tag

    def to_dict(self) -> Dict[str, Any]:
        """Return it as a mapping."""
        return {"id_": self.id_, "trace_tag": self.trace_tag}
