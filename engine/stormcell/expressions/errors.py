"""The one error that evaluating an expression raises."""

from __future__ import annotations

from stormcell.errors import Error


class ExpressionError(Error):
    """An expression is malformed, or it reads what is not there.

    `kind` is the word a person knows the cause by (`UndefinedError`, `TemplateSyntaxError`).
    """

    def __init__(self, message: str, *, expression: str, kind: str = "") -> None:
        super().__init__(message)
        self.expression = expression
        self.kind = kind
