"""Read a pack from its folder: every metadata file checked against StackStorm's rules, all faults
told at once.

Follows st2common/bootstrap/*registrar.py of StackStorm 3.9 in what counts as metadata (files ending
in .yaml or .yml directly in `actions/`, `rules/`, ...), in how a pack's ref is found, and in what
is refused. Symbolic links are followed as the operating system does.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from stormcell.content.checking import closest, describe, faults
from stormcell.content.documents import read_document
from stormcell.content.models import (
    Action,
    ActionAlias,
    Model,
    Pack,
    PackContent,
    Policy,
    Rule,
    RuleAction,
    RuleTrigger,
    Sensor,
    TriggerType,
)
from stormcell.content.rules_of_kinds import (
    action_problems,
    alias_problems,
    policy_problems,
    properties_problems,
    rule_problems,
    sensor_problems,
    trigger_type_problems,
    unstorable_keys,
)
from stormcell.content.shapes import (
    PACK_REF,
    ActionFile,
    AliasFile,
    PackFile,
    Parameters,
    PolicyFile,
    RuleFile,
    SensorFile,
    TriggerTypeFile,
)
from stormcell.errors import DefinitionError

EXTENSIONS: Final = (".yaml", ".yml")
_VERSION: Final = re.compile(
    r"^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[\da-z-]+(\.[\da-z-]+)*)?(\+[\da-z-]+(\.[\da-z-]+)*)?$"
)
_RESERVED: Final = frozenset({"_global"})
_ANY_WORKFLOW_CONFIG: Final = "config"

M = TypeVar("M", bound=Model)


class Reading(msgspec.Struct, kw_only=True):
    """What could be read of a pack, and what could not."""

    content: PackContent | None
    """All that is right; None where there is no usable pack.yaml."""
    problems: list[DefinitionError]


def load_pack(path: Path | str) -> PackContent:
    """Return a pack's content. Raises DefinitionError with the first fault and the number of
    others.
    """
    reading = read_pack(path)
    if reading.problems or reading.content is None:
        first, *others = reading.problems
        more = f" ({len(others)} more; `stormcell check {path}` lists them.)" if others else ""
        raise DefinitionError(
            first.message, file=first.file, path=first.path, remedy=first.remedy + more
        )
    return reading.content


def read_pack(path: Path | str) -> Reading:
    """Read a pack: what is right is in `content`, what is wrong in `problems`, and neither stops
    the other.
    """
    return _PackReader(Path(path)).read()


class _PackReader:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.problems: list[DefinitionError] = []

    def read(self) -> Reading:
        pack = self._pack()
        if pack is None:
            return Reading(content=None, problems=self.problems)
        content = PackContent(pack=pack)
        content.trigger_types = list(
            self._each("triggers", TriggerTypeFile, self._trigger_type, pack.ref)
        )
        content.actions = list(self._each("actions", ActionFile, self._action, pack.ref))
        content.rules = list(self._each("rules", RuleFile, self._rule, pack.ref))
        content.aliases = list(self._each("aliases", AliasFile, self._alias, pack.ref))
        content.policies = list(self._each("policies", PolicyFile, self._policy, pack.ref))
        for sensor, own_types in self._sensors(pack.ref):
            content.sensors.append(sensor)
            content.trigger_types += own_types
        self._refuse_duplicates(content)
        return Reading(content=content, problems=self.problems)

    # -- pack.yaml and config.schema.yaml

    def _pack(self) -> Pack | None:
        file = self.root / "pack.yaml"
        if not file.is_file():
            self._problem(
                "there is no pack.yaml.",
                file=str(self.root),
                remedy="A pack's folder holds a pack.yaml.",
            )
            return None
        document = self._document(file)
        if document is None:
            return None
        found = faults(document, PackFile, file=file, name=self._name(file))
        found = found or unstorable_keys(document, "", file=file, name=self._name(file))
        if found:
            self.problems += found
            return None
        version = str(document["version"])
        if not _VERSION.match(version):
            self._problem(
                f"the version '{version}' is not a semantic version.",
                file=self._name(file),
                path="version",
                remedy="Write three numbers, as in 0.1.0.",
            )
        ref = self._pack_ref(document, file)
        if ref is None:
            return None
        return Pack(
            ref=ref,
            name=document["name"],
            description=document["description"],
            version=version,
            author=document["author"],
            path=self.root,
            email=document.get("email") or "",
            keywords=document.get("keywords") or [],
            stackstorm_version=document.get("stackstorm_version") or "",
            python_versions=document.get("python_versions") or [],
            dependencies=document.get("dependencies") or [],
            contributors=document.get("contributors") or [],
            system=document.get("system") or {},
            config_schema=self._config_schema(),
        )

    def _pack_ref(self, document: dict[str, Any], file: Path) -> str | None:
        name = document["name"]
        ref = document.get("ref") or (name if re.match(PACK_REF, name) else None)
        if ref is None:
            self._problem(
                f"the name '{name}' cannot serve as the pack's ref.",
                file=self._name(file),
                path="ref",
                remedy="Add a `ref` of lower-case letters, digits and underscores.",
            )
        elif ref in _RESERVED:
            self._problem(
                f"'{ref}' is a reserved name.",
                file=self._name(file),
                path="ref",
                remedy="Choose another.",
            )
            return None
        return ref

    def _config_schema(self) -> dict[str, Any]:
        file = self.root / "config.schema.yaml"
        if not file.is_file():
            return {}
        document = self._document(file)
        if document is None:
            return {}
        found = faults(document, Parameters, file=file, name=self._name(file))
        found = found or properties_problems(document, file=file, name=self._name(file))
        self.problems += found
        return {} if found else document

    # -- the kinds

    def _each(
        self, folder: str, shape: Any, make: Callable[[dict[str, Any], Path, str], M], pack: str
    ) -> Iterator[M]:
        for file, document in self._documents(folder, shape, pack):
            try:
                yield make(document, file, pack)
            except DefinitionError as error:
                self.problems.append(error)

    def _documents(
        self, folder: str, shape: Any, pack: str
    ) -> Iterator[tuple[Path, dict[str, Any]]]:
        for file in metadata_files(self.root / folder):
            document = self._document(file)
            if document is None:
                continue
            name = self._name(file)
            found = faults(document, shape, file=file, name=name)
            found = found or unstorable_keys(document, folder, file=file, name=name)
            self.problems += found
            if found:
                continue
            if document.get("pack") and document["pack"] != pack:
                self._problem(
                    f"names the pack '{document['pack']}', and lies in '{pack}'.",
                    file=name,
                    path="pack",
                    remedy="Remove the key `pack`: it follows from the folder.",
                )
                continue
            yield file, document

    def _trigger_type(self, document: dict[str, Any], file: Path, pack: str) -> TriggerType:
        self._raise(trigger_type_problems(document, file=file, name=self._name(file)))
        return _trigger_type(document, pack, self._name(file))

    def _action(self, document: dict[str, Any], file: Path, pack: str) -> Action:
        name = self._name(file)
        self._raise(action_problems(document, root=self.root, file=file, name=name))
        return Action(
            pack=pack,
            name=document["name"],
            runner_type=document["runner_type"],
            file=name,
            description=document.get("description") or "",
            enabled=document.get("enabled") is not False,
            entry_point=document.get("entry_point") or "",
            parameters=document.get("parameters") or {},
            tags=document.get("tags") or [],
            notify=document.get("notify") or {},
            output_schema=document.get("output_schema") or {},
            metadata_hash=hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest(),
        )

    def _rule(self, document: dict[str, Any], file: Path, pack: str) -> Rule:
        name = self._name(file)
        self._raise(rule_problems(document, file=file, name=name))
        trigger, action, kind = document["trigger"], document["action"], document.get("type")
        return Rule(
            pack=pack,
            name=document["name"],
            trigger=RuleTrigger(type=trigger["type"], parameters=trigger.get("parameters") or {}),
            action=RuleAction(ref=action["ref"], parameters=action.get("parameters") or {}),
            file=name,
            description=document.get("description") or "",
            enabled=document.get("enabled")
            is True,  # StackStorm: a rule that does not say so is off.
            type=kind["ref"] if kind else "standard",
            criteria=document.get("criteria") or {},
            context=document.get("context") or {},
            tags=document.get("tags") or [],
        )

    def _alias(self, document: dict[str, Any], file: Path, pack: str) -> ActionAlias:
        name = self._name(file)
        self._raise(alias_problems(document, file=file, name=name))
        return ActionAlias(
            pack=pack,
            name=document["name"],
            action_ref=document["action_ref"],
            formats=document["formats"],
            file=name,
            description=document.get("description") or "",
            enabled=document.get("enabled") is not False,
            ack=document.get("ack") or {},
            result=document.get("result") or {},
            extra=document.get("extra") or {},
            immutable_parameters=document.get("immutable_parameters") or {},
        )

    def _policy(self, document: dict[str, Any], file: Path, pack: str) -> Policy:
        name = self._name(file)
        parameters, found = policy_problems(document, file=file, name=name)
        self._raise(found)
        return Policy(
            pack=pack,
            name=document["name"],
            resource_ref=document["resource_ref"],
            policy_type=document["policy_type"],
            parameters=parameters,
            enabled=document.get("enabled") is not False,
            description=document.get("description") or "",
            file=name,
        )

    def _sensors(self, pack: str) -> Iterator[tuple[Sensor, list[TriggerType]]]:
        for file, document in self._documents("sensors", SensorFile, pack):
            name = self._name(file)
            found = sensor_problems(document, root=self.root, file=file, name=name)
            self.problems += found
            if found:
                continue
            own = [_trigger_type(item, pack, name) for item in document.get("trigger_types") or []]
            interval = document.get("poll_interval")
            sensor = Sensor(
                pack=pack,
                name=document["class_name"],
                entry_point=document["entry_point"],
                file=name,
                description=document.get("description") or "",
                enabled=document.get("enabled") is not False,
                poll_interval=int(interval) if interval else None,
                trigger_types=[item.ref for item in own],
            )
            yield sensor, own

    def _refuse_duplicates(self, content: PackContent) -> None:
        kinds = (content.actions, content.rules, content.sensors, content.aliases, content.policies)
        for items in kinds:
            self._refuse_second(items)
        # A type may stand in triggers/ and again at the sensor that sends it, if both say the same.
        seen: dict[str, TriggerType] = {}
        for item in list(content.trigger_types):
            other = seen.setdefault(item.name, item)
            if other is item:
                continue
            content.trigger_types.remove(item)
            if (other.payload_schema, other.parameters_schema) != (
                item.payload_schema,
                item.parameters_schema,
            ):
                self._second(item, other)

    def _refuse_second(self, items: Any) -> None:
        seen: dict[str, Any] = {}
        for item in list(items):
            other = seen.setdefault(item.name, item)
            if other is not item:
                items.remove(item)
                self._second(item, other)

    def _second(self, item: Any, other: Any) -> None:
        self._problem(
            f"'{item.ref}' is already defined in {other.file}.",
            file=item.file,
            path="name",
            remedy="Rename one.",
        )

    # -- help

    def _document(self, file: Path) -> dict[str, Any] | None:
        try:
            document = read_document(file, name=self._name(file))
        except DefinitionError as error:
            self.problems.append(error)
            return None
        if not isinstance(document, dict):
            what = "is empty" if document is None else f"holds {describe(document)}"
            self._problem(
                f"{what}.",
                file=self._name(file),
                remedy="It must hold a mapping of keys to values.",
            )
            return None
        return document

    def _raise(self, found: list[DefinitionError]) -> None:
        """Refuse the file that has these faults, if there are any."""
        if found:
            self.problems += found[:-1]
            raise found[-1]

    def _name(self, file: Path) -> str:
        return file.relative_to(self.root).as_posix()

    def _problem(self, message: str, *, file: str, path: str = "", remedy: str = "") -> None:
        self.problems.append(DefinitionError(message, file=file, path=path, remedy=remedy))


def metadata_files(folder: Path) -> list[Path]:
    """Return the metadata files of a content folder, by name: only its top level, only YAML."""
    if not folder.is_dir():
        return []
    return sorted(
        entry
        for entry in folder.iterdir()
        if entry.suffix in EXTENSIONS
        and entry.is_file()
        and not entry.name.startswith(".")
        and not (folder.name == "actions" and entry.stem == _ANY_WORKFLOW_CONFIG)
    )


def _trigger_type(document: dict[str, Any], pack: str, file: str) -> TriggerType:
    return TriggerType(
        pack=pack,
        name=document["name"],
        description=document.get("description") or "",
        payload_schema=document.get("payload_schema") or {},
        parameters_schema=document.get("parameters_schema") or {},
        tags=document.get("tags") or [],
        file=file,
    )


__all__ = [
    "EXTENSIONS",
    "Reading",
    "closest",
    "load_pack",
    "metadata_files",
    "read_pack",
]
