"""`stormcell user`: who may log in with a password (`st2 login`, `st2 auth`); the file is read by a
running engine.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from stormcell.api.identity import USERS_FILE, Users

F = TypeVar("F", bound=Callable[..., Any])
_SHORTEST_PASSWORD = 8


def _data_option(command: F) -> F:
    option = click.option(
        "--data",
        required=True,
        envvar="STORMCELL_DATA",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        help="The data folder that serve was given [env: STORMCELL_DATA].",
    )
    return option(command)


@click.group()
def user() -> None:
    """Let people log in with a password.

    \b
    stormcell user add ann --data ./data            asks for the password
    pass show ann | stormcell user add ann          or reads it from stdin
    st2 login ann                                   gets a token for a day

    Passwords are kept as scrypt hashes in DATA/users. A running stormcell reads the file again when
    it changes; with a changed or removed line its tokens end.
    """


@user.command("add")
@click.argument("name")
@_data_option
def add(name: str, data: Path) -> None:
    """Add a user, or change the password."""
    if sys.stdin.isatty():
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    else:
        password = sys.stdin.readline().rstrip("\n")
    if len(password) < _SHORTEST_PASSWORD:
        raise click.ClickException(f"A password has at least {_SHORTEST_PASSWORD} characters.")
    Users(data / USERS_FILE).put(name, password)
    click.echo(f"{name} may log in.")


@user.command("remove")
@click.argument("name")
@_data_option
def remove(name: str, data: Path) -> None:
    """Remove a user; tokens that were given end."""
    if not Users(data / USERS_FILE).remove(name):
        raise click.ClickException(f'There is no user "{name}". `stormcell user list` shows them.')
    click.echo(f"{name} may not log in any more.")


@user.command("list")
@_data_option
def list_users(data: Path) -> None:
    """Show who may log in."""
    for name in Users(data / USERS_FILE).names():
        click.echo(name)
