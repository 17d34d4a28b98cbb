"""Commands that work on files: check a pack, back the database up, prune it."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from stormcell.checks import check_config, check_folders, connect_config
from stormcell.cli.client import Client, connection_options
from stormcell.content.config import check_schema, read_values, unknown_settings
from stormcell.content.loader import load_pack
from stormcell.content.registry import DefinitionWarning
from stormcell.errors import DefinitionError, Error
from stormcell.store.store import backup
from stormcell.times import format_instant


@click.command()
@click.argument(
    "folder", type=click.Path(exists=True, file_okay=False, path_type=Path), nargs=-1, required=True
)
@click.option(
    "--configs",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with PACK.yaml, the configuration of each pack; checked too.",
)
@click.option(
    "--connect",
    is_flag=True,
    help="Also try every address, token and right that the configuration needs.",
)
def check(folder: tuple[Path, ...], configs: Path | None, connect: bool) -> None:
    """Check the pack in FOLDER: every file, with a sentence for each fault. Exit code 1 where there
    is one. What StackStorm would refuse is refused, without a StackStorm.

    \b
    stormcell check .
    stormcell check . --configs /etc/stormcell/configs
    stormcell check . --configs /etc/stormcell/configs --connect
    """
    faults: list[Error] = [*check_folders(folder)]
    if configs and not any(not isinstance(fault, DefinitionWarning) for fault in faults):
        faults += [fault for each in folder for fault in _config_faults(each, configs)]
    for fault in faults:
        click.echo(
            ("warning: " if isinstance(fault, DefinitionWarning) else "") + str(fault), err=True
        )
    if connect:
        if configs is None:
            raise click.UsageError("--connect needs --configs.")
        packs = [load_pack(each).pack for each in folder]
        # All of them are tried, also after one that does not work.
        working = [connect_config(pack, read_values(pack, configs)) for pack in packs]
        if not all(working):
            sys.exit(1)
    wrong = [fault for fault in faults if not isinstance(fault, DefinitionWarning)]
    if wrong:
        click.echo(f"{len(wrong)} {'problem' if len(wrong) == 1 else 'problems'} found.", err=True)
        sys.exit(1)
    click.echo(f"No problems; {len(faults)} to consider." if faults else "Nothing is wrong.")


def _config_faults(folder: Path, configs: Path) -> list[Error]:
    pack = load_pack(folder).pack
    if not (configs / f"{pack.ref}.yaml").is_file():
        return [DefinitionError("does not exist.", file=str(configs / f"{pack.ref}.yaml"))]
    file = f"configs/{pack.ref}.yaml"
    try:
        values = read_values(pack, configs)
    except DefinitionError as error:
        return [error]
    faults: list[Error] = [*check_config(pack, values)]
    if any(not isinstance(fault, DefinitionWarning) for fault in faults):
        return faults  # the pack's own sentences say the same better than its schema
    faults += [
        DefinitionError(f"Unknown setting {key}.", file=file, remedy=hint)
        for key, hint in unknown_settings(pack, values)
    ]
    try:
        check_schema(pack, values, configs)
    except DefinitionError as error:
        faults.append(error)
    return faults


@click.command("backup")
@click.argument("file", type=click.Path(exists=False, path_type=Path))
@click.option(
    "--data",
    envvar="STORMCELL_DATA",
    type=click.Path(path_type=Path),
    required=True,
    help="The data folder.",
)
def backup_command(file: Path, data: Path) -> None:
    """Copy the database into FILE while stormcell runs.

    The key of the secrets, DATA/datastore-key, is not in it: keep a copy of that elsewhere. To
    restore, put both into an empty folder as stormcell.db and datastore-key and serve from there.
    """
    if file.exists():
        raise click.UsageError(f"{file} exists. Name a new file.")
    backup(data, file)
    click.echo(f"Backed up to {file}.")


@click.command()
@click.option(
    "--days",
    type=click.IntRange(min=0),
    required=True,
    help="Remove what ended more than this many days ago.",
)
@connection_options
def prune(days: int, data: Path | None, url: str | None, api_key: str | None) -> None:
    """Remove the history of finished executions and processed events. What runs, keys and content
    stay.
    """
    before = format_instant(datetime.now(UTC) - timedelta(days=days))
    counts = Client(data, url, api_key).post("/v1/prune", {"before": before}).json()
    click.echo(
        "Removed "
        + ", ".join(f"{count} {table.replace('_', ' ')}" for table, count in counts.items())
        + "."
    )
