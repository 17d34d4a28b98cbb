"""Changes to what is installed while the engine runs: a reload of the packs' files, and what the
API changes.

What the API makes or switches is kept as overrides in the store and laid over the files at each
load, so a rule made by hand and a switch thrown by hand survive a restart.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import msgspec

from stormcell.catalog import Catalog, trigger_for
from stormcell.content.checking import closest, faults
from stormcell.content.models import Action, Rule, RuleAction, RuleTrigger
from stormcell.content.registry import Content
from stormcell.content.rules_of_kinds import action_problems, rule_problems
from stormcell.content.schemas import CompiledSchema
from stormcell.content.shapes import ActionFile, RuleFile
from stormcell.engine import Engine
from stormcell.errors import ConflictError, DefinitionError, InvalidInputError
from stormcell.sensors.supervisor import SensorSupervisor
from stormcell.store.access import Override, Overrides
from stormcell.timers import TIMERS, schedule_of, utc_now

log = logging.getLogger(__name__)

Kind = Literal["actions", "rules", "sensors"]
_OF_THE_API = Path("(API)")


def apply_overrides(content: Content, overrides: Overrides) -> None:
    """Lay over freshly read content what the API changed earlier."""
    for override in overrides.list("rules"):
        if override.document is not None:
            content.rules[override.ref] = msgspec.convert(override.document, Rule)
    for override in overrides.list("actions"):
        if override.document is not None and override.ref.partition(".")[0] in content.packs:
            content.actions[override.ref] = msgspec.convert(override.document, Action)
    for kind in ("actions", "rules", "sensors"):
        items: dict[str, Any] = getattr(content, kind)
        for override in overrides.list(kind):
            if override.enabled is not None and override.ref in items:
                items[override.ref] = msgspec.structs.replace(
                    items[override.ref], enabled=override.enabled
                )


class Contents:
    """Changes content and tells everybody: one new catalog, and the sensors' triggers."""

    def __init__(
        self,
        engine: Engine,
        sensors: SensorSupervisor,
        *,
        load: Callable[[], Catalog],
        triggers: Callable[[Catalog], list[dict[str, Any]]],
    ) -> None:
        self._engine = engine
        self._sensors = sensors
        self._load = load
        self._triggers = triggers

    async def reload(self) -> dict[str, int]:
        """Read everything again; counts by kind. DefinitionError leaves what was."""
        catalog = self._load()
        self._engine.reload(catalog)
        await self._sensors.reload(catalog.content)
        await self._sensors.set_triggers(self._triggers(catalog))
        content = catalog.content
        counts = {
            "actions": len(content.actions),
            "rules": len(content.rules),
            "sensors": len(content.sensors),
            "triggers": len(content.trigger_types),
            "aliases": len(content.aliases),
            "policies": len(content.policies),
        }
        log.info("content.reloaded", extra=counts)
        return counts

    async def put_rule(self, body: dict[str, Any], *, instead_of: str | None = None) -> Rule:
        """Make a rule from a body as the API takes it, or change the one of that ref.

        DefinitionError where the body is wrong, ConflictError where there is one already.
        """
        rule = rule_of(body)
        check_trigger(rule, self._engine.catalog.content)
        await self._put("rules", rule, instead_of)
        return self._engine.catalog.content.rules[rule.ref]

    async def put_action(self, body: dict[str, Any], *, instead_of: str | None = None) -> Action:
        """Make an action of a loaded pack, or change the one of that ref. DefinitionError,
        ConflictError.
        """
        action = action_of(body, self._engine.catalog.content)
        await self._put("actions", action, instead_of)
        return self._engine.catalog.content.actions[action.ref]

    async def _put(
        self, kind: Literal["actions", "rules"], item: Action | Rule, instead_of: str | None
    ) -> None:
        if instead_of is None and item.ref in getattr(self._engine.catalog.content, kind):
            raise ConflictError(
                f'Object with same unique identifier already exists: {kind[:-1]} "{item.ref}".'
            )
        if instead_of not in (None, item.ref):
            raise InvalidInputError(
                f"{instead_of} keeps its pack and name. Make {item.ref} anew and delete it."
            )
        document = msgspec.to_builtins(item)
        self._overrides.put(Override(kind=kind, ref=item.ref, enabled=None, document=document))
        await self.reload()

    async def delete(self, kind: Literal["actions", "rules"], item: Action | Rule) -> None:
        """Remove what the API made; a pack's own comes back at each load and can only be switched
        off.
        """
        if item.file:
            raise ConflictError(
                f'"{item.ref}" belongs to its pack ({item.file}). Remove the file and reload, or disable it.'
            )
        self._overrides.delete(kind, item.ref)
        await self.reload()

    async def set_enabled(self, kind: Kind, ref: str, enabled: bool) -> None:
        """Switch an action, a rule or a sensor on or off, for good."""
        known = {item.ref: item for item in self._overrides.list(kind)}
        document = known[ref].document if ref in known else None
        self._overrides.put(Override(kind=kind, ref=ref, enabled=enabled, document=document))
        if kind == "sensors":
            await self._sensors.set_enabled(ref, enabled)
        await self.reload()

    @property
    def _overrides(self) -> Overrides:
        return self._engine.store.overrides


