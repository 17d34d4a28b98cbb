"""`spec.parameters`: the instance's own DB parameter group holds exactly these values. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import FrozenSet, Mapping, NamedTuple, Optional

from kubestorm.clients.rds import ObservedInstance, ObservedParameter
from kubestorm.core import naming
from kubestorm.core.spec_reader import InvalidSpecError, Problem
from kubestorm.kinds.database.plan_changes import major_of, version_meets
from kubestorm.kinds.database.spec import DatabaseSpec


class ParameterChanges(NamedTuple):
    """What differs: values to write, names to reset to their defaults."""

    write: Mapping[str, str]
    reset: FrozenSet[str]


def family_of(engine: str, version: str) -> str:
    """`postgres16`, `postgres9.6`, `mysql8.0`, `mariadb10.11`. Source: DBParameterGroupFamily of
    DescribeDBEngineVersions.
    """
    return engine + major_of(engine, version)


def with_own_group(
    spec: DatabaseSpec, identifier: str, observed: Optional[ObservedInstance]
) -> DatabaseSpec:
    """The spec with its own parameter group, where it states parameters; for the version that the
    instance will have.
    """
    if "parameters" not in spec.stated:
        return spec
    stays = observed is not None and (
        "version" not in spec.stated or version_meets(spec.engine, spec.version, observed.version)
    )
    version = observed.version if observed is not None and stays else spec.version
    name = naming.parameter_group(identifier, family_of(spec.engine, version))
    return replace(spec, parameter_group=name, stated=spec.stated | {"parameterGroup"})


def compare_parameters(
    wanted: Mapping[str, str], found: Mapping[str, ObservedParameter]
) -> ParameterChanges:
    """`found` are the parameters that are set in the group."""
    differing = {
        name: value
        for name, value in wanted.items()
        if name not in found or found[name].value != value
    }
    return ParameterChanges(differing, frozenset(name for name in found if name not in wanted))


def check_parameters(
    changes: ParameterChanges, known: Mapping[str, ObservedParameter], family: str
) -> None:
    """Raise InvalidSpecError naming each parameter that does not exist or cannot be changed."""
    problems = [
        Problem(
            f"spec.parameters.{name}",
            f"{family} has no such parameter; correct the name or leave it out"
            if name not in known
            else f"it cannot be changed in {family}; leave it out",
        )
        for name in changes.write
        if name not in known or not known[name].modifiable
    ]
    if problems:
        raise InvalidSpecError(problems)


def family_in(group: str, engine: str) -> str:
    """The family that `naming.parameter_group` put at the end of the name."""
    return engine + group.rpartition(f"-{engine}")[2].replace("-", ".")
