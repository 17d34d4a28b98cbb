"""`python -m sandbox.kubernetes`: the API server alone, over TLS, with a kubeconfig for kubectl."""

from __future__ import annotations

import csv
import os
import sys
from pathlib import Path

import sandbox.kubernetes
from sandbox.kubernetes import KubernetesApi, User, kubeconfig_text
from sandbox.serving import Server, argument_parser, make_certificate, run_program


def read_tokens(path: Path) -> dict[str, User]:
    """The users of a token file in Kubernetes' own form: `token,user,uid,"group1,group2"` a line."""
    users: dict[str, User] = {}
    with path.open(newline="") as file:
        for line in csv.reader(file):
            if not line or line[0].startswith("#"):
                continue
            if len(line) < 3:
                raise SystemExit(
                    f'{path}: a line has the form token,user,uid,"group1,group2"; one has {len(line)} fields'
                )
            token, name, uid, *groups = (field.strip() for field in line)
            users[token] = User(
                name, tuple(g for g in (groups[0] if groups else "").split(",") if g), uid
            )
    return users


def write_private(path: Path, text: str) -> None:
    """Write a file that its owner alone may read."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def main() -> int:
    """Start the server as the arguments say; ends on SIGTERM or Ctrl-C."""
    parser = argument_parser(sandbox.kubernetes.__doc__ or "", 6443)
    parser.add_argument(
        "--kubeconfig",
        type=Path,
        metavar="FILE",
        default=Path("kubeconfig"),
        help="where to write it (default: %(default)s)",
    )
    parser.add_argument(
        "--tokens",
        type=Path,
        metavar="FILE",
        help='further users, a line each: token,user,uid,"group1,group2"',
    )
    arguments = parser.parse_args()
    app = KubernetesApi(tokens=read_tokens(arguments.tokens) if arguments.tokens else None)
    server = Server(
        app, host=arguments.host, port=arguments.port, certificate=make_certificate("kubernetes")
    ).bind()
    write_private(arguments.kubeconfig, kubeconfig_text(server, app.token))
    return run_program(
        server, f"kubernetes: {server.url}  (export KUBECONFIG={arguments.kubeconfig.resolve()})"
    )


if __name__ == "__main__":
    sys.exit(main())
