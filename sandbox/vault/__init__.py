"""A Vault on a loopback port that hvac, the vault command and curl drive unchanged. Everything is
in memory.

Run alone with `python -m sandbox.vault --port 8200` (a dev server, as `vault server -dev`), or with
`--uninitialized` for one that waits for `sys/init`.

What is here: init with real Shamir shares, seal, unseal, health; KV 1 and 2, cubbyhole; token,
AppRole and Kubernetes auth; ACL policies; capabilities; response wrapping.

Left out: encryption at rest, storage, HA and replication (health can be told to report them),
namespaces (the header is ignored), identity, audit devices, PGP-encrypted key shares, rekeying,
generate-root, other engines and auth methods, leases of secrets, token roles, batch tokens,
bindings to address ranges, templated policies, quotas.
"""

from sandbox.vault.kubernetes_auth import ServiceAccount
from sandbox.vault.server import VaultServer

__all__ = ["ServiceAccount", "VaultServer"]
