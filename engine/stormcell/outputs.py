"""What an action brings, held to its `output_schema`: what is secret in it is sealed, and on
request it is checked.

Source: st2common/util/output_schema.py of StackStorm 3.9.
"""

from __future__ import annotations

from typing import Any

from stormcell.content.models import Action
from stormcell.content.runner_types import RunnerType
from stormcell.errors import InvalidInputError
from stormcell.expressions.schemas import validate
from stormcell.store.sealing import Sealer

JsonObject = dict[str, Any]


def is_full(schema: JsonObject) -> bool:
    """Whether it is a JSON schema; in StackStorm's older form it maps the names of properties to
    theirs.
    """
    return isinstance(schema.get("type"), str | list)


def sealed_output(sealer: Sealer, action: Action, runner: RunnerType, result: Any) -> Any:
    """Seal what the schema marks as secret: in the part of the result that the runner calls its
    output, in the whole result where it calls none so."""
    if not action.output_schema:
        return result
    schema = action.output_schema
    if not is_full(schema):
        schema = {"type": "object", "properties": schema}
    key = runner.output_key
    if not key:
        return sealer.seal_by(schema, result)
    if not isinstance(result, dict) or key not in result:
        return result
    return {**result, key: sealer.seal_by(schema, result[key])}


def output_fault(action: Action, runner: RunnerType, result: Any) -> JsonObject | None:
    """The result of an execution whose output does not fit, None where it does. As in StackStorm,
    what a runner without a schema of its own brings is not checked, and neither is it against a
    schema of the older form."""
    if not result or not runner.output_schema:
        return None
    try:
        validate(result, runner.output_schema, what="output")
        if is_full(action.output_schema):
            key = runner.output_key or ""
            part = {name: value for name, value in result.items() if name == key}
            whole = {
                "type": "object",
                "properties": {key: {**action.output_schema, "required": True}},
            }
            validate(part, whole, what="output")
    except InvalidInputError as error:
        return {
            "error": str(error),
            "message": "Error validating output. See error output for more details.",
        }
    return None
