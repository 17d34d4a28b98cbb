"""Wires an engine up: picks the real store, content, runners and sensors. Nothing else here
connects parts.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from stormcell.api.content_documents import trigger_document
from stormcell.api.identity import Identity
from stormcell.catalog import Catalog, trigger_for
from stormcell.chains import ChainConductor, parse_chain
from stormcell.conducting import Conductor
from stormcell.configs import Configs
from stormcell.content.documents import read_document
from stormcell.content.loader import read_pack
from stormcell.content.models import Action, Pack, PackContent
from stormcell.content.registry import Content, refused_rules
from stormcell.contents import Contents, apply_overrides
from stormcell.core import SYSTEM_USER
from stormcell.engine import Engine
from stormcell.errors import DefinitionError, InvalidInputError
from stormcell.lookups import EngineLookups
from stormcell.packs import BUILT_IN_PACKS
from stormcell.ports import PackChatOps, PackDatastore, PackDispatch
from stormcell.runners.registry import Runners
from stormcell.sensors.supervisor import SensorSupervisor
from stormcell.store import Store
from stormcell.store.access import Overrides
from stormcell.store.store import Sync
from stormcell.stream import ANNOUNCEMENT_PREFIX, EventStream
from stormcell.workers.ports import Services

log = logging.getLogger(__name__)


class Settings(msgspec.Struct, kw_only=True, frozen=True):
    """What `stormcell serve` was asked for."""

    packs: tuple[Path, ...]
    data: Path
    configs: Path | None = None
    """Folder of `<pack>.yaml` files; by default `configs` in the data folder, where the API puts
    what it is given.
    """
    sync: Sync = "normal"
    workers: int = 4
    """Python actions at once, each in a process of its own."""
    keep_days: int | None = None
    """Days that history is kept after its end; None: for ever."""
    validate_output: bool = False
    """Whether an action fails whose output does not fit its `output_schema`."""
    url: str = ""
    """Where the API will answer, for actions that call it."""


def load_catalog(settings: Settings, overrides: Overrides) -> Catalog:
    """Read all packs. A faulty file is told and left out; a folder that is no pack stops the start."""
    contents = [_read(folder) for folder in (*BUILT_IN_PACKS, *settings.packs)]
    content = Content(contents)
    for ref, problem in refused_rules(content).items():
        log.error("content.refused", extra={"reason": str(problem)})
        del content.rules[ref]
    apply_overrides(content, overrides)
    runners = {content.runner_type(each.runner_type).name for each in content.actions.values()}
    if "orquesta" in runners:
        # YAQL's parser takes a third of a second: paid at the start, and only where there are such
        # workflows.
        importlib.import_module("stormcell.orquesta")
    return Catalog(
        content, make_conductor=lambda action, pack: make_conductor(action, pack, content)
    )


def _read(folder: Path) -> PackContent:
    reading = read_pack(folder)
    for problem in reading.problems:
        log.error("content.refused", extra={"reason": str(problem)})
    if reading.content is None:
        raise DefinitionError(
            "is not a pack.", file=folder, remedy=f"`stormcell check {folder}` tells why."
        )
    return reading.content


def make_conductor(action: Action, pack: Pack, content: Content) -> Conductor:
    """Read the chain or workflow an action stands for."""
    name = f"{pack.ref}/actions/{action.entry_point}"
    document = read_document(pack.path / "actions" / action.entry_point, name=name)
    runner = content.runner_type(action.runner_type).name
    if runner == "action-chain":
        return ChainConductor(parse_chain(document, file=name))
    if runner == "orquesta":
        from stormcell.orquesta import OrquestaConductor  # see load_catalog

        return OrquestaConductor(document, name=action.ref, find_parameters=_finder(content))
    raise InvalidInputError(f'Nothing here conducts actions of runner "{runner}".')


def _finder(content: Content) -> Callable[[str], dict[str, Any] | None]:
    """What inspection asks: the parameters of an action by its ref, None where there is no such
    action.
    """

    def find(ref: str) -> dict[str, Any] | None:
        action = content.actions.get(ref)
        if action is None:
            return None
        return {**content.runner_type(action.runner_type).runner_parameters, **action.parameters}

    return find


def make_engine(settings: Settings, store: Store, dispatch: PackDispatch) -> Engine:
    """Return an engine that has not been started. Call within the event loop."""
    catalog = load_catalog(settings, store.overrides)
    holder: list[Engine] = []

    def config_of(pack: str) -> dict[str, Any]:
        content = (holder[0].catalog if holder else catalog).content
        return configs.of(content.packs.get(pack), lookups)

    configs = Configs(settings.configs or settings.data / "configs")
    lookups = EngineLookups(store.datastore, config_of)
    stream = EventStream()

    async def announce(route: str, payload: dict[str, Any]) -> None:
        # The envelope of StackStorm's AnnouncementDispatcher; Hubot and Errbot read `payload`.
        body = {"payload": payload, "trace_context": None}
        stream.publish(f"{ANNOUNCEMENT_PREFIX}{route}", lambda: body)

    runners = Runners.make(
        services=Services(
            datastore=PackDatastore(store.datastore),
            dispatch=dispatch,
            chatops=PackChatOps(dispatch, announce),
        ),
        announce=announce,
        virtualenvs=settings.data / "virtualenvs",
        api_url=f"{settings.url}/v1" if settings.url else "",
        workers=settings.workers,
    )
    engine = Engine(
        store,
        catalog,
        lookups,
        runners,
        configs=configs,
        stream=stream,
        concurrency={"python-script": settings.workers},
        keep_days=settings.keep_days,
        validate_output=settings.validate_output,
    )
    if settings.url:
        engine.core.execution_token = Identity(store).execution_token
    dispatch.engine = engine
    holder.append(engine)
    runners.preload(catalog.content)
    return engine


def make_sensors(engine: Engine, settings: Settings, dispatch: PackDispatch) -> SensorSupervisor:
    """Return the supervisor of the sensors, not started."""

    async def tell(trigger: str, payload: dict[str, Any]) -> None:
        if trigger in engine.catalog.wanted_types:
            await engine.dispatch(trigger, payload)

    sensors = SensorSupervisor(
        engine.catalog.content,
        dispatch=dispatch,
        dispatch_many=dispatch.many,
        tell=tell,
        datastore=PackDatastore(engine.store.datastore),
        config_for=engine.core.lookups.pack_config,
        virtualenvs=settings.data / "virtualenvs",
        env=_sensor_environment(settings, engine.store),
    )
    engine.sensor_status = sensors.status_of
    return sensors


def make_contents(engine: Engine, sensors: SensorSupervisor, settings: Settings) -> Contents:
    """Return what changes content while the engine runs."""

    def load() -> Catalog:
        engine.configs.forget()
        catalog = load_catalog(settings, engine.store.overrides)
        engine.configs.faults(catalog.content.packs.values())
        return catalog

    return Contents(engine, sensors, load=load, triggers=sensor_triggers)


def sensor_triggers(catalog: Catalog) -> list[dict[str, Any]]:
    """What sensors are told: plain triggers, and those with parameters that an enabled rule asks
    for.
    """
    asked = {
        trigger_for(rule.trigger.type, rule.trigger.parameters).ref
        for rule in catalog.content.rules.values()
        if rule.enabled
    }
    return [
        {**trigger_document(trigger), "description": ""}
        for trigger in catalog.triggers.values()
        if trigger.ref in asked or not trigger.parameters
    ]


def _sensor_environment(settings: Settings, store: Store) -> dict[str, str]:
    if not settings.url:
        return {}
    return {
        "ST2_API_URL": f"{settings.url}/v1",
        "ST2_AUTH_TOKEN": Identity(store).session_token(SYSTEM_USER),
    }
