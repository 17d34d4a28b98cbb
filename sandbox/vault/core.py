"""Vault's core: the seal, the mounts, the policies, and the way of a request through them.

It knows nothing of HTTP. All calls come in under one lock, from the server's threads or from a
test.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sandbox.clock import Clock
from sandbox.vault import shamir
from sandbox.vault.approle import AppRole
from sandbox.vault.kubernetes_auth import KubernetesAuth, TokenReviewer
from sandbox.vault.kv import Cubbyhole, KvV1, KvV2
from sandbox.vault.messages import (
    DELETE,
    LIST,
    PATCH,
    READ,
    WRITE,
    Engine,
    Reply,
    Request,
    VaultError,
    bad_request,
    denied,
)
from sandbox.vault.policies import DEFAULT_POLICY, Acl, PolicyError, Rule, parse_policy
from sandbox.vault.tokens import DEFAULT_POLICY_NAME, ROOT_POLICY, Token, TokenAuth, TokenStore

VERSION = "1.18.3"
WRAPPING_POLICY = "response-wrapping"
_WRAPPING_RULES = parse_policy('path "sys/wrapping/unwrap" { capabilities = ["update"] }')


@dataclass
class Mount:
    """An engine at a path (with its trailing slash), and what sys/mounts or sys/auth tells about
    it.
    """

    path: str
    kind: str
    engine: Engine
    description: str = ""
    options: dict[str, str] | None = None
    config: dict[str, Any] = field(default_factory=dict)
    local: bool = False
    accessor: str = ""
    uuid: str = field(default_factory=lambda: str(uuid.uuid4()))

    def __post_init__(self) -> None:
        self.accessor = self.accessor or f"{self.kind}_{secrets.token_hex(4)}"
        self.config = {
            "default_lease_ttl": 0,
            "max_lease_ttl": 0,
            "force_no_cache": False,
            **self.config,
        }

    def describe(self) -> dict[str, Any]:
        return {
            "accessor": self.accessor,
            "config": self.config,
            "description": self.description,
            "external_entropy_access": False,
            "local": self.local,
            "options": self.options,
            "plugin_version": "",
            "running_plugin_version": "",
            "running_sha256": "",
            "deprecation_status": "supported",
            "seal_wrap": False,
            "type": self.kind,
            "uuid": self.uuid,
        }


@dataclass
class Seal:
    """The unseal key's state. In memory nothing is encrypted: a sealed core refuses, that is all."""

    shares: int = 0
    threshold: int = 0
    digest: bytes = field(default=b"", repr=False)
    sealed: bool = True
    nonce: str = ""
    given: list[bytes] = field(default_factory=list, repr=False)

    @property
    def initialized(self) -> bool:
        return bool(self.digest)


