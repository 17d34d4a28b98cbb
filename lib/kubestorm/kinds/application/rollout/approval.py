"""Whether a rollout may begin, or be promoted: read from the Rollout, where whoever was asked has
left the answer.

`status.approval` holds contentHash, state, by and at. The hash binds the answer to the image: an
answer for another digest, application or question is none.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Mapping

from kubestorm.core import untrusted
from kubestorm.kinds.application.rollout.model import (
    ASKED,
    EXPIRED,
    GRANTED,
    NOT_NEEDED,
    REFUSED,
    Answer,
    Approval,
)
from kubestorm.kinds.application.rollout.settings import PROMOTE, ROLLOUT, needs_approval

_STATES = {"granted": GRANTED, "refused": REFUSED, "expired": EXPIRED, "waiting": ASKED}


def content_hash(rollout: Mapping[str, Any], what: str) -> str:
    """What an answer is bound to: this rollout with all that its spec says, and the question
    (`rollout` or `promote`).
    """
    metadata = rollout["metadata"]
    content = {
        "what": what,
        "namespace": metadata.get("namespace", ""),
        "rollout": metadata["name"],
        "uid": metadata.get("uid", ""),
        "spec": rollout["spec"],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def look(rollout: Mapping[str, Any], config: Mapping[str, Any]) -> Approval:
    """Where the approvals of a rollout stand, by the pack's configuration and the Rollout's
    status.
    """
    return Approval(
        rollout=_answer(rollout, config, ROLLOUT), promote=_answer(rollout, config, PROMOTE)
    )


def asks(rollout: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """What somebody has to be asked about now (`rollout`, `promote`), or nothing: for those who do
    the asking.
    """
    status = untrusted.status(rollout)
    if status.get("phase") != "AwaitingApproval":
        return ""
    what = PROMOTE if status.get("base") else ROLLOUT
    answer = _answer(rollout, config, what)
    return what if answer.state == ASKED else ""


def _answer(rollout: Mapping[str, Any], config: Mapping[str, Any], what: str) -> Answer:
    if not needs_approval(config, rollout["metadata"].get("namespace", ""), what):
        return Answer(NOT_NEEDED)
    said = untrusted.mapping(untrusted.status(rollout).get("approval"))
    if said.get("contentHash") != content_hash(rollout, what):
        return Answer(ASKED)
    state = _STATES.get(untrusted.text(said.get("state")).lower(), ASKED)
    return Answer(state, untrusted.text(said.get("by")))
