"""What of an object is worth telling a channel, as it is now. Pure.

News follows from the object's present state: an object has at most one piece of it, and `state`
says what counts as the same news. What is under way is not news, except that a rollout has started.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Tuple

from kubestorm.core import untrusted
from kubestorm.core.conditions import FALSE, READY, TRUE, UNDER_WAY
from kubestorm.core.times import parse_time

GOOD, BAD, WARNING, INFO = "good", "bad", "warning", "info"
Object = Mapping[str, Any]
MAX_SENTENCE = 600

_WAITING = frozenset(("Pending", "Queued", "NotStarted", "Unknown", "AwaitingApproval"))
_PASSING = ("Unavailable", "Conflict")


class News(NamedTuple):
    """One thing to tell. `subject` names the object and its life; `since` is when it came to be so,
    where that is known.
    """

    subject: str
    state: str
    topic: str
    """For a summary: `rollouts complete`, `databases in trouble`."""
    tone: str
    namespace: str
    name: str
    sentence: str
    facts: Tuple[Tuple[str, str], ...] = ()
    since: Optional[dt.datetime] = None
    passing: bool = False
    """Trouble of a kind that mostly passes: it is told when it has lasted `trouble_seconds`."""


def news_of(plural: str, obj: Object) -> Optional[News]:
    """What an object has to tell now, or None."""
    teller = _TELLERS.get(plural)
    return teller(plural, obj) if teller else None


def _rollout(plural: str, obj: Object) -> Optional[News]:
    status, spec = untrusted.status(obj), obj.get("spec") or {}
    phase = str(status.get("phase") or "")
    if phase not in _PHASES:
        return None
    topic, tone, words = _PHASES[phase]
    image = spec.get("image") or {}
    reference = spec.get("applicationRef")
    application = str(
        (reference.get("name") if isinstance(reference, Mapping) else reference) or _name(obj)
    )
    version = str(image.get("tag") or short(str(image.get("digest") or "")))
    what = f"{application} {version}".strip()
    sentence = f"Rollout of {what} in {_namespace(obj)} {words}"
    why = str(status.get("message") or "").strip()
    if tone in (BAD, WARNING) and why:
        sentence += f": {why}"
    since = parse_time(
        status.get("finishedAt") or (status.get("startedAt") if phase == "Progressing" else None)
    )
    facts = [
        ("digest", short(str(image.get("digest") or ""))),
        ("requested by", str(spec.get("requestedBy") or "")),
        ("strategy", _strategy(spec.get("strategy"))),
        ("reason", str(status.get("reason") or "") if tone in (BAD, WARNING) else ""),
    ]
    step = f":{status.get('step')}" if phase == "Paused" else ""
    return News(
        subject=subject_of(plural, obj),
        state=f"{phase}{step}",
        topic=f"rollouts {topic}",
        tone=tone,
        namespace=_namespace(obj),
        name=application,
        sentence=_stop(sentence),
        facts=tuple((label, value) for label, value in facts if value),
        since=since,
    )


_PHASES = {
    "Progressing": ("started", INFO, "started"),
    "Paused": ("waiting for promotion", WARNING, "is waiting to be promoted or aborted"),
    "Complete": ("complete", GOOD, "is complete"),
    "Failed": ("failed", BAD, "failed"),
    "Aborted": ("aborted", WARNING, "was aborted"),
}


def _conditioned(plural: str, obj: Object) -> Optional[News]:
    """Whatever ends in the condition Ready."""
    words = _WORDS[plural]
    conditions = untrusted.mappings(untrusted.status(obj).get("conditions"))
    by_type = {str(item.get("type")): item for item in conditions}
    ready = by_type.get(READY)
    if ready is None:
        return None
    where = f"{words.kind} {_namespace(obj)}/{_name(obj)}"
    common: Dict[str, Any] = {
        "subject": subject_of(plural, obj),
        "namespace": _namespace(obj),
        "name": _name(obj),
        "since": parse_time(ready.get("lastTransitionTime")),
    }
    deleting = bool((obj.get("metadata") or {}).get("deletionTimestamp"))
    if ready.get("status") == TRUE:
        if deleting:
            return None
        generation = (obj.get("metadata") or {}).get("generation") or 0
        if ready.get("observedGeneration") not in (None, generation):
            return None
        return News(
            state=f"ready:{generation}",
            topic=f"{words.plural} {words.good}",
            tone=GOOD,
            sentence=f"{where} is {words.good}.",
            facts=_facts(obj, words.facts),
            **common,
        )
    cause = next(
        (item for item in conditions if _is_trouble(item) and item.get("type") in words.causes),
        None,
    )
    if cause is None:
        return None
    reason, message = str(cause.get("reason") or ""), str(cause.get("message") or "")
    return News(
        state=f"trouble:{cause.get('type')}:{reason}",
        topic=f"{words.plural} {words.bad}",
        tone=BAD,
        sentence=_stop(f"{where} {words.verb}: {message or reason}"),
        facts=(("condition", str(cause.get("type"))), ("reason", reason)),
        passing=reason.endswith(_PASSING),
        **common,
    )


class _Words(NamedTuple):
    kind: str
    plural: str
    good: str
    bad: str
    verb: str
    causes: Tuple[str, ...]
    """The conditions whose failing is news here; others are told of by another kind."""
    facts: Tuple[Tuple[str, str], ...] = ()
    """Label and the path of a value in the object."""


_WORDS = {
    "databases": _Words(
        "Database",
        "databases",
        "ready",
        "in trouble",
        "is in trouble",
        ("SpecValid", "CredentialsStored", "InstanceAvailable", "Published"),
        (("engine", "spec.engine"), ("size", "spec.size")),
    ),
    "imagebuilds": _Words(
        "ImageBuild",
        "builds",
        "built and pushed",
        "failed",
        "failed",
        ("SpecValid", "SourceFetched", "Built", "Pushed"),
        (
            ("branch", "status.source.branch"),
            ("commit", "status.source.shortCommit"),
            ("images", "status.build.message"),
        ),
    ),
    "applications": _Words(
        "Application",
        "applications",
        "ready",
        "in trouble",
        "is in trouble",
        # RolledOut is told of by its Rollouts.
        ("SpecValid", "HostClaimed", "Applied"),
    ),
}


def _is_trouble(condition: Mapping[str, Any]) -> bool:
    if condition.get("status") != FALSE:
        return False
    reason = str(condition.get("reason") or "")
    under_way = reason in UNDER_WAY or reason in _WAITING or reason.startswith("Waiting")
    return not under_way and not (reason.endswith("ing") and not reason.endswith("Missing"))


_TELLERS: Dict[str, Callable[[str, Object], Optional[News]]] = {
    "rollouts": _rollout,
    **dict.fromkeys(_WORDS, _conditioned),
}


def short(digest: str) -> str:
    """A digest as people read it: the first twelve characters of its hash."""
    kind, _, value = digest.partition(":")
    return f"{kind}:{value[:12]}" if value else digest[:12]


def _strategy(value: Any) -> str:
    if isinstance(value, Mapping):
        return str(value.get("type") or "")
    return str(value or "")


def _facts(obj: Object, wanted: Tuple[Tuple[str, str], ...]) -> Tuple[Tuple[str, str], ...]:
    found: List[Tuple[str, str]] = []
    for label, path in wanted:
        value: Any = obj
        for part in path.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if isinstance(value, (str, int)) and str(value):
            found.append(
                (
                    label,
                    short(value) if label == "digest" and isinstance(value, str) else str(value),
                )
            )
    return tuple(found)


def subject_of(plural: str, obj: Object) -> str:
    """A name for the object that another one of its name does not have."""
    metadata = obj.get("metadata") or {}
    return f"{plural}/{_namespace(obj)}/{_name(obj)}/{metadata.get('uid') or ''}"


def _namespace(obj: Object) -> str:
    return str((obj.get("metadata") or {}).get("namespace") or "")


def _name(obj: Object) -> str:
    return str((obj.get("metadata") or {}).get("name") or "")


def _stop(sentence: str) -> str:
    sentence = " ".join(sentence.split())
    if len(sentence) > MAX_SENTENCE:
        sentence = sentence[: MAX_SENTENCE - 1] + "…"
    return sentence if sentence.endswith((".", "!", "?", "…")) else f"{sentence}."
