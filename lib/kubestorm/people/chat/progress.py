"""Long work that was begun from a chat: what to look at, and when it has come to an end. Pure.

Nothing blocks: a look takes a moment and says whether it is over, or when to look again. The thread
is told once, at the end. `Follow` travels between looks as plain values.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Dict, Mapping, Optional, Sequence, Tuple

from kubestorm.core import untrusted
from kubestorm.core.conditions import READY, UNDER_WAY, condition_in
from kubestorm.people.chat.commands import Command
from kubestorm.people.chat.formatting import Message, Outcome, image_table, table_of

# Reasons and phases in which a rollout stands until a person does something.
_WAITS = {
    "AwaitingPromotion": "Say `promote {where}` to go on, or `abort {where}`.",
    "AwaitingApproval": "Somebody who may has to approve it.",
    "Frozen": "Say `who froze {where}`, and `unfreeze {where}` if it is over.",
}
SLOWEST_FACTOR = 24
"""The longest pause, in times the first: 5 s, 10 s, ... 2 minutes. Each look is an execution."""
TERMINAL = {
    "Complete": Outcome.GOOD,
    "Failed": Outcome.FAILED,
    "Aborted": Outcome.WARNING,
    "Superseded": Outcome.WARNING,
}


@dataclass(frozen=True)
class Follow:
    """What is looked at: an application's rollout, a requested build, a delivery, or an object that
    is to be Ready.
    """

    plural: str
    namespace: str
    name: str
    rollout: str = ""
    """The Rollout, where its name is known already."""
    digest: str = ""
    """Else the digest of the Rollout that is awaited."""
    known: Tuple[str, ...] = ()
    """Rollouts that were there before, and so are not the awaited one."""
    request: str = ""
    """A build's request."""
    run: str = ""
    """A delivery's execution."""
    generation: int = 0
    """The generation that the answer has to be about; 0 takes the first that is seen."""
    delay_seconds: float = 0.0
    waited_seconds: float = 0.0

    def as_dict(self) -> Dict[str, Any]:
        return {**asdict(self), "known": list(self.known)}

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Follow:
        """The other way round; keys that it does not know are left out."""
        values = {key: value for key, value in given.items() if key in cls.__dataclass_fields__}
        return cls(**{**values, "known": tuple(values.get("known") or ())})


def follow_of(
    command: Command, values: Mapping[str, str], result: Any, known: Sequence[str] = ()
) -> Optional[Follow]:
    """What a command that went well leaves under way, if anything. `known` are the Rollouts from
    before it.
    """
    if not command.follow or not isinstance(result, Mapping) or result.get("changed") is False:
        return None
    base = Follow(
        command.plural,
        values.get("namespace", ""),
        str(result.get("name") or values.get("name", "")),
    )
    if command.follow == "rollout":
        rollout, digest = str(result.get("rollout") or ""), str(result.get("digest") or "")
        return (
            replace(base, rollout=rollout, digest=digest, known=tuple(known))
            if rollout or digest
            else None
        )
    if command.follow == "build":
        request = str(result.get("request_id") or "")
        return replace(base, request=request) if request else None
    if command.follow == "delivery":
        run = str(result.get("run_id") or "")
        return replace(base, run=run) if run else None
    return replace(base, generation=untrusted.integer(result.get("generation")))


def next_check(follow: Follow, check_seconds: float) -> Follow:
    """The next look; each pause is twice the one before, so an outcome is told at most twice as
    late as it came.
    """
    slowest = check_seconds * SLOWEST_FACTOR
    delay = check_seconds if not follow.delay_seconds else min(follow.delay_seconds * 2, slowest)
    return replace(
        follow,
        delay_seconds=round(delay, 1),
        waited_seconds=round(follow.waited_seconds + delay, 1),
    )


def judge_object(
    follow: Follow, resource: Optional[Mapping[str, Any]], word: str
) -> Optional[Message]:
    """The outcome of an object on its way to Ready; None while it is on the way."""
    where = f"{follow.namespace}/{follow.name}"
    if resource is None:
        return Message(f"{word.capitalize()} {where} is gone.", Outcome.WARNING)
    status: Mapping[str, Any] = untrusted.status(resource)
    generation = follow.generation or untrusted.integer(resource["metadata"].get("generation"))
    if untrusted.integer(status.get("observedGeneration")) < generation:
        return None
    ready = condition_in(status, READY)
    if untrusted.integer(ready.get("observedGeneration"), generation) < generation:
        return None
    if ready.get("status") == "True":
        return Message(
            f"{word.capitalize()} {where} is ready.", Outcome.GOOD, fields=_facts(status)
        )
    reason = str(ready.get("reason") or "")
    if not reason or reason in UNDER_WAY or ready.get("status") != "False" or not _is_final(reason):
        return None
    message = str(ready.get("message") or reason)
    return Message(
        f"{word.capitalize()} {where} is in trouble: {message}",
        Outcome.FAILED,
        next_step=f"Ask `why {where}` for more.",
    )


def judge_application(
    follow: Follow, application: Optional[Mapping[str, Any]], rollouts: Sequence[Mapping[str, Any]]
) -> Optional[Message]:
    """The outcome of an application's rollout, from the application and all its Rollouts; None
    while it is under way.

    Over is also what waits for a person: whoever asked can do something about it.
    """
    where = f"{follow.namespace}/{follow.name}"
    if application is None:
        return Message(f"Application {where} is gone.", Outcome.WARNING)
    awaited = [item for item in rollouts if _is_awaited(follow, item)]
    if awaited:
        newest = max(awaited, key=lambda item: str(item["metadata"].get("creationTimestamp") or ""))
        return judge_rollout(follow, newest)
    status: Mapping[str, Any] = untrusted.status(application)
    image: Mapping[str, Any] = untrusted.mapping(status.get("image"))
    ready = condition_in(status, READY)
    if follow.digest and image.get("digest") == follow.digest and ready.get("status") == "True":
        return Message(
            f"{where} runs {image.get('tag') or follow.digest[:19]}; there was nothing to do.",
            Outcome.GOOD,
        )
    return None


