"""`python -m sandbox.consul`: a Consul alone, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import sys

import sandbox.consul
from sandbox.consul.server import ConsulServer
from sandbox.serving import argument_parser, run_program


def main(arguments: list[str] | None = None) -> int:
    """Serve until told to end; the exit code is 0."""
    parser = argument_parser(sandbox.consul.__doc__ or "", port=8500)
    parser.add_argument(
        "--default-policy", choices=("allow", "deny"), default="allow", help="deny turns ACLs on"
    )
    options = parser.parse_args(arguments)
    server = ConsulServer(
        host=options.host, port=options.port, default_policy=options.default_policy
    ).bind()
    return run_program(server, f"Consul at {server.url}\nexport CONSUL_HTTP_ADDR={server.url}")


if __name__ == "__main__":
    sys.exit(main())
