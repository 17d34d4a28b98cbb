"""The engine at sys/: mounts, auth methods, policies, capabilities, leases, wrapping, sealing.

After the API pages "System backend". What answers without a token is in `open_paths.py`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar

from sandbox.vault.kv import KvV2
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
    denied,
    not_found,
    route,
    seconds,
    string_list,
    timestamp,
)
from sandbox.vault.tokens import (
    DEFAULT_POLICY_NAME,
    DEFAULT_TTL_SECONDS,
    MAX_TTL_SECONDS,
    ROOT_POLICY,
    Token,
)

if TYPE_CHECKING:
    from sandbox.vault.core import Core, Mount

_SUDO = re.compile(r"auth/.+|seal|leases/revoke-prefix/.*|leases/revoke-force/.*|leases/lookup/.*")
_KEPT_MOUNTS = ("sys/", "cubbyhole/")
BAD_WRAPPING_TOKEN = "wrapping token is not valid or does not exist"


class System(Engine):
    """The one system engine of a core."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def needs_sudo(self, inner: str, _operation: str) -> bool:
        return _SUDO.fullmatch(inner) is not None

    def is_login(self, inner: str) -> bool:
        # Both prove themselves: unwrapping by the wrapping token it is given, the mount preview by
        # its own check.
        return inner == "wrapping/unwrap" or inner.startswith("internal/ui/mounts")

    # -- secrets engines and auth methods

    def list_mounts(self, _request: Request, _match: re.Match[str]) -> Reply:
        return Reply(
            {mount.path: mount.describe() for mount in self._core.mounts.values()}, flat=True
        )

    def list_auths(self, _request: Request, _match: re.Match[str]) -> Reply:
        return Reply(
            {mount.path: mount.describe() for mount in self._core.auths.values()}, flat=True
        )

    def read_mount(self, _request: Request, match: re.Match[str]) -> Reply:
        return Reply(self._mount(match).describe(), flat=True)

    def read_auth(self, _request: Request, match: re.Match[str]) -> Reply:
        return Reply(self._auth(match).describe(), flat=True)

    def enable_mount(self, request: Request, match: re.Match[str]) -> Reply:
        data = request.data
        if not data.get("type"):
            raise bad_request("backend type must be specified as a string")
        options = {str(key): str(value) for key, value in (data.get("options") or {}).items()}
        self._core.mount_secrets(
            f"{match['path'].strip('/')}/",
            str(data["type"]),
            options,
            description=str(data.get("description", "")),
            config=_mount_config(data.get("config") or {}),
            local=bool(data.get("local")),
        )
        return NOTHING

    def enable_auth(self, request: Request, match: re.Match[str]) -> Reply:
        data = request.data
        if not data.get("type"):
            raise bad_request("backend type must be specified as a string")
        path = f"{match['path'].strip('/')}/"
        self._core.mount_auth(
            path,
            str(data["type"]),
            description=str(data.get("description", "")),
            config=_mount_config(data.get("config") or {}),
            local=bool(data.get("local")),
        )
        return NOTHING

    def disable_mount(self, _request: Request, match: re.Match[str]) -> Reply:
        path = f"{match['path'].strip('/')}/"
        if path in _KEPT_MOUNTS:
            raise bad_request(f"cannot unmount {path!r}")
        self._core.mounts.pop(path, None)
        return NOTHING

    def disable_auth(self, _request: Request, match: re.Match[str]) -> Reply:
        path = f"{match['path'].strip('/')}/"
        if path == "token/":
            raise bad_request("token credential backend cannot be disabled")
        if self._core.auths.pop(path, None):
            self._core.tokens.revoke_path(f"auth/{path}")
        return NOTHING

    def read_tune(self, _request: Request, match: re.Match[str]) -> Reply:
        return _tuning(self._mount(match))

    def read_auth_tune(self, _request: Request, match: re.Match[str]) -> Reply:
        return _tuning(self._auth(match))

    def tune_mount(self, request: Request, match: re.Match[str]) -> Reply:
        mount = self._mount(match)
        _tune(mount, request.data)
        version = str((request.data.get("options") or {}).get("version", ""))
        now = "2" if isinstance(mount.engine, KvV2) else "1"
        if mount.kind == "kv" and version and version != now:
            if version == "1":
                raise bad_request("cannot downgrade mount from version 2 to version 1")
            self._core.upgrade_to_v2(mount)
        return NOTHING

    def tune_auth(self, request: Request, match: re.Match[str]) -> Reply:
        _tune(self._auth(match), request.data)
        return NOTHING

    def preview_mounts(self, request: Request, _match: re.Match[str]) -> Reply:
        token = self._core.tokens.find(request.token_id)
        if not token:
            return Reply({"auth": {}, "secret": {}})
        acl = self._core.acl(token)
        secret = {m.path: _preview(m) for m in self._core.mounts.values() if acl.reaches(m.path)}
        auth = {
            m.path: _preview(m) for m in self._core.auths.values() if acl.reaches(f"auth/{m.path}")
        }
        return Reply({"auth": auth, "secret": secret})

    def preview_mount(self, request: Request, match: re.Match[str]) -> Reply:
        """What the CLI and hvac ask before a read, to learn an engine's version."""
        path = match["path"]
        refusal = denied(
            f'preflight capability check returned 403, please ensure client\'s policies grant access to path "{path}/"'
        )
        token = self._core.tokens.find(request.token_id)
        if not token:
            raise denied()
        found = self._core.find_mount(f"{path.rstrip('/')}/")
        if not found:
            raise refusal
        mount = found[0]
        full = f"auth/{mount.path}" if path.startswith("auth/") else mount.path
        if not self._core.acl(token).reaches(full):
            raise refusal
        return Reply(
            {**_preview(mount), "path": full, "accessor": mount.accessor, "uuid": mount.uuid}
        )

    # -- policies

    def list_policies(self, _request: Request, _match: re.Match[str]) -> Reply:
        return Reply({"keys": sorted([*self._core.policies, ROOT_POLICY])})

    def list_policies_of_old(self, _request: Request, _match: re.Match[str]) -> Reply:
        names = sorted([*self._core.policies, ROOT_POLICY])
        return Reply({"keys": names, "policies": names}, flat=True)

    def read_policy(self, _request: Request, match: re.Match[str]) -> Reply:
        return Reply({"name": match["name"].lower(), "policy": self._policy_text(match)})

    def read_policy_of_old(self, _request: Request, match: re.Match[str]) -> Reply:
        return Reply({"name": match["name"].lower(), "rules": self._policy_text(match)}, flat=True)

    def write_policy(self, request: Request, match: re.Match[str]) -> Reply:
        text = request.data.get("policy", request.data.get("rules"))
        if not text:
            raise bad_request("'policy' parameter not supplied or empty")
        self._core.set_policy(match["name"].lower(), str(text))
        return NOTHING

    def delete_policy(self, _request: Request, match: re.Match[str]) -> Reply:
        name = match["name"].lower()
        if name in (DEFAULT_POLICY_NAME, ROOT_POLICY):
            raise bad_request(f'cannot delete "{name}" policy')
        self._core.policies.pop(name, None)
        return NOTHING

    def _policy_text(self, match: re.Match[str]) -> str:
        name = match["name"].lower()
        if name == ROOT_POLICY:
            return ""
        if name not in self._core.policies:
            raise not_found()
        return self._core.policies[name][0]

    # -- capabilities

    def capabilities_self(self, request: Request, _match: re.Match[str]) -> Reply:
        return self._capabilities(request.token, request)

    def capabilities(self, request: Request, _match: re.Match[str]) -> Reply:
        return self._capabilities(
            self._core.tokens.find(str(request.data.get("token", ""))), request
        )

    def capabilities_accessor(self, request: Request, _match: re.Match[str]) -> Reply:
        return self._capabilities(
            self._core.tokens.find_accessor(str(request.data.get("accessor", ""))), request
        )

    def _capabilities(self, token: Token | None, request: Request) -> Reply:
        if not token:
            raise bad_request("invalid token")
        paths = string_list(request.data.get("paths") or request.data.get("path"))
        if not paths:
            raise bad_request("paths must be supplied")
        acl = self._core.acl(token)
        answer: dict[str, Any] = {
            path: sorted(acl.capabilities(path.removeprefix("/"))) for path in paths
        }
        if len(paths) == 1:
            answer["capabilities"] = answer[paths[0]]
        return Reply(answer, flat=True)

    # -- leases: no engine here gives any out, so there is none to find

    def no_lease(self, request: Request, _match: re.Match[str]) -> Reply:
        if not request.data.get("lease_id"):
            raise bad_request("lease_id must be specified")
        raise bad_request(
            "invalid lease" if request.inner == "leases/lookup" else "lease not found"
        )

    def revoke_lease(self, _request: Request, _match: re.Match[str]) -> Reply:
        return NOTHING

    def revoke_prefix(self, _request: Request, match: re.Match[str]) -> Reply:
        self._core.tokens.revoke_path(match["path"])
        return NOTHING

    # -- wrapping

    def wrap(self, request: Request, _match: re.Match[str]) -> Reply:
        # Only reached without a wrapping time; with one the HTTP face wraps whatever is answered
        # here.
        return Reply(dict(request.data))

    def wrapping_lookup(self, request: Request, _match: re.Match[str]) -> Reply:
        token = self._core.tokens.find(str(request.data.get("token", "")))
        if not token or token.id not in self._core.wrapped:
            raise bad_request(BAD_WRAPPING_TOKEN)
        return Reply(
            {
                "creation_path": token.path,
                "creation_time": timestamp(token.created),
                "creation_ttl": int(token.ttl),
            }
        )

    def unwrap(self, request: Request, _match: re.Match[str]) -> Reply:
        token = self._core.tokens.find(str(request.data.get("token") or request.token_id))
        body = self._core.wrapped.get(token.id) if token else None
        if not token or body is None:
            raise bad_request(BAD_WRAPPING_TOKEN)
        self._core.revoke(token)
        return Reply(raw=body)

    # -- sealing and the rest

    def seal(self, _request: Request, _match: re.Match[str]) -> Reply:
        self._core.seal()
        return NOTHING

    def no_audit(self, _request: Request, _match: re.Match[str]) -> Reply:
        return Reply({}, flat=True)

    def _mount(self, match: re.Match[str]) -> Mount:
        return _find(self._core.mounts, match)

    def _auth(self, match: re.Match[str]) -> Mount:
        return _find(self._core.auths, match)

    routes: ClassVar[list[tuple[re.Pattern[str], dict[str, Handler]]]] = [
        (route("mounts/?"), {READ: list_mounts}),
        (route("mounts/{path*}/tune"), {READ: read_tune, WRITE: tune_mount}),
        (route("mounts/{path*}"), {READ: read_mount, WRITE: enable_mount, DELETE: disable_mount}),
        (route("auth/?"), {READ: list_auths}),
        (route("auth/{path*}/tune"), {READ: read_auth_tune, WRITE: tune_auth}),
        (route("auth/{path*}"), {READ: read_auth, WRITE: enable_auth, DELETE: disable_auth}),
        (route("internal/ui/mounts/?"), {READ: preview_mounts}),
        (route("internal/ui/mounts/{path*}"), {READ: preview_mount}),
        (route("policies/acl/?"), {LIST: list_policies, READ: list_policies}),
        (
            route("policies/acl/{name}"),
            {READ: read_policy, WRITE: write_policy, DELETE: delete_policy},
        ),
        (route("policy/?"), {LIST: list_policies_of_old, READ: list_policies_of_old}),
        (
            route("policy/{name}"),
            {READ: read_policy_of_old, WRITE: write_policy, DELETE: delete_policy},
        ),
        (route("capabilities-self"), {WRITE: capabilities_self}),
        (route("capabilities"), {WRITE: capabilities}),
        (route("capabilities-accessor"), {WRITE: capabilities_accessor}),
        (route("leases/lookup|leases/renew|renew"), {WRITE: no_lease}),
        (route("leases/revoke(/.*)?|revoke(/.*)?"), {WRITE: revoke_lease}),
        (route("leases/revoke-prefix/{path*}"), {WRITE: revoke_prefix}),
        (route("wrapping/wrap"), {WRITE: wrap}),
        (route("wrapping/lookup"), {WRITE: wrapping_lookup}),
        (route("wrapping/unwrap"), {WRITE: unwrap}),
        (route("seal"), {WRITE: seal}),
        (route("audit/?"), {READ: no_audit}),
    ]