def rule_of(body: dict[str, Any]) -> Rule:
    """Build a rule from a body; DefinitionError with the first fault."""
    given = {
        name: value for name, value in body.items() if name in _RULE_FIELDS and value is not None
    }
    given.setdefault("pack", "default")
    found = faults(given, RuleFile, file=_OF_THE_API, name="rule")
    found = found or rule_problems(given, file=_OF_THE_API, name="rule")
    if found:
        raise DefinitionError(found[0].message, path=found[0].path, remedy=found[0].remedy)
    if not isinstance(given["name"], str) or "." in given["name"]:
        raise InvalidInputError("A rule's name is a text without dots.")
    kind = given.get("type")
    return Rule(
        pack=given["pack"],
        name=given["name"],
        trigger=RuleTrigger(
            type=given["trigger"]["type"], parameters=given["trigger"].get("parameters") or {}
        ),
        action=RuleAction(
            ref=given["action"]["ref"], parameters=given["action"].get("parameters") or {}
        ),
        description=given.get("description") or "",
        enabled=given.get("enabled") is True,
        type=kind["ref"] if kind else "standard",
        criteria=given.get("criteria") or {},
        context=given.get("context") or {},
        tags=given.get("tags") or [],
    )


def check_trigger(rule: Rule, content: Content) -> None:
    """InvalidInputError or DefinitionError where a rule asks for what can never happen.
    Source: create_trigger_db_from_rule in st2common/services/triggers.py of StackStorm 3.9. A
    pack's own rules are judged by `refused_rules`, as another pack may bring the type."""
    kind = content.trigger_types.get(rule.trigger.type)
    if kind is not None and kind.parameters_schema:
        CompiledSchema(kind.parameters_schema).cleaned(rule.trigger.parameters)
    if kind is None or (kind.parameters_schema and not rule.trigger.parameters):
        hint = "" if kind else f" {closest(rule.trigger.type, content.trigger_types)}"
        raise InvalidInputError(
            f'Trigger "{rule.trigger.type}" defined in the rule does not exist in system or it\'s missing required '
            f'"parameters" attribute.{hint}'
        )
    if kind.ref in TIMERS:
        schedule_of(trigger_for(kind.ref, rule.trigger.parameters), utc_now())


def action_of(body: dict[str, Any], content: Content) -> Action:
    """Build an action from a body; DefinitionError with the first fault."""
    given = {
        name: value for name, value in body.items() if name in _ACTION_FIELDS and value is not None
    }
    if body.get("data_files"):
        raise InvalidInputError(
            "Files are not taken here. Put them into the pack's folder and register the pack."
        )
    pack = content.packs.get(str(given.get("pack") or "default"))
    if pack is None:
        raise InvalidInputError(
            f"The pack of an action must be loaded. Loaded are: {', '.join(sorted(content.packs))}."
        )
    given["pack"] = pack.ref
    found = faults(given, ActionFile, file=_OF_THE_API, name="action")
    found = found or action_problems(given, root=pack.path, file=_OF_THE_API, name="action")
    if found:
        raise DefinitionError(found[0].message, path=found[0].path, remedy=found[0].remedy)
    return msgspec.convert(given, Action)


_ACTION_FIELDS = frozenset(
    {
        *("name", "pack", "description", "enabled", "entry_point", "runner_type"),
        *("parameters", "tags", "notify", "output_schema"),
    }
)
_RULE_FIELDS = frozenset(
    {
        "name",
        "pack",
        "description",
        "enabled",
        "type",
        "trigger",
        "criteria",
        "action",
        "context",
        "tags",
    }
)
