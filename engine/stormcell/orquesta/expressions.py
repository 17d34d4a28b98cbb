"""Expressions inside a workflow: `<% YAQL %>` and `{{ Jinja }}`, alone (typed) or within text.

Unlike orquesta, text that an expression evaluates to is not evaluated again: it may come from
outside. Source: orquesta/expressions of StackStorm.
"""

from __future__ import annotations

import functools
import inspect
import re
from functools import lru_cache
from typing import Any

import jinja2
import jinja2.parser
import jinja2.sandbox

from stormcell.expressions import budget, yaql
from stormcell.expressions.environment import is_light
from stormcell.expressions.errors import ExpressionError
from stormcell.expressions.functions import plain
from stormcell.orquesta.scope import CONTEXT_FUNCTIONS, PLAIN_FUNCTIONS, Scope, ctx

_YAQL = re.compile(r"<%.*?%>")
_JINJA = re.compile(r"{{.*?}}")
_JINJA_BLOCK = re.compile(r"{%.*?%}")

_REFERENCE = r"[][a-zA-Z0-9_\'\"\.()]*"
_CTX = re.compile(rf"\bctx\([\'\"]?{_REFERENCE}[\'\"]?\)\.?{_REFERENCE}")
_NAMES = [
    re.compile(r"(?<=\bctx\(\)\.)([a-zA-Z0-9_-]+)\b(?!\()\.?"),
    re.compile(r"\bctx\(([a-zA-Z0-9_-]+)\)"),
    re.compile(r"\bctx\('([a-zA-Z0-9_-]+)'\)"),
    re.compile(r'\bctx\("([a-zA-Z0-9_-]+)"\)'),
]

_ROOT = yaql.root_context({**PLAIN_FUNCTIONS, **CONTEXT_FUNCTIONS})
_ENVIRONMENT = jinja2.sandbox.SandboxedEnvironment(
    undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
)
_ENVIRONMENT.filters.update(PLAIN_FUNCTIONS)


@lru_cache(maxsize=8192)
def language(text: str) -> str:
    """Return `yaql`, `jinja`, `mixed` (not allowed) or, where there is no expression, empty text."""
    has_yaql = _YAQL.search(text) is not None
    has_jinja = _JINJA.search(text) is not None or _JINJA_BLOCK.search(text) is not None
    return (
        "mixed" if has_yaql and has_jinja else "yaql" if has_yaql else "jinja" if has_jinja else ""
    )


def is_expression(value: Any) -> bool:
    return isinstance(value, str) and bool(language(value))


def evaluate(statement: Any, scope: Scope) -> Any:
    """Return a statement with every expression in it evaluated: in text, in lists, in keys and
    values of objects.

    Raises ExpressionError.
    """
    if isinstance(statement, dict):
        return {evaluate(key, scope): evaluate(value, scope) for key, value in statement.items()}
    if isinstance(statement, list):
        return [evaluate(each, scope) for each in statement]
    if not isinstance(statement, str):
        return statement
    kind = language(statement)
    if kind == "yaql":
        return _text_or_value(statement, _YAQL, lambda one: _evaluate_yaql(one, scope))
    if kind:
        return _evaluate_jinja(statement, scope)
    return statement


def _text_or_value(text: str, pattern: re.Pattern[str], value_of: Any) -> Any:
    if _is_one(text, pattern):
        return value_of(text)
    return pattern.sub(lambda match: str(value_of(match.group())), text)


@lru_cache(maxsize=8192)
def _is_one(text: str, pattern: re.Pattern[str]) -> bool:
    """Whether a text is one expression and nothing else: then its value keeps its type."""
    return pattern.findall(text) == [text]


def _evaluate_yaql(expression: str, scope: Scope) -> Any:
    inner = _strip(expression)
    try:
        plainly = _plainly(inner, scope)
        if plainly is not None:
            return plainly[0]
        variables = {
            "__scope": scope,
            "__variables": scope.variables.frozen(),
            "__prepare": yaql.freeze,
        }
        return yaql.evaluate(inner, _ROOT, variables)
    except KeyError as error:
        key = str(error).strip("'")
        message = f"Unable to resolve key '{key}' in expression '{expression}' from context."
        raise ExpressionError(
            message, expression=expression, kind="YaqlEvaluationException"
        ) from error
    except Exception as error:  # an expression calls functions on data: any error is its author's
        raise _error("Yaql", expression, error) from error


_NAME = r"[A-Za-z_]\w*"
_ALONE = re.compile(
    rf"^(?:(succeeded|failed|completed|result)\(\)|ctx\(\)\.({_NAME})|ctx\(['\"]?({_NAME})['\"]?\))((?:\.{_NAME})*)$"
)


@lru_cache(maxsize=8192)
def _plain_form(expression: str) -> tuple[str, str, str, tuple[str, ...]] | None:
    match = _ALONE.match(expression)
    if match is None or match[3] in ("null", "true", "false"):
        return None
    return match[1], match[2], match[3], tuple(match[4].split(".")[1:])


