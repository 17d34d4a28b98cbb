"""What an expression of a workflow can see, and the functions it sees it with.

Contexts are lists of small deltas (`in` of a task): a variable is looked up when it is read, so
that the cost of an expression follows what it reads and not what the workflow has published.
Source: orquesta/expressions/functions and contrib/runners/orquesta_runner/orquesta_functions of
StackStorm.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from stormcell.conducting import Lookups
from stormcell.errors import NotFoundError
from stormcell.expressions.functions import (
    FUNCTIONS,
    from_json_string,
    from_yaml_string,
    to_json_string,
    to_yaml_string,
)
from stormcell.expressions.yaql import freeze

COMPLETED = frozenset({"succeeded", "failed", "timeout", "abandoned", "canceled"})
_ABSENT: Any = object()


class VariableUndefinedError(Exception):
    """`ctx(x)` where there is no x."""


class VariableInaccessibleError(Exception):
    """`ctx(__x)`: names with two underscores are the engine's."""


class ExpressionEvaluationException(Exception):
    """A function was used where it has no meaning."""


def merge(left: Any, right: Any) -> Any:
    """Return `right` over `left`: objects are merged key by key at every depth, anything else
    replaces.
    """
    if not isinstance(left, dict) or not isinstance(right, dict):
        return right
    return {
        **left,
        **{key: merge(left[key], value) if key in left else value for key, value in right.items()},
    }


class Variables(Mapping[str, Any]):
    """The variables of a context, each merged from the deltas when it is read, and frozen for YAQL
    if asked.

    `deltas` are the variables that were published, oldest first, or the numbers under which `find`
    has them. They are read from the newest back, and no further than needed: most variables are no
    objects, so the first found is it.
    """

    def __init__(
        self,
        deltas: Sequence[Any],
        prepare: Callable[[Any], Any] | None = None,
        find: Callable[[int], Mapping[str, Any]] | None = None,
    ) -> None:
        self._deltas = deltas
        self._prepare = prepare
        self._find = find

    def __getitem__(self, name: str) -> Any:
        found: Any = _ABSENT
        for delta in reversed(self._deltas):
            if isinstance(delta, int):
                delta = self._find(delta) if self._find else {}
            if name not in delta:
                continue
            value = delta[name]
            if found is _ABSENT:
                found = value
            elif isinstance(value, dict):
                found = merge(value, found)
            else:
                break
            if not isinstance(found, dict):
                break
        if found is _ABSENT:
            raise KeyError(name)
        return self._prepare(found) if self._prepare else found

    def __iter__(self) -> Iterator[str]:
        read = (
            self._find(delta) if self._find and isinstance(delta, int) else delta
            for delta in self._deltas
        )
        return iter(dict.fromkeys(name for delta in read for name in delta))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __hash__(self) -> int:
        return id(self)

    def frozen(self) -> Variables:
        return Variables(self._deltas, freeze, self._find)

    def with_delta(self, delta: Mapping[str, Any]) -> Variables:
        return Variables([*self._deltas, delta], find=self._find)


class Scope:
    """The surroundings of one evaluation.

    `task`: {id, route, result} of the task whose transition, or retry, is judged.
    `find_status(name, route)` answers a status word or None; `find_task(name, route)` what `task()`
    shows, or None.
    """

    def __init__(
        self,
        variables: Variables,
        lookups: Lookups,
        *,
        task: Mapping[str, Any] | None = None,
        item: Any = _ABSENT,
        find_status: Callable[[str, int], str | None] | None = None,
        find_task: Callable[[str, int], dict[str, Any] | None] | None = None,
    ) -> None:
        self.variables = variables
        self.lookups = lookups
        self.task = task
        self.item = item
        self.find_status = find_status
        self.find_task = find_task

    def with_item(self, item: Any) -> Scope:
        return Scope(
            self.variables,
            self.lookups,
            task=self.task,
            item=item,
            find_status=self.find_status,
            find_task=self.find_task,
        )

    def with_delta(self, delta: Mapping[str, Any]) -> Scope:
        """The same surroundings with variables added: publish, vars, input and output see what
        stands before them.
        """
        return Scope(
            self.variables.with_delta(delta),
            self.lookups,
            task=self.task,
            item=self.item,
            find_status=self.find_status,
            find_task=self.find_task,
        )

    def current_task(self) -> Mapping[str, Any]:
        if self.task is None:
            raise ExpressionEvaluationException("The current task is not set in the context.")
        return self.task


