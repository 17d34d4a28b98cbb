"""Who may do what: roles and their assignments, in the files of StackStorm's RBAC.

A role is a file `roles/*.yaml` (`name`, `permission_grants`: `resource_uid`, `permission_types`), an
assignment a file `assignments/*.yaml` (`username`, `roles`). `resource_uid` may be a pattern, such as
`action:kubestorm:database_*`. Files are read again when they change; a wrong one grants nothing.
Sources: st2common/models/api/rbac.py and st2common/rbac/types.py of StackStorm 3.9, and
st2rbac_backend/resolvers.py of st2-rbac-backend.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml

from stormcell.errors import InvalidInputError

T = TypeVar("T")

FOLDER = "rbac"
OWNER = "st2admin"
"""The account of whoever owns the data folder."""
SYSTEM_USERS = frozenset({OWNER, "stanley"})
"""They may do everything: the owner, and the user in whose name rules run."""
ADMIN, OPERATOR, OBSERVER = "admin", "operator", "observer"
SYSTEM_ROLES = ("system_admin", ADMIN, OPERATOR, OBSERVER)
"""Built in. `operator` is ours, the others are StackStorm's."""

_READS = frozenset({"view", "list", "search"})
_OPERATES = frozenset(
    {
        *("action_execute", "execution_rerun", "execution_stop", "inquiry_respond"),
        *("webhook_send", "action_alias_match", "action_alias_help"),
    }
)
_NOT_OPERATED = frozenset({"pack:core", "webhook:st2"})
"""Actions that run any command, call any address or send any event, and the webhook that sends any
event: whoever has one of them can speak for others.
"""
_CRUD = "list view create modify delete all"
_NAMES: dict[str, str] = {
    "runner_type": "list view modify all",
    "pack": "list view create modify delete install uninstall register config search views_index_health all",
    "sensor_type": "list view modify all",
    "action": f"{_CRUD} execute",
    "action_alias": f"{_CRUD} match help",
    "rule": _CRUD,
    "rule_enforcement": "list view",
    "execution": "list view rerun stop all views_filters_list",
    "key_value_pair": "list view set delete all",
    "webhook": "list view create send delete all",
    "timer": "list view all",
    "api_key": "list view create modify delete all",
    "trace": "list view all",
    "trigger": "list view all",
    "policy_type": "list view all",
    "policy": _CRUD,
    "inquiry": "list view respond all",
    "stream": "view",
}
_OF_PACKS = ("sensor_type", "action", "action_alias", "rule")
_GLOBAL_NAMES = {
    "pack": "install uninstall create register config search views_index_health",
    "action_alias": "match help",
    "api_key": "create",
    "policy": "create",
    "execution": "views_filters_list",
    "stream": "view",
    "inquiry": "respond view",
}
_VIEW_FOLLOWS = ("all", "create", "modify", "delete", "execute", "set", "respond")
"""What implies `view` of the same kind."""


def _types(kind: str, names: str) -> set[str]:
    return {f"{kind}_{name}" for name in names.split()}


PERMISSIONS: dict[str, frozenset[str]] = {
    kind: frozenset(_types(kind, names)) for kind, names in _NAMES.items()
}
"""Kind of resource -> the permission types that may be granted on one."""
PERMISSIONS["pack"] |= {
    each for kind in _OF_PACKS for each in PERMISSIONS[kind] - _types(kind, "list match help")
}
GLOBAL = frozenset(
    {each for types in PERMISSIONS.values() for each in types if each.endswith("_list")}
    | {each for kind, names in _GLOBAL_NAMES.items() for each in _types(kind, names)}
)
"""Permission types that are granted without a resource."""


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """What a role allows, on one resource, on those of a pattern, or, with None, globally."""

    resource_uid: str | None
    permission_types: frozenset[str]

    def allows(self, permissions: frozenset[str], uids: Iterable[str]) -> bool:
        if self.permission_types.isdisjoint(permissions):
            return False
        pattern = self.resource_uid
        return pattern is None or any(fnmatchcase(uid, pattern) for uid in uids)


