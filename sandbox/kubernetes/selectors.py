"""Label and field selectors: the text of a query parameter to a predicate on objects.

Grammar and messages follow k8s.io/apimachinery/pkg/labels and pkg/fields.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from sandbox.kubernetes.errors import bad_request

Json = dict[str, Any]
Predicate = Callable[[Json], bool]
LabelTest = Callable[[dict[str, str]], bool]

_TOKEN = re.compile(r"\s*(!=|==|=|!|\(|\)|,|<|>|[A-Za-z0-9]([A-Za-z0-9_./-]*[A-Za-z0-9])?)\s*")


def label_selector(text: str) -> Predicate | None:
    """`a=b,c!=d,e in (f,g),h notin (i),j,!k,l>1` as a predicate; None when everything matches.
    Raises 400.
    """
    tests = parse_labels(text)
    if not tests:
        return None

    def matches(obj: Json) -> bool:
        labels = obj["metadata"].get("labels") or {}
        return all(test(labels) for test in tests)

    return matches


def parse_labels(text: str) -> list[LabelTest]:
    """The requirements of a label selector, each a test on a dict of labels."""
    tokens = _tokens(text)
    tests: list[LabelTest] = []
    while tokens:
        tests.append(_requirement(tokens))
        if tokens and tokens.pop(0) != ",":
            raise bad_request(
                f"unable to parse requirement: found '{text}', expected: ',' or 'end of string'"
            )
    return tests


def _tokens(text: str) -> list[str]:
    tokens: list[str] = []
    at = 0
    text = text.strip()
    while at < len(text):
        found = _TOKEN.match(text, at)
        if not found:
            raise bad_request(
                f"unable to parse requirement: found '{text[at:]}', expected: identifier"
            )
        tokens.append(found.group(1))
        at = found.end()
    return tokens


def _requirement(tokens: list[str]) -> LabelTest:
    if tokens[0] == "!":
        tokens.pop(0)
        absent = _word(tokens)
        return lambda labels: absent not in labels
    key = _word(tokens)
    if not tokens or tokens[0] == ",":
        return lambda labels: key in labels
    operator = tokens.pop(0)
    if operator in ("in", "notin"):
        return _membership(key, operator, _values(tokens))
    if operator in (">", "<"):
        return _comparison(key, operator, _word(tokens))
    if operator not in ("=", "==", "!="):
        raise bad_request(
            f"unable to parse requirement: found '{operator}', expected: in, notin, =, ==, !=, gt, lt"
        )
    value = tokens.pop(0) if tokens and tokens[0] != "," else ""
    if operator == "!=":
        return lambda labels: labels.get(key) != value
    return lambda labels: labels.get(key) == value


def _word(tokens: list[str]) -> str:
    found = tokens.pop(0) if tokens else ""
    if not found or not found[0].isalnum():
        raise bad_request(f"unable to parse requirement: found '{found}', expected: identifier")
    return found


def _values(tokens: list[str]) -> set[str]:
    opening = tokens.pop(0) if tokens else ""
    if opening != "(":
        raise bad_request(f"unable to parse requirement: found '{opening}' expected: '('")
    values: set[str] = set()
    expect_value = True
    while tokens:
        token = tokens.pop(0)
        if token == ")":
            if expect_value:
                values.add("")
            return values
        if token == ",":
            if expect_value:
                values.add("")
            expect_value = True
            continue
        values.add(token)
        expect_value = False
    raise bad_request("unable to parse requirement: found '', expected: ',' or ')'")


def _membership(key: str, operator: str, values: set[str]) -> LabelTest:
    if operator == "in":
        return lambda labels: key in labels and labels[key] in values
    return lambda labels: labels.get(key) not in values


def _comparison(key: str, operator: str, bound: str) -> LabelTest:
    try:
        limit = int(bound)
    except ValueError:
        raise bad_request(
            f"for 'Gt', 'Lt' operators, the value must be an integer, found '{bound}'"
        ) from None

    def test(labels: dict[str, str]) -> bool:
        try:
            value = int(labels[key])
        except (KeyError, ValueError):
            return False
        return value > limit if operator == ">" else value < limit

    return test


def field_selector(
    text: str, supported: frozenset[str], *, custom: bool = False
) -> Predicate | None:
    """`metadata.name=x,status.phase!=Running` as a predicate; fields outside `supported` are
    refused with 400.
    """
    tests: list[Predicate] = []
    for term in filter(None, (part.strip() for part in text.split(","))):
        path, operator, value = _field_term(term)
        if path not in supported and path not in ("metadata.name", "metadata.namespace"):
            if not supported and not custom:
                only = 'only "metadata.name", "metadata.namespace"'
                raise bad_request(f'"{path}" is not a known field selector: {only}')
            raise bad_request(f"field label not supported: {path}")
        tests.append(_field_test(path, operator, value))
    if not tests:
        return None
    return lambda obj: all(test(obj) for test in tests)


def _field_term(term: str) -> tuple[str, str, str]:
    for operator in ("!=", "==", "="):
        path, found, value = term.partition(operator)
        if found:
            return path, operator, value
    raise bad_request(f"invalid selector: '{term}'; can't understand '{term}'")


def _field_test(path: str, operator: str, value: str) -> Predicate:
    keys = path.split(".")

    def matches(obj: Json) -> bool:
        node: Any = obj
        for key in keys:
            node = node.get(key) if isinstance(node, dict) else None
        text = "" if node is None else str(node).lower() if isinstance(node, bool) else str(node)
        return (text == value) == (operator != "!=")

    return matches


def matches_selector(selector: Json, labels: dict[str, str]) -> bool:
    """Whether a LabelSelector object (`matchLabels`, `matchExpressions`) selects these labels."""
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    return all(
        _expression(expression, labels) for expression in selector.get("matchExpressions") or []
    )


def _expression(expression: Json, labels: dict[str, str]) -> bool:
    key, values = expression.get("key", ""), set(expression.get("values") or [])
    operator = expression.get("operator")
    if operator == "In":
        return key in labels and labels[key] in values
    if operator == "NotIn":
        return labels.get(key) not in values
    return (key in labels) == (operator == "Exists")
