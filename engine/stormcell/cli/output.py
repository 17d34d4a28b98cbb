"""Tables that fit the terminal, colours only on one, and an execution as a person reads it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from typing import Any

import click
import msgspec

_COLORS = {
    "succeeded": "green",
    "failed": "red",
    "timeout": "red",
    "abandoned": "red",
    "canceled": "yellow",
}
_NARROWEST = 8


def print_table(headings: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print columns; where the terminal is too narrow the widest are cut, but never the first (an
    id to copy). What goes into a pipe or a file is not cut."""
    texts = [[str(cell if cell is not None else "") for cell in row] for row in rows]
    widths = [
        max(len(line[column]) for line in [list(headings), *texts])
        for column in range(len(headings))
    ]
    room = shutil.get_terminal_size((120, 24)).columns - 2 * (len(headings) - 1)
    while sys.stdout.isatty() and sum(widths) > room and max(widths[1:]) > _NARROWEST:
        widths[widths.index(max(widths[1:]), 1)] -= 1
    click.secho(_line(headings, widths), bold=True)
    for row in texts:
        click.echo(
            _line(
                [status_colored(cell, width) for cell, width in zip(row, widths, strict=True)], None
            )
        )


def _line(cells: Sequence[str], widths: Sequence[int] | None) -> str:
    if widths is None:
        return "  ".join(cells).rstrip()
    return "  ".join(_cut(cell, width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def _cut(text: str, width: int) -> str:
    return text.ljust(width) if len(text) <= width else f"{text[: width - 1]}…"


def status_colored(text: str, width: int = 0) -> str:
    shown = _cut(text, width) if width else text
    color = _COLORS.get(text)
    return click.style(shown, fg=color) if color else shown


def print_execution(document: dict[str, Any]) -> None:
    click.echo(f"id: {document['id']}")
    click.echo(f"status: {status_colored(document['status'])}")
    if document.get("elapsed_seconds") is not None:
        click.echo(f"seconds: {document['elapsed_seconds']:.3f}")
    result = document.get("result")
    if result is not None:
        click.echo("result:")
        click.echo(msgspec.json.format(msgspec.json.encode(result), indent=2).decode())


def print_tree(node: dict[str, Any], indent: str = "  ") -> None:
    """An execution and what it started, one a line."""
    task = f"{node['task']}: " if node.get("task") else ""
    error = f"  {node['error']}" if node.get("error") else ""
    click.echo(
        f"{indent}{task}{node['action']}  {status_colored(node['status'])}  {node['id']}{error}"
    )
    for child in node["children"]:
        print_tree(child, indent + "  ")
