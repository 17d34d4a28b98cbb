"""Git repositories, by the git program: the commit of a branch, changed paths, and files.

Git is started by argument list, with `--` before untrusted values, without any configuration of
this machine or user, and may use only the protocol of the checked address. Fetched repositories are
kept bare on the host, one for each namespace, address and credentials, so that no namespace builds
from what it may not read. Submodules, hooks and filters (LFS) never run.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import posixpath
import shutil
import time
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from kubestorm.clients.git.address import GitAddress, is_commit
from kubestorm.clients.git.credentials import GitCredentials, git_environment
from kubestorm.clients.git.settings import GitSettings
from kubestorm.clients.host.processes import ProgramError, Runner, TimedOutError, clean_environment
from kubestorm.clients.host.workspace import Workspace, prepare
from kubestorm.core.errors import DefinitionError, NotFoundError, PermanentError, TemporaryError

SERVICE = "Git"
SOURCES = "sources"
HEAD = "HEAD"
FIRST_DEPTH = 50
DEEPEN = (200, 2000)
A_DAY = 86400.0
QUIETLY = (
    *("--quiet", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head"),
    *("--force", "--no-auto-gc"),
)
CONFIG = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.askPass=/bin/false",
    "credential.helper=",
    "submodule.recurse=false",
    "fetch.recurseSubmodules=false",
    "fetch.writeCommitGraph=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "advice.detachedHead=false",
)


class Head(NamedTuple):
    """The commit of a branch or tag. `branch` is the short name, also for HEAD."""

    branch: str
    commit: str


class TreeEntry(NamedTuple):
    """One file of a commit's tree; `mode` is git's (`120000` is a symbolic link)."""

    mode: str
    object_id: str
    path: str


class GitClient:
    """One repository with its credentials, which are files in the workspace."""

    def __init__(
        self,
        workspace: Workspace,
        address: GitAddress,
        credentials: GitCredentials,
        settings: GitSettings,
        runner: Runner,
    ) -> None:
        self._workspace, self._address, self._settings = workspace, address, settings
        self._runner = runner
        runner.hide(credentials.texts)
        self._env = clean_environment(
            workspace.path, **git_environment(workspace, credentials, address, settings)
        )
        config = list(CONFIG)
        if credentials.password is not None:
            # Git would send the credentials to wherever the server redirects.
            config.append("http.followRedirects=false")
        self._options = [word for each in config for word in ("-c", each)]

    def head(self, branch: str = "", revision: str = "") -> Head:
        """Ask the server for the commit of the branch (or the default one) or tag. Takes
        seconds.
        """
        if is_commit(revision):
            return Head(revision, revision)
        wanted = revision or branch
        patterns = (
            [f"refs/tags/{wanted}", f"refs/tags/{wanted}^{{}}", f"refs/heads/{wanted}"]
            if revision
            else []
        )
        patterns = patterns or ([f"refs/heads/{branch}"] if branch else [HEAD])
        command = ["ls-remote", "--symref", "--", self._address.url, *patterns]
        out = self._git(command, timeout=self._settings.ask_timeout_seconds)
        found, name = parse_ls_remote(out.decode(errors="replace"))
        commit = next((found[each] for each in _by_preference(patterns) if each in found), "")
        if not commit:
            what = f"no branch or tag {wanted}" if wanted else "no commit"
            raise NotFoundError(f"{self._address.url} has {what}.", service=SERVICE)
        return Head(wanted or name or HEAD, commit)

    def fetch(
        self, repository: Path, *, commit: str, branch: str, since: Sequence[str] = ()
    ) -> None:
        """Fetch a commit, and the history back to the commits in `since` where it leads there."""
        if not (repository / "config").exists():
            shutil.rmtree(repository, ignore_errors=True)
            self._git(["init", "--quiet", "--bare", "--template=", "--", str(repository)])
        if not self._has(repository, commit):
            is_new = not ((repository / "shallow").exists() or self._any_ref(repository))
            options = [f"--depth={FIRST_DEPTH}"] if is_new else []
            self._fetch_commit(repository, commit, branch, options)
        for depth in (*(f"--deepen={each}" for each in DEEPEN), "--unshallow"):
            missing = [each for each in since if not self.leads_back(repository, commit, each)]
            if not missing or not (repository / "shallow").exists():
                break
            self._fetch_refs(repository, self._refspecs(branch), [depth])
        (repository / "used").touch()

    def _fetch_commit(self, repository: Path, commit: str, branch: str, options: List[str]) -> None:
        self._fetch_refs(repository, self._refspecs(branch), options, missing_ok=True)
        if not self._has(repository, commit):
            # No longer on the branch, or not a branch: most servers serve a commit by its id.
            with contextlib.suppress(TemporaryError, NotFoundError):
                self._fetch_refs(repository, [f"+{commit}:refs/kubestorm/wanted"], options)
        if not self._has(repository, commit):
            every = ["+refs/heads/*:refs/kubestorm/heads/*", "+refs/tags/*:refs/kubestorm/tags/*"]
            self._fetch_refs(
                repository, every, ["--unshallow"] if (repository / "shallow").exists() else []
            )
        if not self._has(repository, commit):
            raise NotFoundError(
                f"{self._address.url} no longer has commit {commit}.", service=SERVICE
            )

    @staticmethod
    def _refspecs(branch: str) -> List[str]:
        if is_commit(branch):
            return [f"+{branch}:refs/kubestorm/wanted"]
        if branch in ("", HEAD):
            return ["+HEAD:refs/kubestorm/head"]
        return [f"+refs/heads/{branch}:refs/kubestorm/heads/{branch}"]

    def _fetch_refs(
        self,
        repository: Path,
        refspecs: Sequence[str],
        options: Sequence[str],
        *,
        missing_ok: bool = False,
    ) -> None:
        command = ["fetch", *QUIETLY, *options, "--", self._address.url, *refspecs]
        try:
            self._in(repository, *command)
        except NotFoundError:
            if not missing_ok:
                raise

    def _has(self, repository: Path, commit: str) -> bool:
        return self._succeeds(repository, ["cat-file", "-e", f"{commit}^{{commit}}"])

    def _any_ref(self, repository: Path) -> bool:
        return bool(self._in(repository, "for-each-ref", "--count=1").strip())

    def leads_back(self, repository: Path, commit: str, older: str) -> bool:
        """Whether `older` is an ancestor of `commit` in the fetched history."""
        return self._has(repository, older) and self._succeeds(
            repository, ["merge-base", "--is-ancestor", older, commit]
        )

    def changed_paths(self, repository: Path, older: str, commit: str) -> Optional[Tuple[str, ...]]:
        """The paths that differ between two commits; None where `older` is not an ancestor."""
        if not is_commit(older) or not self.leads_back(repository, commit, older):
            return None
        options = ["-r", "-z", "--name-only", "--no-renames", "--no-ext-diff"]
        out = self._in(repository, "diff-tree", *options, older, commit, "--")
        return tuple(part.decode(errors="surrogateescape") for part in out.split(b"\0") if part)

    def tree(self, repository: Path, commit: str, folder: str) -> Tuple[TreeEntry, ...]:
        """All files below a folder of a commit, with paths relative to it. DefinitionError when
        there is no such folder.
        """
        name = self._tree_name(commit, folder)
        if not self._is_tree(repository, name):
            message = (
                f"the source has no folder {folder} at {commit[:8]} (symbolic links do not count)"
            )
            raise DefinitionError(message, field="context")
        return tuple(parse_tree(self._in(repository, "ls-tree", "-r", "-z", name)))

    def _is_tree(self, repository: Path, name: str) -> bool:
        try:
            return self._in(repository, "cat-file", "-t", name).strip() == b"tree"
        except (TemporaryError, NotFoundError, PermanentError):
            return False

    def links(self, repository: Path, entries: Sequence[TreeEntry]) -> Dict[str, str]:
        """The targets of the symbolic links among the entries, by path."""
        links = [entry for entry in entries if entry.mode == "120000"]
        found: Dict[str, str] = {}
        if links:
            asked = "".join(f"{entry.object_id}\n" for entry in links).encode()
            command = self._command([f"--git-dir={repository}", "cat-file", "--batch"])
            rest = self._runner.output(command, env=self._env, timeout_seconds=60.0, stdin=asked)
            for entry in links:
                header, _, rest = rest.partition(b"\n")
                size = int(header.split()[2])
                found[entry.path] = rest[:size].decode(errors="surrogateescape")
                rest = rest[size + 1 :]
        return found

    def text(self, repository: Path, commit: str, path: str) -> str:
        """A file of a commit, as text. DefinitionError when there is none, or it is not UTF-8."""
        name = f"{commit}:{posixpath.normpath(path)}"
        try:
            found = self._in(repository, "cat-file", "blob", name)
        except (TemporaryError, NotFoundError, PermanentError) as error:
            raise DefinitionError(
                f"the source has no file {path} at {commit[:8]}", field="source"
            ) from error
        try:
            return found.decode()
        except UnicodeDecodeError as error:
            raise DefinitionError(
                f"{path} at {commit[:8]} must be UTF-8", field="source"
            ) from error

    def check_out(self, repository: Path, commit: str, folder: str, target: Path) -> None:
        """Write the files of one folder of a commit into `target`."""
        env = {**self._env, "GIT_INDEX_FILE": str(self._workspace.path / f"index-{target.name}")}
        base = [f"--git-dir={repository}", f"--work-tree={target}", "-c", "core.bare=false"]
        self._git([*base, "read-tree", self._tree_name(commit, folder)], env=env)
        self._git([*base, "checkout-index", "--all", "--force", "--quiet"], env=env, cwd=target)

    @staticmethod
    def _tree_name(commit: str, folder: str) -> str:
        return f"{commit}:{'' if folder == '.' else folder}"

    def _succeeds(self, repository: Path, command: Sequence[str]) -> bool:
        try:
            self._in(repository, *command)
        except (TemporaryError, NotFoundError, PermanentError):
            return False
        return True

    def _in(self, repository: Path, *command: str) -> bytes:
        return self._git([f"--git-dir={repository}", *command])

    def _command(self, command: Sequence[str]) -> List[str]:
        return ["git", *self._options, *command]

    def _git(
        self,
        command: Sequence[str],
        *,
        timeout: Optional[float] = None,
        env: Optional[Dict[str, str]] = None,
        cwd: Optional[Path] = None,
    ) -> bytes:
        try:
            return self._runner.output(
                self._command(command),
                env=env or self._env,
                timeout_seconds=timeout or self._settings.timeout_seconds,
                cwd=cwd,
            )
        except TimedOutError as error:
            raise TemporaryError(
                f"{self._address.url} did not answer in time.", service=SERVICE
            ) from error
        except ProgramError as error:
            raise from_git(error.said, self._address.url) from error


def from_git(said: str, url: str) -> Exception:
    """Git's error output as one of the pack's errors."""
    text = said.lower()
    short = " ".join(line for line in said.split("\n") if line.strip())[-300:]
    if any(
        word in text
        for word in (
            "couldn't find remote ref",
            "not our ref",
            "unadvertised object",
            "no such ref",
        )
    ):
        return NotFoundError(f"{url} does not have that commit or branch: {short}", service=SERVICE)
    refused = (
        "authentication failed",
        "permission denied",
        "could not read username",
        "could not read password",
    )
    if any(
        word in text for word in (*refused, "http 403", "error: 403", "error: 401", "access denied")
    ):
        return PermanentError(
            f"{url} does not let us in; check the credentials in Vault.", service=SERVICE
        )
    if "host key verification failed" in text:
        message = (
            f"The key of the git server of {url} is not in known_hosts; it is another server, or "
            "a new key."
        )
        return PermanentError(message, service=SERVICE)
    if "transport" in text and "not allowed" in text:
        return PermanentError(f"{url} leads to a protocol that is not allowed.", service=SERVICE)
    if "dubious ownership" in text:
        return PermanentError(
            f"{url} belongs to another user of this host, and git refuses to read it.",
            service=SERVICE,
        )
    if any(
        word in text
        for word in ("repository not found", "does not appear to be a git", "not found")
    ):
        return NotFoundError(
            f"{url} does not exist or cannot be read with these credentials.", service=SERVICE
        )
    return TemporaryError(f"git could not reach {url}: {short}", service=SERVICE)


def parse_ls_remote(text: str) -> Tuple[Dict[str, str], str]:
    """The output of `git ls-remote --symref`: ref -> commit, and the short name of HEAD's
    branch.
    """
    found: Dict[str, str] = {}
    head = ""
    for line in text.splitlines():
        left, _, ref = line.partition("\t")
        if left.startswith("ref: ") and ref == HEAD:
            head = left[5:].replace("refs/heads/", "", 1)
        elif is_commit(left):
            found[ref] = left
    return found, head


def _by_preference(patterns: Sequence[str]) -> List[str]:
    """A tag's commit comes before the tag object."""
    return sorted(patterns, key=lambda each: not each.endswith("^{}"))


