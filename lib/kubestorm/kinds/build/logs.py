"""Complete logs of builds on this host: one file of mode 0600 for each image of a build. The last
few builds' logs are kept. A log is cut at 10 MiB; how the build ended is in the status.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import Callable, Iterator

from kubestorm.clients.host.workspace import prepare
from kubestorm.core import untrusted
from kubestorm.core.naming import Identity
from kubestorm.kinds.build.settings import BuildSettings

LOGS = "logs"
MAX_BYTES = 10 * 1024 * 1024


def folder_of(settings: BuildSettings, identity: Identity) -> Path:
    """The logs of one ImageBuild."""
    return settings.work_folder / LOGS / identity.uid


@contextlib.contextmanager
def writer(
    settings: BuildSettings, identity: Identity, number: int, image: str
) -> Iterator[Callable[[str], None]]:
    """Append lines to the log of one image of one build; deletes the oldest builds' logs."""
    prepare(settings.work_folder)
    folder = folder_of(settings, identity)
    path = folder / str(number) / f"{image}.log"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _forget_old(folder, settings.keep_logs)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "a", encoding="utf-8", errors="replace") as file:
        left = MAX_BYTES - path.stat().st_size

        def write(line: str) -> None:
            nonlocal left
            left -= len(line) + 1
            if left >= 0:
                file.write(line + "\n")
                file.flush()

        yield write


def read(
    settings: BuildSettings, identity: Identity, number: int, image: str, tail_bytes: int
) -> str:
    """The end of a log; empty where this host has none."""
    path = folder_of(settings, identity) / str(number) / f"{image}.log"
    try:
        with path.open("rb") as file:
            file.seek(max(path.stat().st_size - tail_bytes, 0))
            return file.read().decode("utf-8", errors="replace")
    except OSError:
        return ""


def forget(settings: BuildSettings, identity: Identity) -> None:
    """Delete the logs of an ImageBuild. Safe to repeat."""
    shutil.rmtree(folder_of(settings, identity), ignore_errors=True)


def _forget_old(folder: Path, keep: int) -> None:
    found = (untrusted.digits(path.name) for path in folder.iterdir())
    numbers = sorted((each for each in found if each is not None), reverse=True)
    for number in numbers[max(keep, 1) :]:
        shutil.rmtree(folder / str(number), ignore_errors=True)