class Core:
    """One Vault. `handle` answers a request; the other public methods are for the system engine and
    for tests.
    """

    def __init__(self, clock: Clock, reviewer: TokenReviewer | None = None) -> None:
        self.clock = clock
        self.lock = threading.RLock()
        self.cluster_id = str(uuid.uuid4())
        self.cluster_name = f"vault-cluster-{secrets.token_hex(4)}"
        # What sys/health reports: active, standby, performance-standby or dr-secondary. Requests
        # are served all the same.
        self.role = "active"
        self.seal_state = Seal()
        self.policies: dict[str, tuple[str, list[Rule]]] = {}
        self.tokens = TokenStore(clock)
        self.mounts: dict[str, Mount] = {}
        self.auths: dict[str, Mount] = {}
        self.wrapped: dict[str, dict[str, Any]] = {}
        self._reviewer = reviewer
        self._secret_kinds: dict[str, Callable[[dict[str, str]], Engine]] = {
            "kv": lambda options: KvV2(clock) if options.get("version") == "2" else KvV1(),
            "kv-v2": lambda _options: KvV2(clock),
            "generic": lambda _options: KvV1(),
        }
        self._auth_kinds: dict[str, Callable[[], Engine]] = {
            "approle": lambda: AppRole(self),
            "kubernetes": lambda: KubernetesAuth(self, self._reviewer),
        }

    # -- seal

    def initialize(
        self, shares: int, threshold: int, root_token: str = ""
    ) -> tuple[list[bytes], str]:
        """Make the unseal key and the root token; returns the key's shares and the token. Raises
        VaultError.
        """
        if self.seal_state.initialized:
            raise bad_request("Vault is already initialized")
        if problem := shares_problem(shares, threshold):
            raise bad_request(f"invalid seal configuration: {problem}")
        key = secrets.token_bytes(32)
        parts = [key] if shares == 1 else shamir.split(key, shares, threshold)
        self.seal_state = Seal(shares=shares, threshold=threshold, digest=_digest(key))
        self._set_up()
        root = self.tokens.create(
            policies=[ROOT_POLICY], path="auth/token/root", token_id=root_token, display_name="root"
        )
        return parts, root.id

    def _set_up(self) -> None:
        from sandbox.vault.system import (
            System,
        )  # system needs the core's classes, and the core one instance of it

        self.policies = {DEFAULT_POLICY_NAME: (DEFAULT_POLICY, parse_policy(DEFAULT_POLICY))}
        self.mounts = {
            "cubbyhole/": Mount(
                "cubbyhole/",
                "cubbyhole",
                Cubbyhole(),
                "per-token private secret storage",
                local=True,
            ),
            "sys/": Mount(
                "sys/",
                "system",
                System(self),
                "system endpoints used for control, policy and debugging",
            ),
        }
        self.auths = {
            "token/": Mount("token/", "token", TokenAuth(self), "token based credentials")
        }

    def offer_share(self, encoded: str) -> None:
        """Take one share of the key; the last one needed unseals. Raises VaultError for a wrong
        one.
        """
        seal = self.seal_state
        if not seal.sealed:
            return
        share = decode_share(encoded)
        if share not in seal.given:
            seal.given.append(share)
        seal.nonce = seal.nonce or str(uuid.uuid4())
        if len(seal.given) < seal.threshold:
            return
        given, seal.given, seal.nonce = seal.given, [], ""
        try:
            key = given[0] if seal.threshold == 1 else shamir.combine(given)
        except ValueError as error:
            raise bad_request(f"failed to compute combined key: {error}") from None
        if not hmac.compare_digest(_digest(key), seal.digest):
            raise bad_request(
                "failed to decrypt encrypted stored keys: cipher: message authentication failed"
            )
        seal.sealed = False

    def reset_unseal(self) -> None:
        self.seal_state.given, self.seal_state.nonce = [], ""

    def seal(self) -> None:
        """Refuse everything but the unsealing until it is unsealed."""
        self.seal_state.sealed = True
        self.reset_unseal()

    # -- mounts

    def mount_secrets(
        self, path: str, kind: str, options: dict[str, str] | None = None, **rest: Any
    ) -> Mount:
        """Enable a secrets engine at a path. Raises VaultError."""
        maker = self._secret_kinds.get(kind)
        if not maker:
            raise bad_request(
                f"plugin not found in the catalog: {kind} (the sandbox has: {', '.join(self._secret_kinds)})"
            )
        if kind == "kv-v2":
            kind, options = "kv", {**(options or {}), "version": "2"}
        taken = [other for other in self.mounts if other.startswith(path) or path.startswith(other)]
        if taken or path.startswith("auth/"):
            raise bad_request(f"path is already in use at {taken[0] if taken else 'auth/'}")
        self.mounts[path] = Mount(path, kind, maker(options or {}), options=options or None, **rest)
        return self.mounts[path]

    def mount_auth(self, path: str, kind: str, **rest: Any) -> Mount:
        """Enable an auth method at a path below auth/. Raises VaultError."""
        maker = self._auth_kinds.get(kind)
        if not maker:
            raise bad_request(
                f"plugin not found in the catalog: {kind} (the sandbox has: {', '.join(self._auth_kinds)})"
            )
        if path in self.auths:
            raise bad_request(f"path is already in use at {path}")
        self.auths[path] = Mount(path, kind, maker(), **rest)
        return self.auths[path]

    def upgrade_to_v2(self, mount: Mount) -> None:
        """Change an empty version 1 store into version 2, as tuning `options.version` does."""
        mount.engine = KvV2(self.clock)
        mount.options = {**(mount.options or {}), "version": "2"}

    def find_mount(self, path: str) -> tuple[Mount, str] | None:
        """The mount a path belongs to, and the path within it."""
        table, prefix = (self.auths, "auth/") if path.startswith("auth/") else (self.mounts, "")
        rest = path[len(prefix) :]
        fitting = [mount for mount in table.values() if rest.startswith(mount.path)]
        if not fitting:
            return None
        mount = max(fitting, key=lambda candidate: len(candidate.path))
        return mount, rest[len(mount.path) :]

    # -- policies and tokens

    def set_policy(self, name: str, text: str) -> None:
        """Store a policy. Raises VaultError if it cannot be read or may not be changed."""
        if name == ROOT_POLICY:
            raise bad_request('cannot update "root" policy')
        try:
            self.policies[name] = (text, parse_policy(text))
        except PolicyError as error:
            raise bad_request(str(error)) from None

    def acl(self, token: Token) -> Acl:
        """What a token's policies allow at this moment."""
        rules = [rule for name in token.policies for rule in self.policies.get(name, ("", []))[1]]
        if WRAPPING_POLICY in token.policies:
            rules += _WRAPPING_RULES
        return Acl(rules, root=token.is_root)

    def revoke(self, token: Token) -> None:
        self.tokens.revoke(token)
        cubbyhole = self.mounts["cubbyhole/"].engine
        if isinstance(cubbyhole, Cubbyhole):
            cubbyhole.forget(token.id)
        self.wrapped.pop(token.id, None)

    def wrap(self, body: dict[str, Any], ttl: float, path: str) -> Token:
        """Put an answer away under a token that can be used once."""
        token = self.tokens.create(
            policies=[WRAPPING_POLICY], path=path, ttl=ttl, num_uses=1, renewable=False
        )
        self.wrapped[token.id] = body
        return token

    # -- requests

    def handle(self, request: Request) -> Reply:
        """Answer one request. Raises VaultError."""
        with self.lock:
            if self.seal_state.sealed:
                raise VaultError(503, "Vault is sealed")
            found = self.find_mount(request.path)
            if found and found[0].engine.is_login(found[1]):
                request.inner = found[1]
                return found[0].engine.handle(request)
            request.token = self._authenticate(request.token_id)
            return self._authorized(request, found)

    def _authenticate(self, token_id: str) -> Token:
        token = self.tokens.find(token_id) if token_id else None
        if not token:
            raise denied()
        return token

    def _authorized(self, request: Request, found: tuple[Mount, str] | None) -> Reply:
        token: Token = request.token
        engine, inner = (found[0].engine, found[1]) if found else (None, "")
        request.inner = inner
        last_use = self._count_use(token)
        try:
            sudo = bool(engine and engine.needs_sudo(inner, request.operation))
            if not self.acl(token).allows(
                request.path, self._capability(request, engine), request.data, sudo=sudo
            ):
                raise denied()
            if not engine:
                raise VaultError(
                    404, f'no handler for route "{request.path}". route entry not found.'
                )
            return engine.handle(request)
        finally:
            if last_use:
                self.revoke(token)

    @staticmethod
    def _count_use(token: Token) -> bool:
        """Count one use of a limited token; whether it was the last."""
        if not token.num_uses:
            return False
        token.num_uses -= 1
        return token.num_uses == 0

    @staticmethod
    def _capability(request: Request, engine: Engine | None) -> str:
        simple = {READ: "read", LIST: "list", DELETE: "delete", PATCH: "patch"}
        if request.operation != WRITE:
            return simple[request.operation]
        return "update" if engine is None or engine.exists(request.inner) else "create"


def shares_problem(shares: int, threshold: int) -> str | None:
    """What is wrong with a number of key shares and a threshold, in Vault's words."""
    checks = [
        (shares < 1, "shares must be at least one"),
        (threshold < 1, "threshold must be at least one"),
        (shares > 1 and threshold == 1, "threshold must be greater than one for multiple shares"),
        (shares > 255, "shares must be less than 256"),
        (threshold > 255, "threshold must be less than 256"),
        (threshold > shares, "threshold cannot be larger than shares"),
    ]
    return next((problem for wrong, problem in checks if wrong), None)


def decode_share(encoded: str) -> bytes:
    """A key share from hex or base64. Raises VaultError."""
    try:
        return binascii.unhexlify(encoded)
    except (binascii.Error, ValueError):
        pass
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise bad_request("'key' must be a valid hex or base64 string") from None


def _digest(key: bytes) -> bytes:
    return hmac.digest(b"unseal", key, "sha256")
