"""Folders of this host that hold builds under way, and their removal when whoever made them died.

Everything that a build or a fetch leaves on disk (credentials, checked-out source, image storage)
lies in one folder, whose `lock` file its process holds. The kernel lets go of the lock however the
process ends, so a folder whose lock is free is left over: its processes are killed, its mounts
undone, and it is deleted by whoever comes next.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import signal
import stat
import subprocess
import time
import uuid
from pathlib import Path
from types import TracebackType
from typing import Iterator, List, Optional, Set, Type

from kubestorm.core.errors import PermanentError, TemporaryError

SERVICE = "Build host"
MARK = "KUBESTORM_WORKSPACE"
"""Environment variable that every process of a build has; its value is the folder."""
LOCK = "lock"
RUNS = "runs"
KILL_PATIENCE_SECONDS = 10.0
log = logging.getLogger(__name__)


class Workspace:
    """A private folder that goes away with the `with` block, or with the next collection after a
    crash.
    """

    def __init__(self, base: Path) -> None:
        self._base = base
        self.path = base / RUNS / uuid.uuid4().hex[:16]
        self._lock = -1

    def __enter__(self) -> Workspace:
        prepare(self._base)
        runs = self._base / RUNS
        runs.mkdir(mode=0o700, exist_ok=True)
        # Made and locked under a name that no collection looks at, so that none takes it in
        # between.
        fresh = runs / f".{self.path.name}"
        fresh.mkdir(mode=0o700)
        self._lock = os.open(fresh / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        fresh.rename(self.path)
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        remove(self.path)
        os.close(self._lock)

    def write_private(self, name: str, content: str, *, mode: int = 0o600) -> Path:
        """A file that only this user reads, from its first byte on."""
        return write_private(self.path / name, content, mode=mode)

    def folder(self, name: str) -> Path:
        """A folder below it."""
        path = self.path / name
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path


def write_private(path: Path, content: str, *, mode: int = 0o600) -> Path:
    """Write a file that nobody else can open at any moment. It must not be there."""
    with os.fdopen(
        os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode), "w"
    ) as file:
        file.write(content)
    return path


def prepare(base: Path) -> None:
    """Make the host's folder. One that is another user's, or open to others, is refused."""
    try:
        base.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = base.lstat()
    except OSError as error:
        raise PermanentError(
            f"{base}, where builds live, cannot be made: {error.strerror}; set build.folder to "
            "another place.",
            service=SERVICE,
        ) from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise PermanentError(
            f"{base} is not a folder of this user alone (mode 0700); remove it or set "
            "build.folder.",
            service=SERVICE,
        )


def collect(base: Path) -> List[str]:
    """Remove what builds that died have left on this host; the names of what was removed. Safe to
    repeat.
    """
    removed: List[str] = []
    for path in sorted((base / RUNS).glob("*")) if (base / RUNS).is_dir() else ():
        young = (
            path.name.startswith(".")
            and time.time() - path.lstat().st_mtime < KILL_PATIENCE_SECONDS
        )
        if young:
            continue  # being made at this moment
        with _left_over(path) as free:
            if free:
                remove(path)
                removed.append(path.name)
    return removed


def is_alive(path: Path) -> bool:
    """Whether the process that made the folder still lives."""
    with _left_over(path) as free:
        return not free and path.exists()


@contextlib.contextmanager
def _left_over(path: Path) -> Iterator[bool]:
    """Whether nobody holds the folder's lock. It is held for the length of the block."""
    try:
        handle = os.open(path / LOCK, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        yield path.is_dir()  # it died before it wrote the lock
        return
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        yield True
    finally:
        os.close(handle)


def remove(path: Path) -> None:
    """Kill what runs in a folder, undo its mounts, delete it. Raises TemporaryError when something
    stays.
    """
    kill_inhabitants(path)
    for mount in reversed(mounts_below(path)):
        subprocess.run(["umount", "-l", "--", mount], check=False, capture_output=True)
    # The lock goes last: a removal that is interrupted is found and finished by the next one.
    for child in (
        sorted(path.iterdir(), key=lambda each: each.name == LOCK) if path.is_dir() else ()
    ):
        _delete(child)
    with contextlib.suppress(FileNotFoundError):
        path.rmdir()


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
    if path.exists() and shutil.which("buildah") and os.geteuid() != 0:
        # Files of the builder's subordinate users: only inside its user namespace they are ours.
        subprocess.run(
            ["buildah", "unshare", "rm", "-rf", "--", str(path)], check=False, capture_output=True
        )
    if path.exists():
        for folder, _names, _files in os.walk(path):
            with contextlib.suppress(OSError):
                os.chmod(folder, 0o700)  # noqa: PTH101 (a folder that the source made unreadable)
        shutil.rmtree(path, ignore_errors=True)
    if path.exists():
        raise TemporaryError(
            f"{path} could not be removed; the next build tries again.", service=SERVICE
        )


def mounts_below(path: Path) -> List[str]:
    """Mount points inside a folder, outer ones first."""
    try:
        lines = (
            Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        )
    except OSError:
        return []
    points = [_unescape(line.split(" ")[4]) for line in lines if line.count(" ") > 4]
    return sorted(point for point in points if point.startswith(f"{path}/"))


def _unescape(text: str) -> str:
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, char)
    return text


def inhabitants(path: Path) -> Set[int]:
    """The processes that belong to a folder: by the mark in their environment, or because their
    root is inside it.

    What a Dockerfile's RUN starts has an environment of its own, but its root is the container's.
    """
    found: Set[int] = set()
    mark = f"{MARK}={path}".encode()
    for entry in Path("/proc").glob("[0-9]*"):
        number = int(entry.name)
        if number == os.getpid():
            continue
        with contextlib.suppress(OSError):
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                found.add(number)
                continue
        with contextlib.suppress(OSError):
            if os.readlink(entry / "root").startswith(f"{path}/"):
                found.add(number)
    return found


def kill_inhabitants(path: Path) -> None:
    """SIGKILL to all of them until none is left: they have no state worth saving."""
    deadline = time.monotonic() + KILL_PATIENCE_SECONDS
    while True:
        left = {number for number in inhabitants(path) if not _is_zombie(number)}
        if not left or time.monotonic() > deadline:
            return
        for number in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(number, signal.SIGKILL)
        time.sleep(0.02)


def _is_zombie(number: int) -> bool:
    try:
        status = Path(f"/proc/{number}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return True
    return status.rpartition(")")[2].split()[:1] == ["Z"]
