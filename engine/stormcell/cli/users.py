"""`stormcell user`: who may call, by password or key, and with which roles; a running engine reads
the files.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from stormcell.api.identity import USERS_FILE, Users
from stormcell.cli.client import Client
from stormcell.errors import InvalidInputError
from stormcell.rbac import ADMIN, FOLDER, OBSERVER, OPERATOR, Roles

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


def _role_option(command: F) -> F:
    option = click.option(
        "--role",
        "roles",
        multiple=True,
        help=f"{ADMIN}, {OPERATOR}, {OBSERVER}, or the name of a file in DATA/rbac/roles; several are allowed.",
    )
    return option(command)


@click.group()
def user() -> None:
    """Let people log in with a password, and programs call with a key.

    \b
    stormcell user add ann --role operator --data ./data   asks for the password
    pass show ann | stormcell user add ann                 or reads it from stdin
    st2 login ann                                          gets a token for a day
    stormcell user add hubot --service --role operator     an account without a password
    stormcell user key hubot                               makes and prints its key

    Passwords are kept as scrypt hashes in DATA/users, roles in DATA/rbac/assignments. A running
    stormcell reads the files again when they change; with a removed user all tokens and keys end.
    """


@user.command("add")
@click.argument("name")
@_role_option
@click.option("--service", is_flag=True, help="An account of a program: no password, keys alone.")
@_data_option
def add(name: str, roles: Sequence[str], service: bool, data: Path) -> None:
    """Add a user, or change the password; a new one without --role is an observer."""
    users, assignments = Users(data / USERS_FILE), Roles(data / FOLDER)
    is_new = users.account(name) is None
    password = None if service else _password()
    try:
        users.put(name, password)
        if roles or (is_new and not assignments.of(name)):
            assignments.assign(name, roles or [OBSERVER])
    except InvalidInputError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{name} may {'call with a key' if service else 'log in'} ({_roles(data, name)}).")


@user.command("role")
@click.argument("name")
@_role_option
@_data_option
def role(name: str, roles: Sequence[str], data: Path) -> None:
    """Set the roles of a user; without --role: none."""
    _known(data, name)
    try:
        Roles(data / FOLDER).assign(name, roles)
    except InvalidInputError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{name}: {_roles(data, name)}.")


@user.command("key")
@click.argument("name")
@click.option(
    "--scope", "scopes", multiple=True, help="admin, execute or webhook:NAME; may repeat."
)
@_data_option
def key(name: str, scopes: Sequence[str], data: Path) -> None:
    """Make a key of a service account, and print it for the only time; stormcell has to run."""
    _known(data, name)
    body = {"user": name, "metadata": {"scopes": list(scopes)} if scopes else {}}
    click.echo(Client(data, None, None).post("/v1/apikeys", body).json()["key"])


@user.command("remove")
@click.argument("name")
@_data_option
def remove(name: str, data: Path) -> None:
    """Remove a user; tokens, keys and roles end."""
    _known(data, name)
    Users(data / USERS_FILE).remove(name)
    Roles(data / FOLDER).forget(name)
    click.echo(f"{name} may not log in any more.")


@user.command("list")
@_data_option
def list_users(data: Path) -> None:
    """Show who may call, and with which roles."""
    for name in Users(data / USERS_FILE).names():
        click.echo(f"{name}  {_roles(data, name)}")
    for file, reason in Roles(data / FOLDER).faults.items():
        click.echo(f"{file} grants nothing: {reason}", err=True)


def _known(data: Path, name: str) -> None:
    if Users(data / USERS_FILE).account(name) is None:
        raise click.ClickException(f'There is no user "{name}". `stormcell user list` shows them.')


def _roles(data: Path, name: str) -> str:
    return ", ".join(sorted(Roles(data / FOLDER).of(name))) or "no role"


def _password() -> str:
    if sys.stdin.isatty():
        password = str(click.prompt("Password", hide_input=True, confirmation_prompt=True))
    else:
        password = sys.stdin.readline().rstrip("\n")
    if len(password) < _SHORTEST_PASSWORD:
        raise click.ClickException(f"A password has at least {_SHORTEST_PASSWORD} characters.")
    return password
