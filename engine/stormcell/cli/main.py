"""The commands, and how an error reaches a person: one sentence on standard error and an exit code."""

from __future__ import annotations

import sys
from typing import Any

import click

from stormcell.cli.asking import emit, executions, reload_content, run, why
from stormcell.cli.files import backup_command, check, prune
from stormcell.cli.serve import serve
from stormcell.cli.users import user
from stormcell.errors import Error


class _Group(click.Group):
    """Turns our errors into click's, and lists commands in the order a newcomer needs them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except Error as error:
            raise click.ClickException(str(error)) from error
        except BrokenPipeError:
            sys.exit(0)


@click.group(
    cls=_Group,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Each command teaches itself: stormcell COMMAND --help.",
)
@click.version_option(package_name="kubestorm", prog_name="stormcell")
def main() -> None:
    """Run StackStorm packs in one process over one SQLite file.

    \b
    stormcell check ./mypack                            is the pack right?
    stormcell serve --pack ./mypack --data ./data       run it; another terminal:
    export STORMCELL_DATA=./data                        where the address and the key are
    stormcell run mypack.hello name=World               run an action
    echo '{"n": 1}' | stormcell emit mypack.event --payload - --wait
    stormcell why ID                                    why did, or did not, something happen?
    """


for command in (
    serve,
    check,
    run,
    emit,
    why,
    executions,
    reload_content,
    backup_command,
    prune,
    user,
):
    main.add_command(command)
