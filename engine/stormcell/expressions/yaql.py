"""YAQL, the expression language of Orquesta, with the functions that a caller registers.

An expression is parsed once and kept. What it evaluates to is plain JSON types again. Bounded in
time, memory and the size of the result (`stormcell.expressions.budget`; Orquesta itself sets no
bounds).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import yaql
import yaql.language.exceptions
import yaql.language.factory
import yaql.language.utils

from stormcell.expressions import budget
from stormcell.expressions.functions import plain

MAX_ITERATIONS = 1_000_000

_ENGINE: Any = yaql.language.factory.YaqlFactory().create(
    options={"yaql.limitIterators": MAX_ITERATIONS, "yaql.memoryQuota": budget.MEMORY_BYTES}
)

GRAMMAR_ERRORS: tuple[type[Exception], ...] = (
    yaql.language.exceptions.YaqlException,
    ValueError,
    TypeError,
)


def root_context(functions: Mapping[str, Callable[..., Any]]) -> Any:
    """Return a context that knows YAQL's own functions and these; a parameter called `context` gets
    the context.
    """
    context = yaql.create_context()
    for name, function in functions.items():
        context.register_function(function, name=name)
    return context


@lru_cache(maxsize=8192)
def parse(expression: str) -> Any:
    """Return a parsed expression (without its delimiters). Raises one of GRAMMAR_ERRORS."""
    return _ENGINE(expression)


def evaluate(expression: str, root: Any, variables: Mapping[str, Any]) -> Any:
    """Return the value of an expression in a child of `root` that has `variables`. Raises what its
    functions raise, and OverBudgetError.
    """
    context = root.create_child_context()
    for name, value in variables.items():
        context[name] = value
    return budget.checked_result(budget.limited(_evaluate, parse(expression), context))


def _evaluate(expression: Any, context: Any) -> Any:
    result = expression.evaluate(context=context)
    return plain(list(result) if inspect.isgenerator(result) else result)


def freeze(value: Any) -> Any:
    """Return a value as YAQL wants its input: lists as tuples and objects as hashable mappings."""
    if isinstance(value, dict | list):
        return yaql.language.utils.convert_input_data(value)
    return value
