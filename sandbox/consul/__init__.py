"""A Consul on a loopback port that py-consul, the consul command's HTTP calls and curl drive
unchanged. Everything is in memory.

Run alone with `python -m sandbox.consul --port 8500`.

What is here: the KV store with check-and-set, locks, transactions and blocking queries that wake by
prefix; sessions; the agent's services and checks; catalog and health; events; status; ACL policies
and tokens.

Left out: gossip, raft and more than one server or data centre; running HTTP, TCP, gRPC and script
checks; filter expressions; prepared queries, connect, configuration entries, snapshots,
coordinates, operator endpoints; ACL roles, auth methods and token expiry; transactions on nodes,
services and checks.
"""

from sandbox.consul.server import ConsulServer

__all__ = ["ConsulServer"]