def _is_awaited(follow: Follow, rollout: Mapping[str, Any]) -> bool:
    name = rollout["metadata"]["name"]
    if follow.rollout:
        return bool(name == follow.rollout)
    image: Mapping[str, Any] = (rollout.get("spec") or {}).get("image") or {}
    return bool(name not in follow.known and image.get("digest") == follow.digest)


def judge_rollout(follow: Follow, rollout: Mapping[str, Any]) -> Optional[Message]:
    """The outcome of one Rollout; None while it is under way."""
    where = f"{follow.namespace}/{follow.name}"
    spec: Mapping[str, Any] = rollout.get("spec") or {}
    status: Mapping[str, Any] = untrusted.status(rollout)
    phase, reason = str(status.get("phase") or ""), str(status.get("reason") or "")
    image: Mapping[str, Any] = spec.get("image") or {}
    version = image.get("tag") or str(image.get("digest") or "")[:19]
    said = str(status.get("message") or reason)
    if phase not in TERMINAL:
        step = _WAITS.get(reason) or _WAITS.get(phase)
        if step is None:
            return None
        sentence = f"The rollout of {version} to {where} waits: {said}"
        return Message(sentence, Outcome.WARNING, next_step=step.format(where=where))
    sentence = {
        "Complete": f"{where} runs {version}.",
        "Failed": f"The rollout of {version} to {where} failed: {said}",
        "Aborted": f"The rollout of {version} to {where} was aborted: {said}",
        "Superseded": f"The rollout of {version} to {where} was overtaken by a newer one.",
    }[phase]
    facts = (
        ("Digest", image.get("digest")),
        ("Asked by", spec.get("requestedBy")),
        ("Rollout", _name(rollout)),
    )
    fields = tuple((title, str(value)) for title, value in facts if value)
    step = f"Ask `why {where}` for more, or `logs {where}`." if phase == "Failed" else ""
    return Message(sentence, TERMINAL[phase], fields, next_step=step)


def judge_build(follow: Follow, resource: Optional[Mapping[str, Any]]) -> Optional[Message]:
    """The outcome of a requested build; None while it is under way."""
    where = f"{follow.namespace}/{follow.name}"
    if resource is None:
        return Message(f"ImageBuild {where} is gone.", Outcome.WARNING)
    status: Mapping[str, Any] = untrusted.status(resource)
    build: Mapping[str, Any] = untrusted.mapping(status.get("build"))
    if build.get("requestId") != follow.request or build.get("phase") != "Finished":
        return None
    ready = condition_in(status, READY)
    table = image_table(status.get("images"))
    if ready.get("status") == "True":
        return Message(
            f"Build {build.get('number')} of {where} is done.", Outcome.GOOD, table=table
        )
    message = ready.get("message") or build.get("message") or "nobody says why"
    sentence = f"Build {build.get('number')} of {where} failed: {message}"
    return Message(
        sentence,
        Outcome.FAILED,
        table=table,
        next_step=f"`build logs {where}` shows the end of its log.",
    )


def judge_delivery(follow: Follow, resource: Optional[Mapping[str, Any]]) -> Optional[Message]:
    """The outcome of a delivery, stage by stage; None while it is under way."""
    where = f"{follow.namespace}/{follow.name}"
    if resource is None:
        return Message(f"ImageBuild {where} is gone.", Outcome.WARNING)
    delivery: Mapping[str, Any] = untrusted.mapping(untrusted.status(resource).get("pipeline"))
    outcome = delivery.get("outcome")
    if delivery.get("runId") != follow.run or outcome not in ("succeeded", "failed"):
        return None
    stages = untrusted.mappings(delivery.get("stages"))
    table = (
        table_of(stages, (("Stage", "name"), ("Outcome", "outcome"), ("Why", "message")))
        if stages
        else None
    )
    if outcome == "succeeded":
        return Message(f"The delivery of {where} is done.", Outcome.GOOD, table=table)
    failed: Mapping[str, Any] = next(
        (item for item in stages if item.get("outcome") == "failed"), {}
    )
    why = str(failed.get("message") or "nobody says why")
    sentence = (
        f"The delivery of {where} failed at {failed.get('name') or 'an unknown stage'}: {why}"
    )
    return Message(
        sentence,
        Outcome.FAILED,
        table=table,
        next_step=f"`build logs {where}` shows the build's log.",
    )


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


def _name(rollout: Mapping[str, Any]) -> str:
    return str(rollout["metadata"]["name"])


def _is_final(reason: str) -> bool:
    """Whether a reason is one that a person has to act upon, and not a service that does not answer
    just now.
    """
    return not reason.endswith(("Unavailable", "Conflict", "Pending", "Waiting", "Progressing"))


def _facts(status: Mapping[str, Any]) -> Any:
    endpoint = (
        untrusted.mapping(status.get("endpoint")).get("host")
        if isinstance(status.get("endpoint"), Mapping)
        else ""
    )
    image = status.get("image")
    found = [("Address", endpoint), ("Image", image if isinstance(image, str) else "")]
    return tuple((title, str(value)) for title, value in found if value)
