"""What people ask of an object through the pack, as fields of its status: `status.requests`.

Kubernetes can let one person write an object and another its status ("Subresources" in "Using RBAC
Authorization"). Whoever may write the status may abort, promote, roll back, freeze and cancel; who
may write the object alone may not, nor say that somebody else did.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, Dict, Mapping, Optional

from kubestorm.core import untrusted
from kubestorm.core.times import format_time

FIELD = "requests"
ABORT, PROMOTE, ROLLBACK_TO, FREEZE, CANCEL = "abort", "promote", "rollbackTo", "freeze", "cancel"
CONSUMED = (ABORT, PROMOTE, ROLLBACK_TO, CANCEL)
"""Removed by the step that has acted on them. A freeze stays until it is lifted."""
SOMEBODY = "somebody"


def read(obj: Any, name: str) -> Optional[Mapping[str, Any]]:
    """A request on an object; None where there is none. Never raises."""
    return in_status(untrusted.status(obj), name)


def in_status(status: Mapping[str, Any], name: str) -> Optional[Mapping[str, Any]]:
    """The same, of a status."""
    found = untrusted.mapping(status.get(FIELD)).get(name)
    return found if isinstance(found, Mapping) else None


def by(request: Mapping[str, Any]) -> str:
    """Who requested it."""
    return untrusted.text(request.get("by"), SOMEBODY)


def request(who: str, now: dt.datetime, **more: Any) -> Dict[str, Any]:
    """A request of one person; empty strings are left out."""
    return {
        "by": who or SOMEBODY,
        "at": format_time(now),
        **{key: value for key, value in more.items() if value != ""},
    }


def fields(**requests: Optional[Mapping[str, Any]]) -> Dict[str, Any]:
    """Fields of a status, for a merge patch; None takes a request away."""
    return {FIELD: requests}


def taken_back(obj: Any, *names: str, since: Any = None) -> Dict[str, Any]:
    """Fields of a status that take requests away; empty where an object has none of them. With
    `since`, the object as it was read, what has been asked anew since then stays.
    """
    present = [
        name
        for name in names
        if read(obj, name) is not None and (since is None or read(obj, name) == read(since, name))
    ]
    return fields(**dict.fromkeys(present)) if present else {}
