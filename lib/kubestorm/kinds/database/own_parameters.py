"""`spec.parameters`: a DB parameter group of the instance's own, made to hold exactly these values.

Names that RDS does not know, or lets nobody change, are refused before anything is written. The
decisions are in `compare`, which is pure; the rest carries them out.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Dict, FrozenSet, Mapping, NamedTuple, Optional

from kubestorm.clients.rds import ObservedInstance, ObservedParameter, RdsClient
from kubestorm.core import naming
from kubestorm.core.spec_reader import InvalidSpecError, Problem
from kubestorm.kinds.database.plan import major_of, version_meets
from kubestorm.kinds.database.spec import DatabaseSpec


class ParameterChanges(NamedTuple):
    """What differs: values to write, names to take back to their defaults."""

    write: Mapping[str, str]
    reset: FrozenSet[str]


def family_of(engine: str, version: str) -> str:
    """`postgres16`, `postgres9.6`, `mysql8.0`, `mariadb10.11`. Source: DescribeDBEngineVersions'
    own words.
    """
    return engine + major_of(engine, version)


def with_own_group(
    spec: DatabaseSpec, identifier: str, observed: Optional[ObservedInstance]
) -> DatabaseSpec:
    """The spec with its own group as parameter group, where it states parameters; of the version
    that it will have.
    """
    if "parameters" not in spec.stated:
        return spec
    stays = observed is not None and (
        "version" not in spec.stated or version_meets(spec.engine, spec.version, observed.version)
    )
    version = observed.version if observed is not None and stays else spec.version
    name = naming.parameter_group(identifier, family_of(spec.engine, version))
    return replace(spec, parameter_group=name, stated=spec.stated | {"parameterGroup"})


def compare(wanted: Mapping[str, str], found: Mapping[str, ObservedParameter]) -> ParameterChanges:
    """`found` are the parameters that somebody set."""
    differing = {
        name: value
        for name, value in wanted.items()
        if name not in found or found[name].value != value
    }
    return ParameterChanges(differing, frozenset(name for name in found if name not in wanted))


def check(changes: ParameterChanges, known: Mapping[str, ObservedParameter], family: str) -> None:
    """Raise InvalidSpecError naming each parameter that there is not, or that cannot be set."""
    problems = [
        Problem(
            f"spec.parameters.{name}",
            f"{family} has no such parameter; correct the name or leave it out"
            if name not in known
            else f"RDS lets nobody change it in {family}; leave it out",
        )
        for name in changes.write
        if name not in known or not known[name].modifiable
    ]
    if problems:
        raise InvalidSpecError(problems)


def ensure(
    rds: RdsClient,
    spec: DatabaseSpec,
    tags: Mapping[str, str],
    status: Mapping[str, Any],
    observed: Optional[ObservedInstance],
) -> Dict[str, Any]:
    """Make the group be and hold what the spec says; the fields of status that follow. Safe to
    repeat.
    """
    group = spec.parameter_group or ""
    family = rds.describe_parameter_group(group)
    if family is None:
        family = _family_in(group, spec.engine)
        rds.create_parameter_group(group, family, tags)
    changes = compare(spec.parameters, rds.parameters(group, only_set=True))
    if changes.write or changes.reset:
        known = rds.parameters(group, only_set=False)
        check(changes, known, family)
        static = {name for name, parameter in known.items() if parameter.static}
        if changes.reset:
            rds.reset_parameters(group, changes.reset, static)
        if changes.write:
            rds.set_parameters(group, changes.write, static)
    return {"parameterGroup": group, **_drop_former(rds, group, status, observed)}


def _drop_former(
    rds: RdsClient, group: str, status: Mapping[str, Any], observed: Optional[ObservedInstance]
) -> Dict[str, Any]:
    """After a major upgrade, remove the group of the version before, once the instance has the new
    one.
    """
    former = status.get("formerParameterGroup") or status.get("parameterGroup")
    if not former or former == group:
        return {}
    if observed is None or observed.parameter_group != group or observed.status != "available":
        return {"formerParameterGroup": former}
    rds.delete_parameter_group(str(former))
    return {"formerParameterGroup": None}


def _family_in(group: str, engine: str) -> str:
    """The family that `naming.parameter_group` put at the end of the name."""
    return engine + group.rpartition(f"-{engine}")[2].replace("-", ".")
