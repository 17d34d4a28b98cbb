"""From a matched rule to the parameters of its action.

Source: st2reactor/rules/enforcer.py of StackStorm 3.9: the rule's parameters are rendered as live
parameters with `trigger` beside `st2kv`, `action_context` and `config_context`, and cast by the
action's schemas.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stormcell.conducting import Lookups
from stormcell.content.models import Rule
from stormcell.expressions.params import render_live_parameters
from stormcell.expressions.schemas import Schemas


def render_action_parameters(
    rule: Rule,
    payload: Any,
    *,
    schemas: Schemas,
    action_context: Mapping[str, Any],
    lookups: Lookups,
) -> dict[str, Any]:
    """Return the action's live parameters, not yet validated.

    `schemas` are those of the action and its runner (`merge_schemas`); `action_context` holds
    `trigger_instance`, `rule`, `user`, `pack` (the action's) and, where there is one,
    `trace_context`. Raises InvalidInputError.
    """
    return render_live_parameters(
        schemas,
        rule.action.parameters,
        action_context=action_context,
        lookups=lookups,
        additional={"trigger": payload},
    )
