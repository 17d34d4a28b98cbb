"""What is wrong with a workflow before it runs, in the shape StackStorm prints.

Each error has `type` (syntax, semantic, expression, context, content), `message`, `schema_path`,
`spec_path`, and for expressions `expression` and `language`. Source: orquesta/specs/base.py and
native/v1/models.py, and st2common/services/workflows.py of StackStorm.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jsonschema

from stormcell.expressions.schemas import Schemas
from stormcell.orquesta import expressions
from stormcell.orquesta.schema import SCHEMA
from stormcell.orquesta.spec import (
    RESERVED,
    Workflow,
    action_and_input,
    do_targets,
    inline_pairs,
    inline_rest,
)

FindParameters = Callable[[str], Schemas | None]
"""Action ref -> the schemas of its parameters with its runner's; None where there is no such
action.
"""

Problem = dict[str, Any]

_TASKS = "properties.tasks"
_TASK = r"properties.tasks.patternProperties.^\w+$"
_NEXT = rf"{_TASK}.properties.next.items"
_REF = re.compile(r"^[\w-]+\.[\w.-]+$")
_VALIDATOR = jsonschema.Draft4Validator(SCHEMA)
APPLICATION_CONTEXT = ("st2", "parent")


def inspect_workflow(
    definition: Mapping[str, Any],
    workflow: Workflow | None,
    find_parameters: FindParameters | None = None,
) -> list[Problem]:
    """Return all errors, sorted by type and path. `workflow` is None where parsing failed."""
    found = list(_syntax(definition))
    misshapen = bool(found)
    if workflow is not None:
        checks: list[Callable[[], Iterable[Problem]]] = [
            lambda: _semantics(workflow),
            lambda: _expression_problems(definition),
            lambda: _contexts(definition),
            lambda: _inline_text(definition),
            lambda: _contents(definition, find_parameters) if find_parameters else (),
        ]
        for check in checks:
            try:
                found.extend(check())
            except (TypeError, AttributeError, KeyError, ValueError):
                if (
                    not misshapen
                ):  # a wrong shape has been told; what can be checked beside it is checked
                    raise
    return sorted(
        found, key=lambda one: (one["type"], one["schema_path"] or "", one["spec_path"] or "")
    )


def _problem(
    kind: str, message: str, spec_path: str | None, schema_path: str | None, **more: Any
) -> Problem:
    return {
        "type": kind,
        "message": message,
        "schema_path": schema_path,
        "spec_path": spec_path,
        **more,
    }


def _path(parts: Iterable[Any]) -> str | None:
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text or None


def _syntax(definition: Mapping[str, Any]) -> Iterator[Problem]:
    for error in _VALIDATOR.iter_errors(definition):
        message = error.message.replace("\\\\", "\\")  # a pattern is shown as it was written
        yield _problem(
            "syntax", message, _path(error.absolute_path), _path(error.absolute_schema_path)
        )


def _semantics(workflow: Workflow) -> Iterator[Problem]:
    for name, task in workflow.tasks.items():
        if name in RESERVED:
            yield _problem(
                "semantic",
                f'The task name "{name}" is reserved with special function.',
                f"tasks.{name}",
                _TASK,
            )
        if task.items and not task.action:
            yield _problem(
                "semantic",
                "The action property is required for with items task.",
                f"tasks.{name}",
                _TASK,
            )
        for transition in task.next:
            for target in transition.do:
                if target not in workflow.tasks and target not in RESERVED:
                    place = f"tasks.{name}.next[{transition.index}].do"
                    yield _problem(
                        "semantic",
                        f'The task "{target}" is not defined.',
                        place,
                        f"{_NEXT}.properties.do",
                    )
    if not workflow.start_tasks:
        message = (
            "Unable to identify any tasks to start the workflow. If the workflow has a loop, please add a task that "
            "serves as an entry point (or lead) into the loop."
        )
        yield _problem("semantic", message, "tasks", _TASKS)
    yield from _ambiguous_joins(workflow)


def _ambiguous_joins(workflow: Workflow) -> Iterator[Problem]:
    """A join can only wait for branches of one route: the splits above it and above each task
    before it must agree.
    """
    splits: dict[str, set[str]] = {}
    waiting = deque((name, frozenset[str]()) for name in workflow.start_tasks)
    while waiting:
        name, above = waiting.popleft()
        if name not in workflow.tasks:
            continue
        if workflow.is_split(name) and name not in workflow.in_cycle:
            above |= {name}
        if name in splits and above <= splits[name]:
            continue
        splits[name] = splits.get(name, set()) | above
        targets = dict.fromkeys(
            target for transition in workflow.tasks[name].next for target in transition.do
        )
        waiting.extend((target, above) for target in targets)
    for name, task in workflow.tasks.items():
        sources = {source for source, _ in workflow.inbound[name] if source in splits}
        if (
            task.join is not None
            and name in splits
            and any(splits[name] != splits[source] for source in sources)
        ):
            message = (
                f'The join task "{name}" is unreachable. A join task is determined to be unreachable if there are '
                "nested forks from multi-referenced tasks that join on the said task. This is ambiguous to the "
                "workflow engine because it does not know at which level should the join occurs."
            )
            yield _problem("semantic", message, f"tasks.{name}", _TASK)


def _properties(definition: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Each property that may hold expressions: (spec path, schema path, value)."""
    for name in ("vars", "input", "output", "output-on-error"):
        yield name, f"properties.{name}", definition.get(name)
    for name, task in definition["tasks"].items():
        action, given = action_and_input(task)
        for key, value in {"delay": task.get("delay"), "action": action, "input": given}.items():
            yield f"tasks.{name}.{key}", f"{_TASK}.properties.{key}", value
        for part in ("with", "retry"):
            spec = task.get(part) or {}
            for key, value in ({"items": spec} if isinstance(spec, str) else spec).items():
                yield (
                    f"tasks.{name}.{part}.{key}",
                    f"{_TASK}.properties.{part}.properties.{key}",
                    value,
                )
        for index, transition in enumerate(task.get("next") or ()):
            for key in ("when", "publish", "do"):
                yield (
                    f"tasks.{name}.next[{index}].{key}",
                    f"{_NEXT}.properties.{key}",
                    transition.get(key),
                )


