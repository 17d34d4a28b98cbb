"""Everything that can be said of packs before they run: what their files hold, how they fit
together, and whether their chains, workflows, timers and templates can be read.

The engine does the first half at each load; the second takes too long for that and is for
`stormcell check`.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from stormcell.api.alias_formats import compiled, representations
from stormcell.bootstrap import make_conductor
from stormcell.catalog import WORKFLOW_RUNNERS, trigger_for
from stormcell.content.checking import dotted
from stormcell.content.loader import load_pack, read_pack
from stormcell.content.models import ActionAlias, JsonObject, Pack, PackContent, Rule
from stormcell.content.registry import Content, DefinitionWarning, check_content
from stormcell.content.schemas import CompiledSchema, parameters_schema
from stormcell.errors import DefinitionError, Error, InvalidInputError
from stormcell.packs import BUILT_IN_PACKS
from stormcell.rules.checking import template_problems
from stormcell.timers import TIMERS, schedule_of, utc_now
from stormcell.workers.pool import OWN_INTERPRETER, child_env

CONFIG_CHECK: Final = "config_check.py"
CONFIG_CHECK_SECONDS: Final = 60.0


def check_folders(folders: Iterable[Path]) -> list[DefinitionError]:
    """Return what is wrong with the packs in these folders, alone, with each other and with the
    packs that the engine brings. Warnings are of the class DefinitionWarning."""
    readings = [read_pack(folder) for folder in folders]
    found = [problem for reading in readings for problem in reading.problems]
    packs = [reading.content for reading in readings if reading.content is not None]
    content = Content([*map(load_pack, BUILT_IN_PACKS), *packs])
    found += check_content(content)
    wrong = {problem.file for problem in found if not isinstance(problem, DefinitionWarning)}
    for pack in packs:
        found += _check_actions(pack, content)
        found += [fault for alias in pack.aliases for fault in _check_alias(alias)]
        for rule in pack.rules:
            if f"{rule.pack}/{rule.file}" not in wrong:
                found += _check_rule(rule)
    return found


def check_config(pack: Pack, values: JsonObject) -> list[DefinitionError]:
    """Return what the pack itself says of its configuration, where it has a `config_check.py`.

    That program reads the configuration as JSON, as the operator wrote it, and writes a line of
    JSON with `message` and `warning` (true or false) for each fault. It imports from the pack's
    `lib`.
    """
    program, file = pack.path / CONFIG_CHECK, f"configs/{pack.ref}.yaml"
    if not program.is_file():
        return []
    env = child_env(OWN_INTERPRETER) | {"PYTHONPATH": str(pack.path / "lib")}
    try:
        said = subprocess.run(
            [OWN_INTERPRETER.python, str(program)],
            input=json.dumps(values),
            env=env,
            capture_output=True,
            text=True,
            timeout=CONFIG_CHECK_SECONDS,
            check=True,
        )
        faults = [json.loads(line) for line in said.stdout.splitlines()]
        return [
            (DefinitionWarning if fault["warning"] else DefinitionError)(
                fault["message"], file=file
            )
            for fault in faults
        ]
    except subprocess.CalledProcessError as error:
        why = (error.stderr.splitlines() or ["no reason reported"])[-1]
    except (subprocess.TimeoutExpired, ValueError, KeyError, TypeError) as error:
        why = str(error)
    return [DefinitionError(f"failed: {why}.", file=f"{pack.ref}/{CONFIG_CHECK}")]


def connect_config(pack: Pack, values: JsonObject) -> bool:
    """Have a pack's `config_check.py` try what its configuration names (`--connect`); it writes to
    the terminal itself. Whether all of it works.
    """
    program = pack.path / CONFIG_CHECK
    if not program.is_file():
        return True
    env = child_env(OWN_INTERPRETER) | {"PYTHONPATH": str(pack.path / "lib")}
    done = subprocess.run(
        [OWN_INTERPRETER.python, str(program), "--connect"],
        input=json.dumps(values),
        env=env,
        text=True,
        check=False,
    )
    return done.returncode == 0


def _check_actions(pack: PackContent, content: Content) -> Iterator[DefinitionError]:
    for action in pack.actions:
        try:
            CompiledSchema(parameters_schema(action.parameters))
        except InvalidInputError as error:
            yield DefinitionError(
                f"{error}.", file=f"{action.pack}/{action.file}", path="parameters"
            )
        if content.runner_type(action.runner_type).name in WORKFLOW_RUNNERS:
            try:
                make_conductor(action, pack.pack, content)
            except DefinitionError as error:
                yield error


def _check_alias(alias: ActionAlias) -> Iterator[DefinitionError]:
    for form in representations(alias):
        try:
            compiled(form.text)
        except InvalidInputError as error:
            yield DefinitionError(str(error), file=f"{alias.pack}/{alias.file}", path="formats")


def _check_rule(rule: Rule) -> Iterator[DefinitionError]:
    file = f"{rule.pack}/{rule.file}"
    for path, message, remedy in template_problems(rule):
        yield DefinitionError(message, file=file, path=dotted(path), remedy=remedy)
    if rule.trigger.type in TIMERS:
        try:
            schedule_of(trigger_for(rule.trigger.type, rule.trigger.parameters), utc_now())
        except Error as error:
            yield DefinitionError(str(error), file=file, path="trigger.parameters")
