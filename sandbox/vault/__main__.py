"""`python -m sandbox.vault`: a Vault alone, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import sys

import sandbox.vault
from sandbox.serving import argument_parser, run_program
from sandbox.vault.server import VaultServer


def main(arguments: list[str] | None = None) -> int:
    """Serve until told to end; the exit code is 0."""
    parser = argument_parser(sandbox.vault.__doc__ or "", port=8200)
    parser.add_argument(
        "--root-token", help="the dev server's root token (default: made up and printed)"
    )
    parser.add_argument(
        "--uninitialized",
        action="store_true",
        help="start sealed and empty instead of as a dev server",
    )
    options = parser.parse_args(arguments)
    dev = not options.uninitialized
    server = VaultServer(
        host=options.host, port=options.port, dev=dev, root_token=options.root_token
    ).bind()
    banner = [f"Vault at {server.url}", f"export VAULT_ADDR={server.url}"]
    if dev:
        # Shown on purpose, as `vault server -dev` does: it guards nothing but this process's
        # memory.
        banner += [f"export VAULT_TOKEN={server.root_token}", f"Unseal Key: {server.unseal_key}"]
    return run_program(server, "\n".join(banner))


if __name__ == "__main__":
    sys.exit(main())
