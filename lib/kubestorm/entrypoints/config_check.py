"""What is wrong with a configuration, section by section, for `stormcell check --configs` and
`kubestorm.doctor`. Reads the disk (the files that it names), and connects to nothing.
"""

from __future__ import annotations

import os
import typing
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, Iterator, List, Mapping, NamedTuple

from kubestorm.core import parts, sections
from kubestorm.core.errors import DefinitionError
from kubestorm.core.settings import VaultSettings, load_settings
from kubestorm.entrypoints.config_schema import ROOT, SECTIONS, check_keys
from kubestorm.kinds.build import logins
from kubestorm.kinds.build.settings import BuildSettings
from kubestorm.people.approval import config_warnings as judging

EXAMPLE = ROOT / "kubestorm.yaml.example"
PLACEHOLDERS = ("example.com", "123456789012", "0123456789abcdef0")
"""Values of the example with one of these are nobody's own."""
FILES = ("_file", "kubeconfig")


class Fault(NamedTuple):
    """A sentence with the setting and the remedy; a warning, where the configuration can be used
    as it is.
    """

    message: str
    is_warning: bool = False


def find_faults(config: Mapping[str, Any]) -> List[Fault]:
    """All faults of a configuration as the operator wrote it, at most one of each section's
    values.
    """
    found = [Fault(str(error)) for error in check_keys(config)]
    for judge in (_cluster, _sections, _vault, _files, _example):
        found += judge(config)
    if not found:
        found += [Fault(each, True) for each in _warnings(config)]
    return found


def without_defaults(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """A configuration without the sections that say nothing but defaults, which engines fill in."""
    return {
        name: section
        for name, section in config.items()
        if not _is_default(SECTIONS.get(name), section)
    }


def _is_default(kind: Any, section: Any) -> bool:
    try:
        return kind is not None and sections.read_section(kind, section, "") == kind()
    except DefinitionError:
        return False


def _cluster(config: Mapping[str, Any]) -> Iterator[Fault]:
    try:
        load_settings({"cluster": config.get("cluster")})
    except DefinitionError as error:
        yield Fault(str(error))


def _sections(config: Mapping[str, Any]) -> Iterator[Fault]:
    for name, kind in SECTIONS.items():
        try:
            sections.read_section(kind, config.get(name), name)
        except DefinitionError as error:
            yield Fault(str(error))
    try:
        parts.named(config)
    except DefinitionError as error:
        yield Fault(str(error))


def _vault(config: Mapping[str, Any]) -> Iterator[Fault]:
    try:
        auth = sections.read_section(VaultSettings, config.get("vault"), "vault").auth
        is_used = bool(config.get("vault")) or parts.DATABASES in parts.in_use(config)
    except DefinitionError:
        return
    if is_used and auth.method == "token" and not auth.token_file:
        yield Fault(
            "vault.auth says no way to log in: set vault.auth.token_file, or vault.auth.method to "
            "approle or kubernetes with what that needs."
        )


def _files(config: Mapping[str, Any]) -> Iterator[Fault]:
    for name, kind in SECTIONS.items():
        yield from _files_in(kind, config.get(name), name)


def _files_in(kind: Any, raw: Any, where: str) -> Iterator[Fault]:
    kind = sections.without_none(kind)
    inside = typing.get_args(kind)
    if isinstance(raw, (list, tuple)) and inside:
        for index, one in enumerate(raw):
            yield from _files_in(inside[0], one, f"{where}[{index}]")
    elif isinstance(raw, Mapping) and is_dataclass(kind):
        for name, (item, hint) in sections.settings_of(typing.cast(Any, kind)).items():
            value = raw.get(name)
            if not name.endswith(FILES):
                yield from _files_in(hint, value, f"{where}.{name}")
            elif isinstance(value, str) and value and "{{" not in value and value != item.default:
                yield from _file(value, f"{where}.{name}")


def _file(name: str, where: str) -> Iterator[Fault]:
    path = Path(name).expanduser()
    if not path.is_file():
        yield Fault(f"{where} names {path}, which does not exist: create the file, or correct it.")
    elif not os.access(path, os.R_OK):
        yield Fault(f"{where} names {path}, which this user cannot read: change its owner or mode.")


def _example(config: Mapping[str, Any]) -> Iterator[Fault]:
    import yaml  # comes with the kubernetes client

    if not EXAMPLE.is_file():
        return
    shown = dict(_leaves(yaml.safe_load(EXAMPLE.read_text(encoding="utf-8")), ""))
    same = [
        path
        for path, value in _leaves(config, "")
        if shown.get(path) == value and any(word in str(value) for word in PLACEHOLDERS)
    ]
    if same:
        more = f" and {len(same) - 5} more" if len(same) > 5 else ""
        yield Fault(
            f"{', '.join(same[:5])}{more} still have the values of {EXAMPLE.name}: set your own, "
            "and delete the sections that you do not use."
        )


def _leaves(value: Any, where: str) -> Iterator[typing.Tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, one in value.items():
            yield from _leaves(one, f"{where}.{key}" if where else str(key))
    elif isinstance(value, list):
        for index, one in enumerate(value):
            yield from _leaves(one, f"{where}[{index}]")
    else:
        yield where, value


def _warnings(config: Mapping[str, Any]) -> List[str]:
    return [
        *logins.config_warnings(BuildSettings.from_config(config)),
        *judging.config_warnings(config),
    ]
