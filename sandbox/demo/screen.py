"""What the demo shows: a line a step with its time, a spinner on what takes long, tables at the
end.

Colours and the spinner appear on a terminal alone; in a file or a pipe the same lines stand plain.
"""

from __future__ import annotations

import datetime as dt
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from rich.console import Console
from rich.status import Status
from rich.table import Table
from rich.text import Text

from sandbox.demo.follow import Line

COLOURS = {"event": "cyan", "rule": "magenta", "action": "blue", "status": "green"}
POLL_SECONDS = 0.1
PLAIN_WIDTH = 400


class Screen:
    """The one place that prints. Times are seconds since `restart_clock`."""

    def __init__(self, console: Console | None = None) -> None:
        # A file or a pipe has no width: nothing is cut there.
        self._console = console or Console(
            highlight=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH
        )
        self._begin = dt.datetime.now(dt.UTC)

    def restart_clock(self) -> None:
        """Count from now."""
        self._begin = dt.datetime.now(dt.UTC)

    @property
    def elapsed_seconds(self) -> float:
        """Since the clock was restarted."""
        return (dt.datetime.now(dt.UTC) - self._begin).total_seconds()

    def title(self, text: str) -> None:
        """Open an act."""
        self._console.print(Text(f"\n{text}", style="bold"), soft_wrap=True)

    def say(self, text: str) -> None:
        """A line without a time. The terminal wraps it, so that what is copied from it is whole."""
        self._console.print(Text(f"  {text}" if text else ""), soft_wrap=True)

    def line(self, line: Line) -> None:
        """A step of the journey."""
        text = Text(f"  {max(0.0, (line.at - self._begin).total_seconds()):6.2f} s  ")
        text.append(f"{line.kind:<7}", style="red" if line.failed else COLOURS.get(line.kind, ""))
        text.append(line.what)
        if line.detail:
            text.append(f"  {line.detail}", style="red" if line.failed else "dim")
        self._console.print(text, no_wrap=True, overflow="ellipsis")

    def table(self, title: str, rows: Sequence[tuple[str, str, str]]) -> None:
        """What now exists: where, what, and a remark."""
        table = Table(
            title=title, title_justify="left", box=None, padding=(0, 2), show_header=False
        )
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        self._console.print(table)

    def spinner(self, text: str) -> AbstractContextManager[Status]:
        """Turn while something long is under way; silent where there is no terminal."""
        return self._console.status(text)

    def follow(
        self,
        waiting_for: str,
        read: Callable[[], list[Line]],
        is_done: Callable[[], bool],
        *,
        timeout_seconds: float,
    ) -> None:
        """Print what `read` gives until `is_done`, and what came with the end. Raises TimeoutError."""
        deadline = time.monotonic() + timeout_seconds
        looks = 0
        with self.spinner(waiting_for) as status:
            while True:
                done = is_done()
                for line in read():
                    if line.quiet:
                        looks += line.kind == "event"
                        status.update(f"{waiting_for} (looked again {looks} times)")
                    else:
                        self.line(line)
                if done:
                    return
                if time.monotonic() > deadline:
                    raise TimeoutError(
                        f"{waiting_for}: not reached within {timeout_seconds:.0f} seconds"
                    )
                time.sleep(POLL_SECONDS)
