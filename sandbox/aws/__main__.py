"""`python -m sandbox.aws`: AWS alone, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import sys

import sandbox.aws
from sandbox.aws.server import DEFAULT_PROVISION_SECONDS, AwsServer
from sandbox.serving import argument_parser, run_program


def main(arguments: list[str] | None = None) -> int:
    """Serve until told to end; the exit code is 0."""
    parser = argument_parser(sandbox.aws.__doc__ or "", port=5000)
    parser.add_argument(
        "--provision-seconds",
        type=float,
        default=DEFAULT_PROVISION_SECONDS,
        help="how long an RDS instance takes to become available (default: %(default)s)",
    )
    options = parser.parse_args(arguments)
    server = AwsServer(
        host=options.host, port=options.port, provision_seconds=options.provision_seconds
    ).bind()
    return run_program(server, f"AWS (moto) at {server.url}\nexport AWS_ENDPOINT_URL={server.url}")


if __name__ == "__main__":
    sys.exit(main())
