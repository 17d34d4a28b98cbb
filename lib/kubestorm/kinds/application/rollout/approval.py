"""Whether a rollout may begin or be promoted: read from the Rollout's status, where the approval
was recorded.

`status.approval` holds contentHash, state, by and at. The hash binds the approval to the image: an
approval of another digest, application or question does not count.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Mapping

from kubestorm.core import untrusted
from kubestorm.kinds.application.rollout.settings import PROMOTE, ROLLOUT, needs_approval
from kubestorm.kinds.application.rollout.values import (
    ASKED,
    AWAITING_APPROVAL,
    EXPIRED,
    GRANTED,
    NOT_NEEDED,
    REFUSED,
    Answer,
    Approval,
)

_STATES = {"granted": GRANTED, "refused": REFUSED, "expired": EXPIRED, "waiting": ASKED}


def approval_hash(rollout: Mapping[str, Any], what: str) -> str:
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


def read_approval(rollout: Mapping[str, Any], config: Mapping[str, Any]) -> Approval:
    """Where the approvals of a rollout stand, by the pack's configuration and the Rollout's
    status.
    """
    return Approval(
        rollout=_answer(rollout, config, ROLLOUT), promote=_answer(rollout, config, PROMOTE)
    )


def pending_approval(rollout: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """What needs approval now (`rollout`, `promote`); empty where nothing does."""
    status = untrusted.status(rollout)
    if status.get("phase") != AWAITING_APPROVAL:
        return ""
    what = PROMOTE if status.get("base") else ROLLOUT
    answer = _answer(rollout, config, what)
    return what if answer.state == ASKED else ""


def _answer(rollout: Mapping[str, Any], config: Mapping[str, Any], what: str) -> Answer:
    if not needs_approval(config, rollout["metadata"].get("namespace", ""), what):
        return Answer(NOT_NEEDED)
    said = untrusted.mapping(untrusted.status(rollout).get("approval"))
    if said.get("contentHash") != approval_hash(rollout, what):
        return Answer(ASKED)
    state = _STATES.get(untrusted.text(said.get("state")).lower(), ASKED)
    return Answer(state, untrusted.text(said.get("by")))