def parse_tree(out: bytes) -> Iterator[TreeEntry]:
    """The entries in the output of `git ls-tree -r -z`."""
    for line in out.split(b"\0"):
        about, tab, path = line.partition(b"\t")
        if tab:
            mode, _kind, object_id = about.decode().split(" ")
            yield TreeEntry(mode, object_id, path.decode(errors="surrogateescape"))


@contextlib.contextmanager
def kept_repository(
    base: Path, *, namespace: str, address: GitAddress, vault_path: Optional[str]
) -> Iterator[Path]:
    """The folder of one fetched repository, locked on this host for the length of the block."""
    prepare(base)
    sources = base / SOURCES
    sources.mkdir(mode=0o700, exist_ok=True)
    key = "\n".join((namespace, address.url, vault_path or ""))
    name = hashlib.sha256(key.encode()).hexdigest()[:32]
    handle = os.open(sources / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield sources / f"{name}.git"
    finally:
        os.close(handle)


def forget_unused(base: Path, *, keep_days: float) -> List[str]:
    """Delete fetched repositories that were not used for `keep_days` and are not in use; their
    names.
    """
    removed: List[str] = []
    for repository in sorted((base / SOURCES).glob("*.git")) if (base / SOURCES).is_dir() else ():
        mark = repository / "used"
        last = (mark if mark.exists() else repository).stat().st_mtime
        if time.time() - last < keep_days * A_DAY:
            continue
        handle = os.open(
            repository.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(repository, ignore_errors=True)
            removed.append(repository.name)
        except OSError:
            pass
        finally:
            os.close(handle)
    return removed