def ctx(context: Any, key: str | None = None) -> Any:
    variables: Variables = context["__variables"]
    if not key:
        return variables
    if key not in variables:
        raise VariableUndefinedError(f'The variable "{key}" is undefined.')
    if key.startswith("__"):
        raise VariableInaccessibleError(
            f'The variable "{key}" is for internal use and inaccessible.'
        )
    return variables[key]


def result(context: Any) -> Any:
    return context["__prepare"](context["__scope"].current_task().get("result"))


def item(context: Any, key: str | None = None) -> Any:
    current = context["__scope"].item
    if current is _ABSENT:
        raise ExpressionEvaluationException("The current item is not set in the context.")
    current = context["__prepare"](current)
    if not key:
        return current
    if not isinstance(current, Mapping):
        raise ExpressionEvaluationException("Item is not type of collections.abc.Mapping.")
    if key not in current:
        raise ExpressionEvaluationException(f'Item does not have key "{key}".')
    return current[key]


def task_status(context: Any, task_id: str, route: int | None = None) -> str:
    scope: Scope = context["__scope"]
    if route is None:
        route = scope.task["route"] if scope.task else 0
    found = scope.find_status(task_id, route) if scope.find_status else None
    return found or "null"


def succeeded(context: Any) -> bool:
    return bool(_own_status(context) == "succeeded")


def failed(context: Any) -> bool:
    return bool(_own_status(context) == "failed")


def completed(context: Any) -> bool:
    return _own_status(context) in COMPLETED


def _own_status(context: Any) -> Any:
    return context["__scope"].current_task().get("status")


def task(context: Any, task_id: str | None = None, route: int | None = None) -> Any:
    scope: Scope = context["__scope"]
    name = task_id or scope.current_task()["id"]
    if route is None:
        route = scope.task.get("route", 0) if scope.task else 0
    found = scope.find_task(name, route) if scope.find_task else None
    if found is None:
        raise ExpressionEvaluationException(f'Unable to find task execution for "{name}".')
    return context["__prepare"](found)


def st2kv(context: Any, key: str, decrypt: bool = False, default: Any = _ABSENT) -> Any:
    """`system.x` is of the system scope, anything else of the user's who runs the workflow."""
    scope: Scope = context["__scope"]
    if not isinstance(key, str):
        raise TypeError("Given key is not typeof string.")
    if not isinstance(decrypt, bool):
        raise TypeError("Decrypt parameter is not typeof bool.")
    user = scope.variables["st2"].get("user") or "" if "st2" in scope.variables else ""
    kind, name = _key_scope(key)
    try:
        return scope.lookups.datastore(name, scope=kind, decrypt=decrypt, user=user)
    except NotFoundError:
        if default is _ABSENT:
            raise ExpressionEvaluationException(
                f'The key "{key}" does not exist in the StackStorm datastore.'
            ) from None
        return default


def _key_scope(key: str) -> tuple[str, str]:
    for kind in ("system", "user"):
        if key.startswith(f"{kind}."):
            return kind, key[len(kind) + 1 :]
    return "user", key


def json_(value: Any) -> Any:
    if isinstance(value, Mapping):
        return value
    if not isinstance(value, str):
        raise TypeError("Given object is not typeof string.")
    return json.loads(value)


def zip_(*args: Any, pad: Any = None) -> list[Any]:
    lists = [[] if each is None else list(each) for each in args]
    return (
        lists[0]
        if len(lists) == 1
        else [list(row) for row in itertools.zip_longest(*lists, fillvalue=pad)]
    )


PLAIN_FUNCTIONS: dict[str, Callable[..., Any]] = {
    **FUNCTIONS,
    "json": json_,
    "zip": zip_,
    "json_dump": to_json_string,
    "json_parse": from_json_string,
    "yaml_dump": to_yaml_string,
    "yaml_parse": from_yaml_string,
}

CONTEXT_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "ctx": ctx,
    "result": result,
    "item": item,
    "task": task,
    "task_status": task_status,
    "succeeded": succeeded,
    "failed": failed,
    "completed": completed,
    "st2kv": st2kv,
}
"""Their first argument is a mapping: `__scope`, `__variables`, and `__prepare`, which fits a value
to the engine.
"""