def _find(table: dict[str, Mount], match: re.Match[str]) -> Mount:
    path = f"{match['path'].strip('/')}/"
    if path not in table:
        raise VaultError(400, f"No secret engine mount at {path}")
    return table[path]


def _mount_config(config: dict[str, Any]) -> dict[str, Any]:
    known = {
        key: int(seconds(config[key]))
        for key in ("default_lease_ttl", "max_lease_ttl")
        if key in config
    }
    return {**config, **known}


def _tuning(mount: Mount) -> Reply:
    config = mount.config
    data = {
        **config,
        "description": mount.description,
        "default_lease_ttl": config["default_lease_ttl"] or DEFAULT_TTL_SECONDS,
        "max_lease_ttl": config["max_lease_ttl"] or MAX_TTL_SECONDS,
    }
    if mount.options:
        data["options"] = mount.options
    return Reply(data, flat=True)


def _tune(mount: Mount, data: dict[str, Any]) -> None:
    mount.description = str(data.get("description", mount.description))
    rest = {key: value for key, value in data.items() if key not in ("description", "options")}
    mount.config.update(_mount_config(rest))


def _preview(mount: Mount) -> dict[str, Any]:
    shown = (
        "config",
        "description",
        "external_entropy_access",
        "local",
        "options",
        "seal_wrap",
        "type",
    )
    described = mount.describe()
    return {key: described[key] for key in shown}
