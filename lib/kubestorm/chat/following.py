"""Long work that was begun from a chat: what to look at, and when it has come to an end. Pure.

No step waits: a look takes a moment, says whether it is over, and when to look again. The thread is told once, at the
end. `Follow` travels between looks as plain values.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Dict, Mapping, Optional, Union

from kubestorm.chat.commands import APPLICATION, Command
from kubestorm.chat.formatting import Message, Outcome
from kubestorm.resource import UNDER_WAY

SLOWEST_FACTOR = 6
TERMINAL = {
    "Complete": Outcome.GOOD,
    "Failed": Outcome.FAILED,
    "Aborted": Outcome.WARNING,
    "Superseded": Outcome.WARNING,
}


@dataclass(frozen=True)
class Follow:
    """What is looked at. `rollout` names a Rollout object; otherwise the object itself is to become Ready."""

    plural: str
    namespace: str
    name: str
    rollout: str = ""
    generation: int = 0
    """The generation that the answer has to be about; 0 takes the first that is seen."""
    delay_seconds: float = 0.0
    waited_seconds: float = 0.0

    def as_dict(self) -> Dict[str, Any]:
        return asdict(self)


def follow_of(command: Command, values: Mapping[str, str], result: Any) -> Optional[Follow]:
    """What a command that went well leaves under way, if anything."""
    if not command.follow or not isinstance(result, Mapping) or result.get("done"):
        return None
    namespace, name = values.get("namespace", ""), values.get("name", "")
    if command.follow == "rollout":
        rollout = str(result.get("rollout") or "")
        return Follow(APPLICATION, namespace, name, rollout=rollout)
    return Follow(
        command.plural, namespace, str(result.get("name") or name), generation=int(result.get("generation") or 0)
    )


def next_look(follow: Follow, look_seconds: float) -> Follow:
    """The next look: the first ones soon, later ones rarer."""
    slowest = look_seconds * SLOWEST_FACTOR
    delay = look_seconds if not follow.delay_seconds else min(follow.delay_seconds * 1.5, slowest)
    return replace(follow, delay_seconds=round(delay, 1), waited_seconds=round(follow.waited_seconds + delay, 1))


def judge_object(follow: Follow, resource: Optional[Mapping[str, Any]], word: str) -> Union[Message, None]:
    """The outcome of an object on its way to Ready; None while it is on the way."""
    where = f"{follow.namespace}/{follow.name}"
    if resource is None:
        return Message(f"{word.capitalize()} {where} is gone.", Outcome.WARNING)
    status: Mapping[str, Any] = resource.get("status") or {}
    generation = follow.generation or int(resource["metadata"].get("generation") or 0)
    if int(status.get("observedGeneration") or 0) < generation:
        return None
    by_type = {item.get("type"): item for item in status.get("conditions") or []}
    ready = by_type.get("Ready") or {}
    if int(ready.get("observedGeneration") or generation) < generation:
        return None
    if ready.get("status") == "True":
        return Message(f"{word.capitalize()} {where} is ready.", Outcome.GOOD, fields=_facts(status))
    reason = str(ready.get("reason") or "")
    if not reason or reason in UNDER_WAY or ready.get("status") != "False" or not _is_final(reason):
        return None
    message = str(ready.get("message") or reason)
    return Message(
        f"{word.capitalize()} {where} is in trouble: {message}",
        Outcome.FAILED,
        next_step=f"Ask `why {where}` for more.",
    )


def judge_rollout(follow: Follow, rollout: Optional[Mapping[str, Any]]) -> Union[Message, None]:
    """The outcome of a Rollout; None while it is under way."""
    where = f"{follow.namespace}/{follow.name}"
    if rollout is None:
        return None
    spec: Mapping[str, Any] = rollout.get("spec") or {}
    status: Mapping[str, Any] = rollout.get("status") or {}
    phase = str(status.get("phase") or "")
    if phase not in TERMINAL:
        return None
    image: Mapping[str, Any] = spec.get("image") or {}
    version = image.get("tag") or str(image.get("digest") or "")[:19]
    said = {
        "Complete": f"{where} runs {version}.",
        "Failed": f"The rollout of {version} to {where} failed: {status.get('message') or status.get('reason')}",
        "Aborted": f"The rollout of {version} to {where} was aborted.",
        "Superseded": f"The rollout of {version} to {where} was overtaken by a newer one.",
    }[phase]
    fields = tuple(
        (title, str(value))
        for title, value in (
            ("Digest", image.get("digest")),
            ("Asked by", spec.get("requestedBy")),
            ("Reason", status.get("reason") if phase != "Complete" else ""),
        )
        if value
    )
    step = f"Ask `why {where}` for more, or `logs {where}`." if phase == "Failed" else ""
    return Message(said, TERMINAL[phase], fields, next_step=step)


def judge_late(follow: Follow, watch_seconds: float) -> Optional[Message]:
    """What the thread is told when it has been long."""
    if follow.waited_seconds < watch_seconds:
        return None
    where = f"{follow.namespace}/{follow.name}"
    minutes = int(follow.waited_seconds // 60)
    return Message(
        f"{where} is still under way after {minutes} minutes.",
        Outcome.WARNING,
        next_step=f"Ask `status {where}` or `why {where}`; I stop waiting here.",
    )


def _is_final(reason: str) -> bool:
    """Whether a reason is one that a person has to act upon, and not a service that does not answer just now."""
    return not reason.endswith(("Unavailable", "Conflict", "Pending", "Waiting", "Progressing"))


def _facts(status: Mapping[str, Any]) -> Any:
    endpoint = (status.get("endpoint") or {}).get("host") if isinstance(status.get("endpoint"), Mapping) else ""
    image = status.get("image")
    found = [("Address", endpoint), ("Image", image if isinstance(image, str) else "")]
    return tuple((title, str(value)) for title, value in found if value)
