"""Answers and questions: JSON out, StackStorm's `{"faultstring": …}` for errors, JSON bodies and
queries in.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from stormcell.errors import (
    ConflictError,
    DefinitionError,
    Error,
    ForbiddenError,
    InvalidInputError,
    NotFoundError,
    TemporaryError,
)
from stormcell.store.encoding import check_levels
from stormcell.times import format_instant, parse_instant

log = logging.getLogger(__name__)

_encode = msgspec.json.Encoder(enc_hook=str).encode
_STATUS: tuple[tuple[type[Error], int], ...] = (
    (NotFoundError, 404),
    (ConflictError, 409),
    (InvalidInputError, 400),
    (ForbiddenError, 403),
    (DefinitionError, 400),
    (TemporaryError, 503),
)
DEFAULT_LIMIT = 100
_LARGEST_COUNT = 2**31 - 1  # as in StackStorm; SQLite would take more
_ALWAYS_SHOWN = "id"
_BOUNDS = ("_gt", "_lt")


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """Which part of a list is asked for; `limit` -1 is all."""

    limit: int
    offset: int


def answer(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(
        _encode(body),
        status_code=status,
        media_type="application/json",
        headers=dict(headers or {}),
    )


def fault(status: int, message: str) -> Response:
    return answer({"faultstring": message}, status)


def fault_of(error: Exception) -> Response:
    """An error as an answer; what we did not foresee is logged and says nothing of its insides."""
    for kind, status in _STATUS:
        if isinstance(error, kind):
            response = fault(status, str(error))
            if isinstance(error, TemporaryError):
                response.headers["Retry-After"] = str(round(error.retry_after_seconds or 1))
            return response
    if isinstance(error, ClientDisconnect):
        return fault(400, "The client left before its request was read.")
    log.error("api.broken", exc_info=error)
    return fault(500, "Internal Server Error")


def listing(documents: list[dict[str, Any]], total: int, page: Page) -> Response:
    """A list with StackStorm's paging headers."""
    headers = {"X-Total-Count": str(total)}
    if page.limit >= 0:
        headers["X-Limit"] = str(page.limit)
    return answer(documents, headers=headers)


async def read_body(request: Request, *, kind: type = dict) -> Any:
    """Read a JSON body (form data is not taken); InvalidInputError with a sentence where it is
    none.
    """
    raw = await request.body()
    if not raw:
        return kind()
    try:
        body = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"The body is not JSON: {error}.") from error
    except RecursionError as error:
        raise InvalidInputError("The body is nested too deeply.") from error
    check_levels(raw, body, "The body")
    if not isinstance(body, kind):
        raise InvalidInputError(
            f"The body must be a JSON {'object' if kind is dict else kind.__name__}."
        )
    return body


def page_of(request: Request, *, default: int = DEFAULT_LIMIT) -> Page:
    limit = whole_number(request, "limit", default)
    offset = whole_number(request, "offset", 0)
    if limit < -1 or limit == 0:
        raise InvalidInputError(
            f'Limit, "{limit}" specified, must be a positive number, or -1 for all.'
        )
    if offset < 0:
        raise InvalidInputError(f'Offset, "{offset}" specified, must be a positive number.')
    if max(limit, offset) > _LARGEST_COUNT:
        raise InvalidInputError(f'"{max(limit, offset)}" specified is more than 32-bit int')
    return Page(limit=limit, offset=offset)


def newest_first(request: Request, field: str, *, default: bool = True) -> bool:
    """How a list of records is ordered: by the instant `field`, `sort=-field` the newest first."""
    wanted = request.query_params.get("sort", "").strip()  # a plus sign may have come as a blank
    if not wanted:
        return default
    if wanted.lstrip("+-") not in (field, "id"):
        raise InvalidInputError(
            f'The list cannot be sorted by "{wanted}". Use {field}, or -{field} for the newest first.'
        )
    return wanted.startswith("-")


def flag(request: Request, name: str, *, default: bool = False) -> bool:
    value = request.query_params.get(name)
    return default if value is None else value.lower() in ("1", "true", "yes", "on")


def filters_of(request: Request, names: Iterable[str]) -> dict[str, str]:
    """Those query arguments that are filters here; instants as records have them, in whatever form
    they came.
    """
    given = {name: request.query_params[name] for name in names if name in request.query_params}
    return {
        name: _instant(name, text) if name.endswith(_BOUNDS) else text
        for name, text in given.items()
    }


def _instant(name: str, text: str) -> str:
    try:
        return format_instant(parse_instant(text))
    except (ValueError, OverflowError) as error:
        raise InvalidInputError(
            f'The query argument {name} must be an instant such as 2026-03-01T12:00:00.000Z, not "{text}".'
        ) from error


def shaped(request: Request, document: dict[str, Any]) -> dict[str, Any]:
    """Apply `include_attributes` and `exclude_attributes` (dotted paths) to a document."""
    included = _names(request, "include_attributes")
    if included:
        picked: dict[str, Any] = {}
        for path in (_ALWAYS_SHOWN, *included):
            _pick(document, path.split("."), picked)
        return picked
    for path in _names(request, "exclude_attributes"):
        document = _without(document, path.split("."))
    return document


def _names(request: Request, name: str) -> list[str]:
    return [part.strip() for part in request.query_params.get(name, "").split(",") if part.strip()]


def _pick(source: Any, path: list[str], target: dict[str, Any]) -> None:
    head, *rest = path
    if not isinstance(source, dict) or head not in source:
        return
    if not rest:
        target[head] = source[head]
    elif isinstance(source[head], dict):
        below = target.setdefault(head, {})
        if below is not source[head]:
            _pick(source[head], rest, below)


def _without(source: dict[str, Any], path: list[str]) -> dict[str, Any]:
    head, *rest = path
    if head not in source:
        return source
    if not rest:
        return {key: value for key, value in source.items() if key != head}
    below = source[head]
    return {**source, head: _without(below, rest)} if isinstance(below, dict) else source


def whole_number(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name, "")
    if not text:
        return default
    try:
        return int(text)
    except ValueError as error:
        raise InvalidInputError(
            f'The query argument {name} must be a whole number, not "{text}".'
        ) from error
