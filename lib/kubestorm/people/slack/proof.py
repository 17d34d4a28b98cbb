"""That what an action is given was really asked in Slack: a keyed hash over it, made by the sensor.
Pure.

Whoever may run actions by hand could otherwise say that somebody else clicked. The key is the bot
token, which sensor and actions read from the same place and which is in no trigger. What is old is
no longer carried out.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any, Mapping

from kubestorm.core import untrusted
from kubestorm.core.errors import PermanentError
from kubestorm.core.secrets import Secret

FIELDS = (
    "id",
    "at",
    "kind",
    "user",
    "channel",
    "channel_name",
    "text",
    "thread",
    "action",
    "value",
    "inputs",
    "reply",
)
MAX_AGE_SECONDS = 3600


def prove(payload: Mapping[str, Any], key: Secret) -> str:
    """The proof for a payload whose `at` is seconds since the epoch, as text."""
    said = {name: payload.get(name) or ("" if name != "inputs" else {}) for name in FIELDS}
    text = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hmac.new(
        key.reveal().encode(), b"kubestorm.slack\n" + text.encode(), hashlib.sha256
    ).hexdigest()


def check(payload: Mapping[str, Any], key: Secret, now: float) -> None:
    """Raises PermanentError for what was not asked in Slack, or too long ago."""
    proof = str(payload.get("proof") or "")
    if not hmac.compare_digest(prove(payload, key).encode(), proof.encode("utf-8", "replace")):
        raise PermanentError(
            "This was not asked in Slack: only the sensor may say who typed or clicked what. Ask "
            "there, or run "
            "kubestorm.chat_run or kubestorm.approval_answer as yourself.",
            service="Slack",
        )
    at = untrusted.digits(str(payload.get("at") or ""))
    if at is None or now - at > MAX_AGE_SECONDS:
        raise PermanentError("That was asked more than an hour ago; ask again.", service="Slack")
