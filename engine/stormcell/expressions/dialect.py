"""The library `jsonschema` for StackStorm's dialect: draft 4, with `required: true` on the property
itself (draft 3).

It is asked for sentences, where the compiled check of `stormcell.content.schemas` does not say yes
at once, and imported then: it takes an eighth of a start's time. Source:
st2common/util/schema/__init__.py of StackStorm 3.9.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from stormcell.errors import InvalidInputError

if TYPE_CHECKING:
    from jsonschema import ValidationError


def violations(
    schema: Mapping[str, Any], instance: Any, *, lists: bool = False
) -> Iterator[ValidationError]:
    """Yield what does not fit, as the library's errors. `lists`: `required` may be draft 4's list
    of names, too.

    InvalidInputError where the schema itself is wrong.
    """
    validator, broken = _library(lists)
    try:
        yield from validator(schema).iter_errors(instance)
    except broken as error:
        raise InvalidInputError(f"the schema itself is wrong: {type(error).__name__}") from error


@cache
def _library(lists: bool) -> tuple[Any, tuple[type[Exception], ...]]:
    from jsonschema import Draft4Validator, ValidationError, exceptions
    from jsonschema.validators import extend

    def properties(
        validator: Any, properties: Any, instance: Any, schema: Any
    ) -> Iterator[ValidationError]:
        if not validator.is_type(instance, "object"):
            return
        for name, subschema in properties.items():
            if name in instance:
                yield from validator.descend(instance[name], subschema, path=name, schema_path=name)
            elif isinstance(subschema, Mapping) and subschema.get("required") is True:
                yield missing(name)

    def required(
        validator: Any, names: Any, instance: Any, schema: Any
    ) -> Iterator[ValidationError]:
        if lists and isinstance(names, list) and validator.is_type(instance, "object"):
            yield from (missing(name) for name in names if name not in instance)

    def missing(name: str) -> ValidationError:
        # The stub is wrong: `validator` is the keyword's name.
        return ValidationError(f"{name!r} is a required property", validator="required")  # type: ignore[arg-type]

    extended: Any = extend(Draft4Validator, {"properties": properties, "required": required})
    return extended, (exceptions.SchemaError, exceptions.UnknownType, re.error)
