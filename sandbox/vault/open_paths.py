"""What Vault answers without a token and while sealed: init, seal-status, unseal, health, leader.

These answers have no envelope. After the API pages of those names.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from sandbox.vault.core import VERSION, Core
from sandbox.vault.messages import READ, WRITE, Reply, Request, VaultError, bad_request

PATHS = frozenset({"sys/init", "sys/seal-status", "sys/unseal", "sys/health", "sys/leader"})

# role: default status, the query parameter that changes it, and the one that makes it count as
# active.
_HEALTH_CODES = {
    "active": (200, "activecode", ""),
    "standby": (429, "standbycode", "standbyok"),
    "dr-secondary": (472, "drsecondarycode", ""),
    "performance-standby": (473, "performancestandbycode", "perfstandbyok"),
}


def handle(core: Core, request: Request) -> Reply:
    """Answer one of PATHS. Raises VaultError."""
    with core.lock:
        if request.operation not in (READ, WRITE):
            raise VaultError(405, "unsupported operation")
        if request.path == "sys/health":
            return _health(core, request.query)
        if request.path == "sys/leader":
            return _leader(core)
        if request.path == "sys/unseal":
            return _unseal(core, request.data)
        if request.path == "sys/init":
            return _init(core, request)
        return Reply(raw=seal_status(core))


def seal_status(core: Core) -> dict[str, Any]:
    seal = core.seal_state
    status: dict[str, Any] = {
        "type": "shamir",
        "initialized": seal.initialized,
        "sealed": seal.sealed,
        "t": seal.threshold,
        "n": seal.shares,
        "progress": len(seal.given),
        "nonce": seal.nonce,
        "version": VERSION,
        "build_date": "2024-12-16T14:00:53Z",
        "migration": False,
        "recovery_seal": False,
        "storage_type": "inmem",
    }
    if not seal.sealed:
        status |= {"cluster_name": core.cluster_name, "cluster_id": core.cluster_id}
    return status


def _init(core: Core, request: Request) -> Reply:
    if request.operation == READ:
        return Reply(raw={"initialized": core.seal_state.initialized})
    data = request.data
    if data.get("pgp_keys") or data.get("root_token_pgp_key"):
        raise VaultError(
            501,
            "the sandbox does not encrypt key shares with PGP: leave pgp_keys and root_token_pgp_key out",
        )
    shares, threshold = int(data.get("secret_shares", 0)), int(data.get("secret_threshold", 0))
    parts, root_token = core.initialize(shares, threshold)
    return Reply(
        raw={
            "keys": [part.hex() for part in parts],
            "keys_base64": [base64.b64encode(part).decode() for part in parts],
            "root_token": root_token,
        }
    )


def _unseal(core: Core, data: Mapping[str, Any]) -> Reply:
    if not core.seal_state.initialized:
        raise bad_request("Vault is not initialized")
    if data.get("reset"):
        core.reset_unseal()
    elif not data.get("key"):
        raise bad_request("'key' must be specified in request body as JSON, or 'reset' set to true")
    else:
        core.offer_share(str(data["key"]))
    return Reply(raw=seal_status(core))


def _health(core: Core, query: Mapping[str, str]) -> Reply:
    seal = core.seal_state
    body = {
        "initialized": seal.initialized,
        "sealed": seal.sealed,
        "standby": seal.sealed or core.role in ("standby", "performance-standby"),
        "performance_standby": core.role == "performance-standby",
        "replication_performance_mode": "unknown" if seal.sealed else "disabled",
        "replication_dr_mode": "secondary" if core.role == "dr-secondary" else "disabled",
        "server_time_utc": int(core.clock()),
        "version": VERSION,
    }
    if not seal.sealed:
        body |= {"cluster_name": core.cluster_name, "cluster_id": core.cluster_id}
    return Reply(raw=body, status=_health_status(core, query))


def _health_status(core: Core, query: Mapping[str, str]) -> int:
    if not core.seal_state.initialized:
        return _code(query, "uninitcode", 501)
    if core.seal_state.sealed:
        return _code(query, "sealedcode", 503)
    status, parameter, as_active = _HEALTH_CODES[core.role]
    if as_active and as_active in query and query[as_active] != "false":
        return _code(query, "activecode", 200)
    return _code(query, parameter, status)


def _code(query: Mapping[str, str], name: str, default: int) -> int:
    value = query.get(name)
    if value is None:
        return default
    if not value.isdigit() or not 100 <= int(value) <= 599:
        raise bad_request(f"{name} must be a status code")
    return int(value)


def _leader(core: Core) -> Reply:
    if core.seal_state.sealed:
        raise VaultError(503, "Vault is sealed")
    return Reply(
        raw={
            "ha_enabled": False,
            "is_self": False,
            "active_time": "0001-01-01T00:00:00Z",
            "leader_address": "",
            "leader_cluster_address": "",
            "performance_standby": False,
            "performance_standby_last_remote_wal": 0,
        }
    )