def _expression_problems(definition: Mapping[str, Any]) -> Iterator[Problem]:
    for spec_path, schema_path, value in _properties(definition):
        for one in expressions.problems(value):
            yield _problem(
                "expression",
                one["message"],
                spec_path,
                schema_path,
                expression=one["expression"],
                language=one["type"],
            )


def _inline_text(definition: Mapping[str, Any]) -> Iterator[Problem]:
    """Text after the inline parameters that cannot be parsed: StackStorm drops it without an
    error.
    """
    for spec_path, schema_path, text in _inline_texts(definition["tasks"]):
        rest = inline_rest(text)
        if rest:
            message = f"Unable to understand \"{rest}\" as inline parameters; write text in quotes, as in name='value'."
            yield _problem("syntax", message, spec_path, schema_path)


def _inline_texts(tasks: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for name, task in tasks.items():
        head, _, text = (task.get("action") or "").partition(" ")
        if "=" in text and not head.startswith(("<%", "{{")):
            yield f"tasks.{name}.action", f"{_TASK}.properties.action", text
        given = task.get("input")
        if isinstance(given, str) and inline_pairs(given):
            yield f"tasks.{name}.input", f"{_TASK}.properties.input", given
        for index, transition in enumerate(task.get("next") or ()):
            if isinstance(transition.get("publish"), str):
                yield (
                    f"tasks.{name}.next[{index}].publish",
                    f"{_NEXT}.properties.publish",
                    transition["publish"],
                )


class _Known:
    """The names known so far on one way through the workflow, and the errors met."""

    def __init__(self) -> None:
        self.errors: list[Problem] = []

    def check(self, value: Any, known: set[str], spec_path: str, schema_path: str) -> None:
        for kind, text, name in expressions.variables_read(value):
            if name.startswith("__"):
                self._add(
                    f'Variable "{name}" that is prefixed with double underscores is considered a private variable '
                    "and cannot be referenced.",
                    (kind, text, spec_path, schema_path),
                )
            if name not in known:
                self._add(
                    f'Variable "{name}" is referenced before assignment.',
                    (kind, text, spec_path, schema_path),
                )

    def check_list(
        self, entries: Any, known: set[str], spec_path: str, schema_path: str
    ) -> set[str]:
        """Check entries in order, each seeing the names of those before it; return what is known
        then.
        """
        known = set(known)
        listed = isinstance(entries, list)
        for index, entry in enumerate(entries if listed else [entries]):
            self.check(entry, known, f"{spec_path}[{index}]" if listed else spec_path, schema_path)
            known.update(
                entry if isinstance(entry, Mapping) else [entry] if isinstance(entry, str) else ()
            )
        return known

    def _add(self, message: str, where: tuple[str, str, str, str]) -> None:
        kind, text, spec_path, schema_path = where
        one = _problem("context", message, spec_path, schema_path, expression=text, language=kind)
        if one not in self.errors:
            self.errors.append(one)


def _contexts(definition: Mapping[str, Any]) -> list[Problem]:
    """Variables that are read before anything can have set them, along every way through the
    workflow.
    """
    found = _Known()
    known = set(APPLICATION_CONTEXT)
    for name in ("input", "vars"):
        if definition.get(name):
            known = found.check_list(definition[name], known, name, f"properties.{name}")
    joined: dict[str, frozenset[str]] = {}
    _task_contexts(
        definition["tasks"], known, _Known(), joined
    )  # what joins see in the end, then who reads what
    at_end = _task_contexts(definition["tasks"], known, found, joined)
    for name in ("output", "output-on-error"):
        if definition.get(name):
            found.check_list(definition[name], at_end, name, f"properties.{name}")
    return found.errors


def _task_contexts(
    tasks: Mapping[str, Any], known: set[str], found: _Known, joined: dict[str, frozenset[str]]
) -> set[str]:
    at_end = set(known)
    inbound = {
        target
        for task in tasks.values()
        for entry in task.get("next") or ()
        for target in do_targets(entry.get("do"))
    }
    waiting = deque((name, frozenset(known)) for name in tasks if name not in inbound)
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        name, before = waiting.popleft()
        task = tasks.get(name)
        if task is None:
            continue
        if task.get("join") is not None:  # a join sees what any of its branches has published
            before = joined[name] = joined.get(name, frozenset()) | before
        if (name, before) in seen:
            continue
        seen.add((name, before))
        for target, after in _leave_task(name, task, set(before), found):
            at_end |= after
            waiting.append((target, frozenset(after)))
        at_end |= before
    return at_end


def _leave_task(
    name: str, task: Mapping[str, Any], known: set[str], found: _Known
) -> Iterator[tuple[str, set[str]]]:
    action, given = action_and_input(task)
    for key, value in {"delay": task.get("delay"), "action": action, "input": given}.items():
        found.check(value, known, f"tasks.{name}.{key}", f"{_TASK}.properties.{key}")
    for key, value in (task.get("with") or {}).items():
        found.check(
            value, known, f"tasks.{name}.with.{key}", f"{_TASK}.properties.with.properties.{key}"
        )
    for index, entry in enumerate(task.get("next") or ()):
        place = f"tasks.{name}.next[{index}]"
        found.check(entry.get("when"), known, f"{place}.when", f"{_NEXT}.properties.when")
        publish = entry.get("publish")
        publish = inline_pairs(publish) if isinstance(publish, str) else publish
        after = found.check_list(
            publish or [], known, f"{place}.publish", f"{_NEXT}.properties.publish"
        )
        yield from ((target, after) for target in do_targets(entry.get("do")))


def _contents(definition: Mapping[str, Any], find_parameters: FindParameters) -> Iterator[Problem]:
    """Actions that do not exist, and inputs that they require or do not know."""
    for name, task in definition["tasks"].items():
        action, given = action_and_input(task)
        if not action or expressions.is_expression(action):
            continue
        place, schema = f"tasks.{name}.action", f"{_TASK}.properties.action"
        if not _REF.match(action):
            yield _problem(
                "content",
                f'The action reference "{action}" is not formatted correctly.',
                place,
                schema,
            )
            continue
        parameters = find_parameters(action)
        if parameters is None:
            yield _problem(
                "content",
                f'The action "{action}" is not registered in the database.',
                place,
                schema,
            )
        elif isinstance(given, Mapping):
            yield from _inputs(name, action, given, parameters)


def _inputs(
    name: str, action: str, given: Mapping[str, Any], parameters: Schemas
) -> Iterator[Problem]:
    place, schema = f"tasks.{name}.input", f"{_TASK}.properties.input"
    for key, spec in sorted(parameters.items()):
        if spec.get("required") and "default" not in spec and key not in given:
            yield _problem(
                "content", f'Action "{action}" is missing required input "{key}".', place, schema
            )
    for key in sorted(set(given) - set(parameters)):
        message = f'Action "{action}" has unexpected input "{key}".'
        yield _problem("content", message, f"{place}.{key}", rf"{schema}.patternProperties.^\w+$")
