"""Programs that must not outlive us, however we end: also by SIGKILL, as a test run that is cut off
does.

A guardian is a small shell that leads a process group and waits for the end of our side of a pipe.
Programs are started in its group (`process_group=guardian.group`); when we are gone, or let go, it
takes the whole group with it.
"""

from __future__ import annotations

import subprocess

# The kernel closes our end of the pipe when we die; a signal meant for the group is not to end the
# guardian alone.
PROGRAM = 'trap "" TERM INT HUP; read _; kill -9 0'


class Guardian:
    """One process group with its guardian, from the beginning of the object to `end`."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            ["sh", "-c", PROGRAM], stdin=subprocess.PIPE, process_group=0
        )

    @property
    def group(self) -> int:
        """The process group to start programs in."""
        return self._process.pid

    def end(self) -> None:
        """Kill what is left of the group. Safe to repeat; who started programs in it has to wait
        for them.
        """
        self._process.communicate()  # closes its standard input, which ends it