class _RoleFile(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    name: str
    description: str = ""
    enabled: bool = True
    permission_grants: list[_GrantFile] = []


class _GrantFile(msgspec.Struct, kw_only=True):
    permission_types: list[str] = []
    resource_uid: str | None = None


class _AssignmentFile(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    username: str
    roles: list[str]
    description: str | None = None
    enabled: bool = True


class Role(msgspec.Struct, frozen=True, kw_only=True):
    """A role as StackStorm's API shows it; built-in ones (`system`) grant nothing by name."""

    name: str
    description: str
    system: bool
    grants: tuple[Grant, ...] = ()


class Assignment(msgspec.Struct, frozen=True, kw_only=True):
    """One role of one user; `source` is the file that says so."""

    user: str
    role: str
    source: str
    description: str


class Roles:
    """The roles of users. Reads its files again when one was changed."""

    def __init__(
        self, folder: Path, *, report: Callable[[str, str], None] = lambda file, reason: None
    ) -> None:
        """`folder` has `roles/` and `assignments/`; it need not exist. `report` hears of each file
        that grants nothing, and why, when it is read.
        """
        self._folder = folder
        self._report = report
        self._stamp: tuple[tuple[str, int, int], ...] | None = None
        self._grants: dict[str, tuple[Grant, ...]] = {}
        self._descriptions: dict[str, str] = {}
        self._assigned: dict[str, frozenset[str]] = {}
        self._assignments: list[Assignment] = []
        self._faults: dict[str, str] = {}

    @property
    def faults(self) -> Mapping[str, str]:
        """File -> what is wrong with it; it grants nothing."""
        self._read()
        return self._faults

    def all(self) -> list[Role]:
        """Every role there is, the built-in ones first."""
        self._read()
        built_in = [Role(name=name, description="", system=True) for name in SYSTEM_ROLES]
        return built_in + [
            Role(name=name, description=self._descriptions[name], system=False, grants=grants)
            for name, grants in self._grants.items()
        ]

    def assignments(self) -> list[Assignment]:
        """Every assignment of the files."""
        self._read()
        return list(self._assignments)

    def of(self, user: str) -> frozenset[str]:
        """The names of a user's roles."""
        if user in SYSTEM_USERS:
            return frozenset({"system_admin"})
        self._read()
        return self._assigned.get(user, frozenset())

    def is_admin(self, user: str) -> bool:
        return not self.of(user).isdisjoint({"system_admin", ADMIN})

    def may(
        self, user: str, permission: str, *uids: str, granted_by: str = "", otherwise: str = ""
    ) -> bool:
        """Whether a user has a permission (`action_execute`) on a resource.

        `uids` name the resource and what holds it: `action:core:local`, `pack:core`; none for what
        is global. `granted_by` is another permission that role files grant it by: whoever may
        execute an action may stop its executions. `otherwise` is the role of a user without any.
        """
        roles = self.of(user) or frozenset({otherwise})
        if not roles.isdisjoint({"system_admin", ADMIN}):
            return True
        name = permission.rpartition("_")[2]
        if name in _READS and not roles.isdisjoint({OPERATOR, OBSERVER}):
            return True
        if OPERATOR in roles and permission in _OPERATES and _NOT_OPERATED.isdisjoint(uids):
            return True
        wanted = _implied_by(permission) | (_implied_by(granted_by) if granted_by else set())
        return any(
            grant.allows(wanted, uids) for role in roles for grant in self._grants.get(role, ())
        )

    def assign(self, user: str, roles: Iterable[str]) -> None:
        """Write the assignment of a user, whole."""
        self._read()
        unknown = sorted(set(roles) - {*SYSTEM_ROLES, *self._grants})
        if unknown:
            raise InvalidInputError(
                f"There is no role {', '.join(unknown)}. Use {', '.join(SYSTEM_ROLES[1:])}, "
                f"or write {self._folder / 'roles'}/{unknown[0]}.yaml."
            )
        file = self._file_of(user)
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = file.with_suffix(".new")
        draft.write_text(yaml.safe_dump({"username": user, "roles": sorted(set(roles))}))
        draft.replace(file)

    def forget(self, user: str) -> None:
        """Remove the assignment of a user."""
        self._file_of(user).unlink(missing_ok=True)

    def _file_of(self, user: str) -> Path:
        """The file that assigns a user's roles, or where it belongs."""
        folder = self._folder / "assignments"
        for file in sorted(folder.glob("*.yaml")):
            try:
                if _parse(file, _AssignmentFile).username == user:
                    return file
            except InvalidInputError:
                continue
        name = "".join(each if each.isalnum() or each in "-_@" else "_" for each in user)
        file = folder / f"{name}.yaml"
        return file if not file.exists() else folder / f"{name}-{os.urandom(4).hex()}.yaml"

    def _read(self) -> None:
        stamp = tuple(self._files())
        if stamp == self._stamp:
            return
        self._stamp, self._faults = stamp, {}
        self._grants, self._descriptions, self._assignments = {}, {}, []
        for file in sorted((self._folder / "roles").glob("*.yaml")):
            with _Guard(file, self._faults):
                role = _parse(file, _RoleFile)
                if role.name in self._grants or role.name in SYSTEM_ROLES:
                    raise InvalidInputError(f'The role "{role.name}" exists already.')
                if role.enabled:
                    self._grants[role.name] = tuple(map(_grant, role.permission_grants))
                    self._descriptions[role.name] = role.description
        self._assigned = {}
        for file in sorted((self._folder / "assignments").glob("*.yaml")):
            with _Guard(file, self._faults):
                assignment = _parse(file, _AssignmentFile)
                if assignment.username in self._assigned:
                    raise InvalidInputError(
                        f'The user "{assignment.username}" has an assignment already.'
                    )
                if assignment.enabled:
                    self._assigned[assignment.username] = frozenset(assignment.roles)
                    self._assignments += [
                        Assignment(
                            user=assignment.username,
                            role=role_name,
                            source=f"assignments/{file.name}",
                            description=assignment.description or "",
                        )
                        for role_name in sorted(set(assignment.roles))
                    ]
        for name, reason in self._faults.items():
            self._report(name, reason)

    def _files(self) -> Iterable[tuple[str, int, int]]:
        for part in ("roles", "assignments"):
            try:
                with os.scandir(self._folder / part) as entries:
                    for entry in entries:
                        status = entry.stat()
                        yield entry.path, status.st_mtime_ns, status.st_size
            except FileNotFoundError:
                continue


class _Guard:
    """Writes down what is wrong with a file, and goes on with the next."""

    def __init__(self, file: Path, faults: dict[str, str]) -> None:
        self._name = f"{file.parent.name}/{file.name}"
        self._faults = faults

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        if not isinstance(error, InvalidInputError):
            return False
        self._faults[self._name] = str(error)
        return True


def _parse(file: Path, kind: type[T]) -> T:
    try:
        return msgspec.convert(yaml.safe_load(file.read_text(encoding="utf-8")), kind)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, msgspec.ValidationError) as error:
        raise InvalidInputError(f"{file.name} cannot be read: {error}") from error


def _grant(given: _GrantFile) -> Grant:
    """Source: RoleDefinitionFileFormatAPI.validate."""
    if given.resource_uid is None:
        allowed, where = GLOBAL, "without a resource_uid"
    else:
        kind = given.resource_uid.partition(":")[0]
        allowed, where = PERMISSIONS.get(kind, frozenset()), f'for resource type "{kind}"'
    wrong = sorted(set(given.permission_types) - allowed)
    if wrong:
        raise InvalidInputError(f'Invalid permission type "{wrong[0]}" {where}.')
    return Grant(
        resource_uid=given.resource_uid, permission_types=frozenset(given.permission_types)
    )


def _implied_by(permission: str) -> frozenset[str]:
    """The permission types that allow what `permission` allows."""
    kind, _, name = permission.rpartition("_")
    if name == "list":
        return frozenset({permission})
    names = ("view", *_VIEW_FOLLOWS) if name == "view" else (name, "all")
    return frozenset(f"{kind}_{each}" for each in names)
