"""A few of the parameters that each engine's parameter groups have, and what RDS refuses about
them.

RDS has some hundreds a family; these are enough to tell dynamic ones from static ones, and both
from what there is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sandbox.aws.rds_rules import invalid

STATIC, DYNAMIC = "static", "dynamic"
# Source: the parameter lists of the RDS user guide for PostgreSQL and MySQL. Name -> (apply type,
# modifiable).
_POSTGRES = {
    "log_min_duration_statement": (DYNAMIC, True),
    "max_connections": (STATIC, True),
    "rds.force_ssl": (DYNAMIC, True),
    "server_version": (STATIC, False),
    "shared_buffers": (STATIC, True),
    "work_mem": (DYNAMIC, True),
}
_MYSQL = {
    "character_set_server": (DYNAMIC, True),
    "innodb_buffer_pool_size": (DYNAMIC, True),
    "long_query_time": (DYNAMIC, True),
    "lower_case_table_names": (STATIC, True),
    "max_connections": (DYNAMIC, True),
    "performance_schema": (STATIC, True),
    "version": (STATIC, False),
}


def known(family: str) -> Mapping[str, tuple[str, bool]]:
    """The parameters of a family such as postgres16 or mysql8.0."""
    return _POSTGRES if family.startswith("postgres") else _MYSQL


def check(family: str, parameters: Iterable[Mapping[str, Any]]) -> None:
    """Refuse a ModifyDBParameterGroup that RDS would."""
    for parameter in parameters:
        name = parameter["ParameterName"]
        if name not in known(family):
            raise invalid(f"Could not find parameter with name: {name}")
        apply_type, modifiable = known(family)[name]
        if not modifiable:
            raise invalid(f"The parameter {name} cannot be modified.")
        if apply_type == STATIC and parameter.get("ApplyMethod") == "immediate":
            raise invalid(f"cannot use immediate apply method for static parameter: {name}")


def described(family: str, values: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Every parameter as DescribeDBParameters tells it; `values` are those that somebody set."""
    return [
        {
            "ParameterName": name,
            "ApplyType": apply_type,
            "IsModifiable": modifiable,
            "Source": "user" if name in values else "engine-default",
            **({"ParameterValue": values[name]["ParameterValue"]} if name in values else {}),
        }
        for name, (apply_type, modifiable) in sorted(known(family).items())
    ]