def _plainly(expression: str, scope: Scope) -> tuple[Any] | None:
    """Answer the forms that most workflows consist of without YAQL, which costs 40 to 150 us; None:
    YAQL must.
    """
    form = _plain_form(expression)
    if form is None:
        return None
    function, attribute, name, steps = form
    if attribute:
        value = scope.variables[attribute]
    else:
        context = {"__scope": scope, "__variables": scope.variables, "__prepare": _as_is}
        value = ctx(context, name) if name else CONTEXT_FUNCTIONS[function](context)
    for step in steps:
        if not isinstance(value, dict):
            return None
        value = value[step]
    return (value,)


def _as_is(value: Any) -> Any:
    return value


def _evaluate_jinja(text: str, scope: Scope) -> Any:
    names = _jinja_names(scope)
    if _JINJA_BLOCK.search(text):
        try:
            return budget.checked_result(budget.limited(_template(text).render, names))
        except Exception as error:  # as above
            raise _error("Jinja", text, error) from error
    return _text_or_value(text, _JINJA, lambda one: _evaluate_jinja_expression(one, names))


def _evaluate_jinja_expression(expression: str, names: dict[str, Any]) -> Any:
    try:
        evaluator, light = _jinja_expression(_strip(expression))
        value = evaluator(**names) if light else budget.limited(_listed, evaluator, names)
        if not light:
            budget.checked_result(value)
    except Exception as error:  # as above
        raise _error("Jinja", expression, error) from error
    if isinstance(value, jinja2.Undefined):
        message = f"There are unresolved variables: {_strip(expression)}"
        raise ExpressionError(message, expression=expression, kind="JinjaEvaluationException")
    return plain(value)


def _listed(evaluator: Any, names: dict[str, Any]) -> Any:
    value = evaluator(**names)
    return list(value) if inspect.isgenerator(value) else value


def _jinja_names(scope: Scope) -> dict[str, Any]:
    context = {"__scope": scope, "__variables": scope.variables, "__prepare": _as_is}
    bound = {
        name: functools.partial(function, context) for name, function in CONTEXT_FUNCTIONS.items()
    }
    return {**PLAIN_FUNCTIONS, **bound}


@lru_cache(maxsize=8192)
def _jinja_expression(expression: str) -> tuple[Any, bool]:
    # Compiling works out what is constant, such as `10 ** 10 ** 10`.
    evaluator = budget.limited(_ENVIRONMENT.compile_expression, expression, undefined_to_none=False)
    tree = _ENVIRONMENT.parse("{{ " + expression + " }}")
    return evaluator, is_light(tree, CONTEXT_FUNCTIONS)


@lru_cache(maxsize=1024)
def _template(text: str) -> jinja2.Template:
    return budget.limited(_ENVIRONMENT.from_string, text)


def _strip(expression: str) -> str:
    return expression[2:-2].strip()


def _error(engine: str, expression: str, error: Exception) -> ExpressionError:
    reason = str(error).strip("'")
    message = f"Unable to evaluate expression '{expression}'. {type(error).__name__}: {reason}"
    return ExpressionError(message, expression=expression, kind=f"{engine}EvaluationException")


def problems(statement: Any) -> list[dict[str, Any]]:
    """Return {type, expression, message} for each expression that does not parse."""
    if isinstance(statement, dict):
        return [found for pair in statement.items() for each in pair for found in problems(each)]
    if isinstance(statement, list):
        return [found for each in statement for found in problems(each)]
    kind = language(statement) if isinstance(statement, str) else ""
    if kind == "mixed":
        message = "Expression with multiple types is not supported."
        return [{"type": None, "expression": statement, "message": message}]
    if kind == "yaql":
        return [found for one in _YAQL.findall(statement) for found in _yaql_problem(one)]
    return _jinja_problems(statement) if kind == "jinja" else []


def _yaql_problem(expression: str) -> list[dict[str, Any]]:
    try:
        yaql.parse(_strip(expression))
    except yaql.GRAMMAR_ERRORS as error:
        return [
            {
                "type": "yaql",
                "expression": expression,
                "message": str(getattr(error, "message", error)),
            }
        ]
    return []


def _jinja_problems(text: str) -> list[dict[str, Any]]:
    found = []
    try:
        _ENVIRONMENT.parse(text)
    except jinja2.TemplateError as error:
        found.append({"type": "jinja", "expression": text, "message": error.message})
    for expression in _JINJA.findall(text):
        if any(one["expression"] == expression for one in found):
            continue
        try:
            jinja2.parser.Parser(
                _ENVIRONMENT.overlay(), _strip(expression), state="variable"
            ).parse_expression()
        except jinja2.TemplateError as error:
            found.append({"type": "jinja", "expression": expression, "message": error.message})
    return found


def variables_read(statement: Any) -> list[tuple[str, str, str]]:
    """Return (language, text, name of the variable) for each `ctx` reference, sorted by name."""
    return sorted(set(_read(statement)), key=lambda found: found[2])


def _read(statement: Any) -> list[tuple[str, str, str]]:
    if isinstance(statement, dict):
        return [found for pair in statement.items() for each in pair for found in _read(each)]
    if isinstance(statement, list):
        return [found for each in statement for found in _read(each)]
    if not isinstance(statement, str):
        return []
    found: list[tuple[str, str, str]] = []
    for kind, pattern in (("jinja", _JINJA), ("yaql", _YAQL)):
        for expression in pattern.findall(statement):
            for reference in _CTX.findall(_strip(expression)):
                names = [match.group(1) for name in _NAMES if (match := name.search(reference))]
                found.extend((kind, statement, name) for name in names)
    return found
