"""A workflow definition, parsed into the values the conductor works with (`schema` says what it
must satisfy).

Parsing is tolerant, since inspection wants to tell everything that is wrong at once; the conductor
only runs what inspection has passed. Source: orquesta/specs of StackStorm.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

RESERVED = ("continue", "fail", "noop", "retry")

_VALUES = (
    r"\[.*\]\s*",
    r"\"[^\"]*\"\s*",
    r"'[^']*'\s*",
    r"[-]?\d*\.\d+",
    r"[-]?\d+",
    r"(?i:true)",
    r"(?i:false)",
    r"null",
    r"<%.*?%>",
    r"{{.*?}}",
)
_INLINE = re.compile(rf"(\w+)=({'|'.join(_VALUES)})")


def inline_pairs(text: Any) -> list[dict[str, Any]]:
    """Return `a=1 b='x' c=<% ctx(c) %>` as a list of single pairs; text that is not of that form
    gives none.
    """
    return (
        [{name: _inline_value(raw.strip())} for name, raw in _INLINE.findall(text)]
        if isinstance(text, str)
        else []
    )


def inline_rest(text: str) -> str:
    """Return what of the text is not understood as pairs: an author's mistake, such as a value
    without quotes.
    """
    return " ".join(_INLINE.sub(" ", text).replace(",", " ").split())


def _inline_value(raw: str) -> Any:
    quoted = len(raw) >= 2 and raw[0] == raw[-1] and raw[0] in "\"'"
    text = raw[1:-1] if quoted else raw
    if quoted and not (text.startswith("{") and text.endswith("}")):
        return text
    try:
        return json.loads(text.lower() if text.lower() in ("true", "false") else text)
    except ValueError:
        return text


@dataclass(frozen=True, slots=True)
class Transition:
    """One entry of `next`."""

    index: int
    when: str | None
    publish: tuple[tuple[str, Any], ...]
    do: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Items:
    """`with`: the names each item is taken apart into (none: the item as it is), and the expression
    of the list.
    """

    names: tuple[str, ...]
    expression: str
    concurrency: Any = None


@dataclass(frozen=True, slots=True)
class Retry:
    when: str | None
    count: Any
    delay: Any = None


@dataclass(frozen=True, slots=True)
class Task:
    """One task. `join` is None, `all` or a number."""

    name: str
    action: str | None
    input: Any
    delay: Any
    join: Any
    items: Items | None
    retry: Retry | None
    next: tuple[Transition, ...]


@dataclass(frozen=True)
class Workflow:
    """A definition, and the shape of its graph."""

    input: tuple[tuple[str, Any], ...]
    vars: tuple[tuple[str, Any], ...]
    output: tuple[tuple[str, Any], ...]
    output_on_error: tuple[tuple[str, Any], ...] | None
    tasks: dict[str, Task]
    raw: dict[str, Any] = field(repr=False)

    @cached_property
    def inbound(self) -> dict[str, list[tuple[str, int]]]:
        """Task -> the transitions that lead to it: (from, index of the transition)."""
        found: dict[str, list[tuple[str, int]]] = {name: [] for name in (*self.tasks, *RESERVED)}
        for task in self.tasks.values():
            for transition in task.next:
                for target in transition.do:
                    found.setdefault(target, []).append((task.name, transition.index))
        return found

    @cached_property
    def start_tasks(self) -> tuple[str, ...]:
        return tuple(sorted(name for name in self.tasks if not self.inbound[name]))

    @cached_property
    def in_cycle(self) -> frozenset[str]:
        """Tasks that can be reached from themselves."""
        return frozenset(
            name for name in self.tasks if name in self._reached_from(self._targets(name))
        )

    @cached_property
    def reachable(self) -> frozenset[str]:
        return frozenset(self._reached_from(self.start_tasks))

    def _reached_from(self, starts: tuple[str, ...]) -> set[str]:
        seen: set[str] = set()
        waiting = list(starts)
        while waiting:
            name = waiting.pop()
            if name not in seen:
                seen.add(name)
                waiting.extend(self._targets(name))
        return seen

    def _targets(self, name: str) -> tuple[str, ...]:
        task = self.tasks.get(name)
        return tuple(target for transition in task.next for target in transition.do) if task else ()

    def is_split(self, name: str) -> bool:
        """True where several transitions lead to a task that does not join: each arrival is a route
        of its own.
        """
        task = self.tasks.get(name)
        return (task is None or task.join is None) and len(self.inbound.get(name, ())) > 1

    @cached_property
    def _join_needs(self) -> dict[str, int]:
        needs = {}
        for name, task in self.tasks.items():
            if task.join is not None:
                sources = {source for source, _ in self.inbound[name] if source in self.reachable}
                needs[name] = len(sources) if task.join == "all" else int(task.join)
        return needs

    def join_needs(self, name: str) -> int | None:
        """How many different tasks must lead to a join before it runs; None for a task that does
        not join.
        """
        return self._join_needs.get(name)

    @cached_property
    def uses_task_results(self) -> bool:
        """Whether an expression calls `task()`, for which results must be kept."""
        return re.search(r"\btask\(", json.dumps(self.raw, default=str)) is not None


def parse_workflow(definition: Mapping[str, Any]) -> Workflow:
    """Build the values. Raises TypeError, AttributeError, KeyError or ValueError where the shape is
    quite wrong.
    """
    raw = dict(definition)
    on_error = raw.get("output-on-error")
    return Workflow(
        input=_pairs(raw.get("input")),
        vars=_pairs(raw.get("vars")),
        output=_pairs(raw.get("output")),
        output_on_error=None if on_error is None else _pairs(on_error),
        tasks={name: _parse_task(name, spec or {}) for name, spec in raw["tasks"].items()},
        raw=raw,
    )


def _pairs(entries: Any) -> tuple[tuple[str, Any], ...]:
    if isinstance(entries, Mapping):
        return tuple(entries.items())
    found: list[tuple[str, Any]] = []
    for entry in entries or ():
        found.extend(entry.items() if isinstance(entry, Mapping) else [(entry, None)])
    return tuple(found)


def action_and_input(spec: Mapping[str, Any]) -> tuple[str | None, Any]:
    """Return the action, and the input: inline parameters of the action stand in for `input`."""
    action = spec.get("action")
    pairs = inline_pairs(action)
    if action and pairs:
        return action.split(" ", 1)[0], {
            name: value for pair in pairs for name, value in pair.items()
        }
    given = spec.get("input") or {}
    if isinstance(given, str) and inline_pairs(given):
        given = {name: value for pair in inline_pairs(given) for name, value in pair.items()}
    return action, given


def _parse_task(name: str, spec: Mapping[str, Any]) -> Task:
    action, given = action_and_input(spec)
    transitions = tuple(
        _parse_transition(index, entry) for index, entry in enumerate(spec.get("next") or ())
    )
    return Task(
        name=name,
        action=action,
        input=given,
        delay=spec.get("delay"),
        join=spec.get("join"),
        items=_parse_items(spec.get("with")),
        retry=_parse_retry(spec.get("retry"), transitions),
        next=tuple(_without_retry(transition) for transition in transitions),
    )


def _parse_transition(index: int, spec: Mapping[str, Any]) -> Transition:
    publish = spec.get("publish")
    return Transition(
        index=index,
        when=spec.get("when"),
        publish=_pairs(inline_pairs(publish) if isinstance(publish, str) else publish),
        do=do_targets(spec.get("do")),
    )


def do_targets(do: Any) -> tuple[str, ...]:
    """Return the tasks a transition leads to; none given means `continue`."""
    if not do:
        return ("continue",)
    return tuple(name.strip() for name in do.split(",")) if isinstance(do, str) else tuple(do)


def _without_retry(transition: Transition) -> Transition:
    """The command `retry` is a property of the task, not a place to go to."""
    targets = tuple(target for target in transition.do if target != "retry")
    return Transition(transition.index, transition.when, transition.publish, targets)


def _parse_items(spec: Any) -> Items | None:
    if not spec:
        return None
    text = spec if isinstance(spec, str) else spec["items"]
    concurrency = None if isinstance(spec, str) else spec.get("concurrency")
    if " in " not in text:
        return Items((), text.strip(), concurrency)
    names, expression = text.split(" in ", 1)
    return Items(tuple(names.replace(" ", "").split(",")), expression.strip(), concurrency)


def _parse_retry(spec: Any, transitions: tuple[Transition, ...]) -> Retry | None:
    for transition in transitions:
        if "retry" in transition.do:
            return Retry(transition.when or "<% completed() %>", 3)
    return Retry(spec.get("when"), spec["count"], spec.get("delay")) if spec else None
