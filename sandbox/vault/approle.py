"""The AppRole auth method, after the API page of that name.

Address bindings and the endpoints that set a role's fields one by one are left out: write the role
instead.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from sandbox.vault.messages import (
    DELETE,
    LIST,
    NOTHING,
    READ,
    WRITE,
    Engine,
    Handler,
    Reply,
    Request,
    VaultError,
    bad_request,
    list_keys,
    not_found,
    route,
    seconds,
    string_list,
    timestamp,
)
from sandbox.vault.tokens import login, login_token_settings

if TYPE_CHECKING:
    from sandbox.vault.core import Core

INVALID = "invalid role or secret ID"


@dataclass
class SecretId:
    """One secret id of a role; `uses` 0 is without limit and `expires` None without end."""

    value: str = field(repr=False)
    accessor: str
    created: float
    ttl: float
    uses: int
    expires: float | None
    metadata: dict[str, str]


@dataclass
class Role:
    name: str
    role_id: str
    settings: dict[str, Any]
    secret_ids: dict[str, SecretId] = field(default_factory=dict, repr=False)


class AppRole(Engine):
    """The method, at one mount."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._roles: dict[str, Role] = {}

    def exists(self, inner: str) -> bool:
        match = re.fullmatch(r"role/([^/]+)", inner)
        return match is None or match[1].lower() in self._roles

    def is_login(self, inner: str) -> bool:
        return inner == "login"

    # -- roles

    def write_role(self, request: Request, match: re.Match[str]) -> Reply:
        name, data = match["name"].lower(), request.data
        role = self._roles.get(name)
        old = role.settings if role else {}
        settings = {
            "bind_secret_id": bool(data.get("bind_secret_id", old.get("bind_secret_id", True))),
            "secret_id_bound_cidrs": string_list(
                data.get("secret_id_bound_cidrs", old.get("secret_id_bound_cidrs"))
            ),
            "secret_id_num_uses": int(
                data.get("secret_id_num_uses", old.get("secret_id_num_uses", 0))
            ),
            "secret_id_ttl": int(seconds(data.get("secret_id_ttl"), old.get("secret_id_ttl", 0))),
            "local_secret_ids": bool(
                data.get("local_secret_ids", old.get("local_secret_ids", False))
            ),
            **login_token_settings(data, old),
        }
        if settings["secret_id_bound_cidrs"]:
            raise VaultError(
                501,
                "the sandbox does not bind secret ids to address ranges: leave secret_id_bound_cidrs empty",
            )
        if not settings["bind_secret_id"]:
            raise bad_request("at least one constraint should be enabled on the role")
        if role:
            role.settings = settings
        else:
            self._roles[name] = Role(name, str(data.get("role_id") or uuid.uuid4()), settings)
        return NOTHING

    def read_role(self, _request: Request, match: re.Match[str]) -> Reply:
        return Reply(dict(self._role(match).settings))

    def delete_role(self, _request: Request, match: re.Match[str]) -> Reply:
        self._roles.pop(match["name"].lower(), None)
        return NOTHING

    def list_roles(self, _request: Request, _match: re.Match[str]) -> Reply:
        return list_keys(list(self._roles), "")

    def read_role_id(self, _request: Request, match: re.Match[str]) -> Reply:
        return Reply({"role_id": self._role(match).role_id})

    def write_role_id(self, request: Request, match: re.Match[str]) -> Reply:
        role = self._role(match)
        if not request.data.get("role_id"):
            raise bad_request("missing role_id")
        role.role_id = str(request.data["role_id"])
        return NOTHING

    # -- secret ids

    def make_secret_id(self, request: Request, match: re.Match[str]) -> Reply:
        role, data = self._role(match), request.data
        ttl = seconds(data.get("ttl"), role.settings["secret_id_ttl"])
        value = str(data.get("secret_id") or uuid.uuid4())
        if match["custom"] and not data.get("secret_id"):
            raise bad_request("missing secret_id")
        now = self._core.clock()
        made = SecretId(
            value=value,
            accessor=str(uuid.uuid4()),
            created=now,
            ttl=ttl,
            uses=int(data.get("num_uses", role.settings["secret_id_num_uses"])),
            expires=now + ttl if ttl else None,
            metadata=self._metadata(data.get("metadata")),
        )
        role.secret_ids[value] = made
        return Reply(
            {
                "secret_id": value,
                "secret_id_accessor": made.accessor,
                "secret_id_num_uses": made.uses,
                "secret_id_ttl": int(ttl),
            }
        )

    def list_secret_ids(self, _request: Request, match: re.Match[str]) -> Reply:
        role = self._role(match)
        return list_keys(
            [entry.accessor for entry in list(role.secret_ids.values()) if self._live(role, entry)],
            "",
        )

    def lookup_secret_id(self, request: Request, match: re.Match[str]) -> Reply:
        role = self._role(match)
        entry = self._live(role, role.secret_ids.get(str(request.data.get("secret_id", ""))))
        return Reply(self._describe(entry)) if entry else NOTHING

    def destroy_secret_id(self, request: Request, match: re.Match[str]) -> Reply:
        self._role(match).secret_ids.pop(str(request.data.get("secret_id", "")), None)
        return NOTHING

    def lookup_accessor(self, request: Request, match: re.Match[str]) -> Reply:
        return Reply(self._describe(self._by_accessor(request, match)))

    def destroy_accessor(self, request: Request, match: re.Match[str]) -> Reply:
        self._role(match).secret_ids.pop(self._by_accessor(request, match).value)
        return NOTHING

    # -- login

    def login(self, request: Request, _match: re.Match[str]) -> Reply:
        role_id, value = (
            str(request.data.get("role_id", "")),
            str(request.data.get("secret_id", "")),
        )
        if not role_id:
            raise bad_request("missing role_id")
        role = next((role for role in self._roles.values() if role.role_id == role_id), None)
        entry = self._live(role, role.secret_ids.get(value)) if role else None
        if not role or not entry:
            raise bad_request(INVALID)
        if entry.uses:
            entry.uses -= 1
            if entry.uses == 0:
                del role.secret_ids[value]
        meta = {"role_name": role.name, **entry.metadata}
        return login(self._core, role.settings, request.path, "approle", meta)

    # -- parts

    def _role(self, match: re.Match[str]) -> Role:
        role = self._roles.get(match["name"].lower())
        if not role:
            raise not_found()
        return role

    def _live(self, role: Role, entry: SecretId | None) -> SecretId | None:
        if entry and entry.expires is not None and entry.expires <= self._core.clock():
            role.secret_ids.pop(entry.value, None)
            return None
        return entry

    def _by_accessor(self, request: Request, match: re.Match[str]) -> SecretId:
        role, accessor = self._role(match), str(request.data.get("secret_id_accessor", ""))
        for entry in list(role.secret_ids.values()):
            if entry.accessor == accessor and self._live(role, entry):
                return entry
        raise VaultError(404, f'failed to find accessor entry for secret_id_accessor: "{accessor}"')

    @staticmethod
    def _metadata(value: Any) -> dict[str, str]:
        if isinstance(value, dict):
            return {str(key): str(entry) for key, entry in value.items()}
        if not value:
            return {}
        parsed = re.findall(r'"([^"]*)"\s*:\s*"([^"]*)"', str(value))
        return dict(parsed)

    @staticmethod
    def _describe(entry: SecretId) -> dict[str, Any]:
        return {
            "cidr_list": [],
            "creation_time": timestamp(entry.created),
            "expiration_time": timestamp(entry.expires)
            if entry.expires is not None
            else "0001-01-01T00:00:00Z",
            "last_updated_time": timestamp(entry.created),
            "metadata": entry.metadata,
            "secret_id_accessor": entry.accessor,
            "secret_id_num_uses": entry.uses,
            "secret_id_ttl": int(entry.ttl),
            "token_bound_cidrs": [],
        }

    routes: ClassVar[list[tuple[re.Pattern[str], dict[str, Handler]]]] = [
        (route("login"), {WRITE: login}),
        (route("role/?"), {LIST: list_roles, READ: list_roles}),
        (route("role/{name}"), {READ: read_role, WRITE: write_role, DELETE: delete_role}),
        (route("role/{name}/role-id"), {READ: read_role_id, WRITE: write_role_id}),
        (
            route("role/{name}/(?P<custom>custom-)?secret-id/?"),
            {WRITE: make_secret_id, LIST: list_secret_ids},
        ),
        (route("role/{name}/secret-id/lookup"), {WRITE: lookup_secret_id}),
        (
            route("role/{name}/secret-id/destroy"),
            {WRITE: destroy_secret_id, DELETE: destroy_secret_id},
        ),
        (route("role/{name}/secret-id-accessor/lookup"), {WRITE: lookup_accessor}),
        (
            route("role/{name}/secret-id-accessor/destroy"),
            {WRITE: destroy_accessor, DELETE: destroy_accessor},
        ),
    ]
